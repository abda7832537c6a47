"""Templates of HTML pages that are one file each, with tables that readers can sort.

`base.html` holds the style of every page, and a policy that forbids every request and every script but the page's own.
`page.html` adds tables that sort, and parts that fold. `macros.html` holds such a table (`board`), of a `views.View`.
Other packages extend these templates from their own folders.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

import jinja2

from results.views import link, padding


@cache
def environment(*folders: Path) -> jinja2.Environment:
    """Return the templates of this package, then those of `folders`. Texts are escaped; a missing value is an error."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).parent, *folders]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters |= {"link": link, "padding": padding, "sha256": sha256}
    return found


def sha256(script: str) -> str:
    """Return the source that names an inline script in a content security policy, `sha256-` and base64."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

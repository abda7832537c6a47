"""Templates of HTML pages that are one file each, with tables that readers can sort.

`base.html` holds a policy that forbids every request and every script but the page's own; every page extends it.
`page.html` holds the style and the script of tables that sort. `macros.html` holds such a table (`board`) and one that
is folded away (`folded`). Other packages extend these templates from their own folders.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import jinja2


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
    found.filters |= {"numbers": numbers, "sha256": sha256}
    return found


def sha256(script: str) -> str:
    """Return the source that names an inline script in a content security policy, `sha256-` and base64."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def numbers(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> set[str]:
    """Return the columns that hold only numbers, at least one; empty cells do not count."""
    filled = {name: [row[name] for row in rows if row[name]] for name in columns}
    return {name for name, cells in filled.items() if cells and all(map(_is_number, cells))}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

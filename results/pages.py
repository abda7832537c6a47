"""HTML pages that need nothing but themselves: the templates they extend, and tables that sort.

`page.html` holds style, script and a policy that forbids every request; `macros.html` a table (`board`) and a figure
(`plot`). A page of another package extends the same by naming its own folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import jinja2


@cache
def environment(*folders: Path) -> jinja2.Environment:
    """Templates of this package, then of `folders`; texts are escaped, a name that is not given is an error."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader([Path(__file__).parent, *folders]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters["numbers"] = numbers
    return found


def numbers(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> set[str]:
    """The columns of which every cell that is not empty is a number, and one at least is."""
    rows = list(rows)
    return {name for name in columns if (cells := [row[name] for row in rows if row[name]]) and all(map(_is, cells))}


def _is(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

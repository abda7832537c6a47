"""The one exception that the command line turns into a message instead of a traceback, and errors as one line."""

import errno
from collections.abc import Iterable


class UserError(Exception):
    """The user's mistake: one line that names the fix; the command line prints it and exits with 2."""


def one_line(error: Exception) -> str:
    """An error as the line that the user sees."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        fix = "; free space there, or set RUNS_ROOT or --out elsewhere" if error.errno == errno.ENOSPC else ""
        return f"{' '.join(error.strerror.split())}{where}{fix}"
    return " ".join(str(error).split()) or type(error).__name__


def closest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'X'?` with the known name that is most like `name`; empty where none is like it."""
    from difflib import get_close_matches  # here: only mistakes need it

    found = get_close_matches(name, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""

"""The user's mistakes, and errors as one line."""

import errno
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user, with one line that names the fix; the command line prints it and exits with 2."""


def one_line(error: Exception) -> str:
    """Return an error as the one line that the user sees."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        fix = "; free space there, or set RUNS_ROOT or --out elsewhere" if error.errno == errno.ENOSPC else ""
        return f"{' '.join(error.strerror.split())}{where}{fix}"
    return " ".join(str(error).split()) or type(error).__name__


def closest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'X'?` with the known name closest to `name`; empty if none is close."""
    from difflib import get_close_matches  # imported here because only mistakes need it

    found = get_close_matches(name, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""

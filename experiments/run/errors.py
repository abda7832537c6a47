"""The user's mistakes, and errors as one line."""

import errno
import os
from collections.abc import Iterable

from experiments.run.filenames import shown

_FULL = "free space there, or set RUNS_ROOT or --out elsewhere"
_FIXES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "raise the limit (ulimit -f), or set RUNS_ROOT or --out to a file system that takes larger files",
    errno.EROFS: "set RUNS_ROOT or --out to a folder that can be written to",
}


class UserError(Exception):
    """A mistake of the user, with one line that names the fix; the command line prints it and exits with 2."""


def one_line(error: Exception) -> str:
    """Return an error as the one line that the user sees; what cannot be printed is escaped."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        fix = f"; {_FIXES[error.errno]}" if error.errno in _FIXES else ""
        text = f"{error.strerror}{where}{fix}"
    return shown(" ".join(text.split())) or type(error).__name__


def closest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'X'?` with the known name closest to `name`; empty if none is close."""
    from difflib import get_close_matches  # imported here because only mistakes need it

    found = get_close_matches(name, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""

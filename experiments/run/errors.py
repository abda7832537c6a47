"""The one exception that the command line turns into a message instead of a traceback, and errors as one line."""

import errno

__all__ = ["UserError", "one_line"]


class UserError(Exception):
    """The user's mistake: one line that names the fix; the command line prints it and exits 2."""


def one_line(error: Exception) -> str:
    """An error as the line that the user sees."""
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        fix = "; free space there, or set RUNS_ROOT or --out elsewhere" if error.errno == errno.ENOSPC else ""
        return f"{' '.join(error.strerror.split())}{where}{fix}"
    return " ".join(str(error).split()) or type(error).__name__

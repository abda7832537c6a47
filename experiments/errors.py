"""The one exception the command line turns into a message instead of a traceback."""

__all__ = ["UserError"]


class UserError(Exception):
    """The user's mistake: one line that names the fix; the command line prints it and exits 2."""

"""Errors of a user's network: as one line, and those that would end the program turned into a ValueError."""

import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

import torch

_LONGEST = 200  # characters of an error's text in one line
# where code lies that is not the user's
_OTHERS = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")} | {str(Path(torch.__path__[0]))}
)
_OWN = {"dedup", "evaluation", "experiments", "features", "gan", "results"}  # packages of this project


def one_line(error: BaseException) -> str:
    """Return the error's type, the beginning of its text, and the last line of the user's own files that it passed."""
    text = " ".join(_text(error).split())
    if isinstance(error, EndsProgramError):
        return text
    line = f"{type(error).__name__}: {text[:_LONGEST]}{'...' * (len(text) > _LONGEST)}".removesuffix(": ")
    return line + _place(error)


class EndsProgramError(ValueError):
    """The user's code raised what would end the program. The text ends in `; ` and the fix."""


@contextmanager
def contained(what: str) -> Iterator[None]:
    """Turn SystemExit, and whatever else is no Exception, into an EndsProgramError that begins with `what`.

    Only a KeyboardInterrupt stays what it is, because nothing tells it from the user's own Ctrl-C.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        line = f"{what} raises {one_line(error)}, which would end the program; remove that"
        raise EndsProgramError(line) from error


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn an exception that passed the user's own files into a ValueError of one line that begins with `what`.

    All others stay what they are: a full disk, for example, or a fault of this project.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) or not _place(error):
            raise
        raise ValueError(f"{what} raises {one_line(error)}") from error


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # __str__ is the user's code too
        return ""


def _place(error: BaseException) -> str:
    for frame, line in reversed(list(walk_tb(error.__traceback__))):
        file, package = frame.f_code.co_filename, str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _OWN and not file.startswith((*_OTHERS, "<")):
            return f" ({Path(file).name}:{line})"
    return ""

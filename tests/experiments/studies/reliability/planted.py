"""Faults for the study to find; a worker of the study calls them."""

import os
import sys
import time
from pathlib import Path

from experiments.studies.reliability.case import CANARY


def traceback() -> int:
    """Fail as a command must not."""
    raise KeyError("planted")


def death() -> int:
    """Die, as from a corrupted heap."""
    os.abort()


def hang() -> int:
    """Wait for ever."""
    while True:
        time.sleep(1)


def executed() -> int:
    """Do what code out of an input would do."""
    Path(CANARY).write_text("planted")
    return 0


def told(code: str, text: str) -> int:
    """Print a text to stderr, and end with an exit code."""
    print(text, file=sys.stderr)
    return int(code)


def content() -> int:
    """Print the content of a file."""
    print(Path("tiny.toml").read_text())
    return 0

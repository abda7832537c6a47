"""What all other rooms use: the run itself, console, files, caches, workers, signals. No data sets, no networks."""

import os
import sys

_ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def safe_path() -> list[str]:
    """Return `sys.path` without the current folder, unless the project lies in it: data may hold a `struct.py`.

    `python -m` puts the current folder there, and so does an empty entry of PYTHONPATH.
    """
    here = os.path.realpath(".")
    return [entry for entry in sys.path if os.path.realpath(entry) != here or here == os.path.realpath(_ROOT)]

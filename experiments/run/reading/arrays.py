"""Arrays in NumPy's own format. NumPy reads headers as Python text, and raises nearly anything for damaged ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from experiments.run.errors import one_line


@contextmanager
def damage_named(what: str) -> Iterator[None]:
    """Raise ValueError, "not a whole `what`: ...", for whatever NumPy raises but OSError."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:  # TokenError, SyntaxError, EOFError, MemoryError, OverflowError ...
        raise ValueError(f"not a whole {what}: {one_line(error)}") from error


def read_npy(file: Path) -> np.ndarray:
    """Return the array in a .npy file. Objects are refused. Raises OSError, and ValueError for any other content."""
    if file.exists() and not file.is_file():  # reading a named pipe would wait for ever
        raise ValueError("it is not a regular file")
    with damage_named(".npy file"):
        return np.load(file, allow_pickle=False)

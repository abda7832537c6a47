"""The official pickles of CIFAR-10 and ImageNet-32, read without trusting them.

A pickle is a program that may call whatever it names. Three things make it safe to read one here:

- It may use only the five names that numpy's arrays need, and all five are replaced by one class that only stores its
  arguments. So a file can call nothing else, not even numpy's own functions. Those trust what a file says about a
  dtype, and with a false flag there they would follow numbers as if they were pointers. The pixels are made from the
  stored bytes after the file has been read.
- The file is checked step by step before it is unpickled. The unpickler reserves as much memory as a file claims to
  need for a string or for its memo, so a file that claims more than it holds is refused.
- The number of steps is limited, since a step can make an object far larger than its one byte in the file.
"""

import io
import pickle
import pickletools
from typing import IO, Any

import numpy as np

NAMES = (
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
)
MOST_STEPS = 1_000_000  # an official file takes a few for each label, and holds up to 128,124 labels


class _Noted:
    """What a file says about an array, a dtype or bytes."""

    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Noted]:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!r}, which no file of this set does")
        return _Noted


def read_batch(data: bytes | IO[bytes], *, what: str = "CIFAR-10", first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Decode one official batch file: pixels uint8 [n, 3072] in plane order, and labels int64 [n].

    data: the file's bytes, or the opened file. what: name of the set, for messages. first: the file's smallest label,
    which becomes 0.

    Raises ValueError for anything that is not such a file.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        _walk(file)
        batch = _Unpickler(file, encoding="latin1").load()
        pixels, labels = (batch.get(name) if isinstance(batch, dict) else None for name in ("data", "labels"))
        if not isinstance(pixels, _Noted) or not isinstance(labels, list):
            raise ValueError("it must hold the array `data` and the list `labels`")
        if not all(type(label) is int for label in labels):
            raise ValueError("`labels` must be integers")
        return _array(pixels, (len(labels), 3072)), np.array(labels, np.int64) - first
    except Exception as error:  # a broken pickle can raise nearly anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not an official {what} batch: {why}") from error


def _walk(file: IO[bytes]) -> None:
    for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= step:
            raise ValueError(f"it stores at place {argument} of its memo in step {step}")
        if step == MOST_STEPS:
            raise ValueError(f"it has more than {MOST_STEPS:,} steps")
    file.seek(0)


def _array(noted: _Noted, shape: tuple[int, int]) -> np.ndarray:
    """Return the array that numpy would make of `noted.state`: (version, shape, dtype, Fortran order?, bytes).

    In files that Python 2 wrote, the bytes are text.
    """
    _, found, dtype, fortran, raw = noted.state
    if found != shape or dtype.arguments[0] not in ("u1", "|u1") or fortran:
        raise ValueError(f"`data` must be uint8 {list(shape)}, a row for each label, in C order")
    text = raw.arguments[0] if isinstance(raw, _Noted) else raw
    return np.frombuffer(text.encode("latin1") if isinstance(text, str) else text, np.uint8).reshape(shape)

"""The official pickles of CIFAR-10 and ImageNet-32, also if they were saved again, read without trusting them.

A pickle is a program that may call whatever it names. Three things make it safe to read one here:

- It may use only the names that arrays of numpy 1 and 2 need in any protocol, and all of them are replaced by classes
  that only store their arguments. So a file can call nothing else, not even numpy's own functions. Those trust what a
  file says about a dtype, and with a false flag there they would follow numbers as if they were pointers. The arrays
  are made from the stored bytes after the file has been read, and only of integers.
- The file is checked step by step before it is unpickled. The unpickler reserves as much memory as a file claims to
  need for a string or for its memo, so a file that claims more than it holds is refused.
- The number of steps is limited, since a step can make an object far larger than its one byte in the file.
"""

import io
import math
import pickle
import pickletools
import re
from typing import IO, Any

import numpy as np

MOST_STEPS = 1_000_000  # an official file takes a few for each label, and holds up to 128,124 labels
MOST_AXES = 2
INTEGER = re.compile(r"[|<>=]?([iu][1248])")


class _Noted:
    """What a file says about an object that it would make."""

    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Noted):
    """arguments: (class, shape, letter); state: (version, shape, dtype, Fortran order?, bytes)."""


class _Buffer(_Noted):
    """An array in protocol 5; arguments: (bytes, dtype, shape, order)."""


class _Scalar(_Noted):
    """arguments: (dtype, bytes)."""


class _Dtype(_Noted):
    """arguments: (letter and size, ...); state: (version, byte order, ...)."""


class _Encoded(_Noted):
    """Bytes in protocols before 3; arguments: (text, "latin1")."""


NAMES: dict[tuple[str, str], type[_Noted]] = {
    ("numpy", "ndarray"): _Noted,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encoded,
}
for _core in ("numpy.core", "numpy._core"):  # of numpy 1 and of numpy 2
    NAMES |= {(f"{_core}.multiarray", "_reconstruct"): _Array, (f"{_core}.multiarray", "scalar"): _Scalar}
    NAMES |= {(f"{_core}.numeric", "_frombuffer"): _Buffer}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Noted]:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!r}, which no file of this set does")
        return NAMES[module, name]


def read_batch(data: bytes | IO[bytes], *, what: str = "CIFAR-10", first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Decode one official batch file: pixels uint8 [n, 3072] in plane order, and labels int64 [n].

    Keys may be text or bytes, labels a list or an array of integers, arrays in C or Fortran order.

    data: the file's bytes, or the opened file. what: name of the set, for messages. first: the file's smallest label,
    which becomes 0.

    Raises ValueError for anything that is not such a file.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        _walk(file)
        batch = _Unpickler(file, encoding="latin1").load()
        found = {_text(key): value for key, value in batch.items()} if isinstance(batch, dict) else {}
        pixels, labels = found.get("data"), found.get("labels")
        if not isinstance(pixels, _Array | _Buffer) or not isinstance(labels, list | _Array | _Buffer):
            raise ValueError("it must hold the array `data`, and `labels`, a list or an array")
        numbers = _labels(labels)
        shape = f"uint8 {[len(numbers), 3072]}, a row for each label"
        planes = _integers(pixels, f"`data` must be {shape}")
        if planes.dtype != np.uint8 or planes.shape != (len(numbers), 3072):
            raise ValueError(f"`data` must be {shape}")
        return planes, numbers - first
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


def _labels(labels: Any) -> np.ndarray:
    """Return int64 [n]. Raises ValueError for other numbers, OverflowError for larger ones."""
    must = "`labels` must be integers"
    if not isinstance(labels, list):
        array = _integers(labels, must)
    else:
        items = [_integers(label, must).item() if isinstance(label, _Scalar) else label for label in labels]
        if not all(type(item) is int for item in items):
            raise ValueError(must)
        array = np.array(items, np.int64)
    if array.ndim != 1:
        raise ValueError("`labels` must be one for each image")
    return array.astype(np.int64)


def _integers(noted: _Noted, must: str) -> np.ndarray:
    """Return the array of integers that numpy would make of what is noted. Raises ValueError(must) for another."""
    try:
        if isinstance(noted, _Array):
            _, shape, dtype, fortran, raw = noted.state
            order: Any = "F" if fortran else "C"
        elif isinstance(noted, _Buffer):
            raw, dtype, shape, order = noted.arguments[:4]
        else:
            (dtype, raw), shape, order = noted.arguments, (), "C"
        letters, content = INTEGER.fullmatch(_text(dtype.arguments[0])), _bytes(raw)
        byte_order = "=" if dtype.state is None else _text(dtype.state[1])
        is_shape = type(shape) is tuple and len(shape) <= MOST_AXES and all(type(n) is int and n >= 0 for n in shape)
        if not isinstance(dtype, _Dtype) or not letters or not is_shape or order not in ("C", "F"):
            raise ValueError
        kind = np.dtype((byte_order if byte_order in ("<", ">") else "=") + letters[1])
        if math.prod(shape) * kind.itemsize != len(content):
            raise ValueError
        return np.frombuffer(content, kind).reshape(shape, order=order)
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(must) from error


def _text(value: Any) -> str:
    """Return text, or bytes as text; "" for anything else."""
    if isinstance(value, _Encoded):
        value = value.arguments[0]
    return value.decode("latin1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _bytes(value: Any) -> bytes | bytearray:
    """Return bytes; those that Python 2 wrote are text here. Raises TypeError for anything else."""
    if isinstance(value, bytes | bytearray):
        return value
    if isinstance(value, str | _Encoded):
        return _text(value).encode("latin1")
    raise TypeError

"""The official pickles of CIFAR-10 and ImageNet-32, read without trusting them.

A pickle is a program; the ordinary reader runs whatever it names. This one knows the few names that a batch
file holds (numpy's array and dtype, its reconstruction, latin-1 encoding) and gives each a harmless stand-in;
any other name ends the reading before anything is called. The file is walked through once before that, since
the ordinary reader also reserves whatever room a file asks for.
"""

import io
import pickle
import pickletools
import re
from typing import IO, Any

import numpy as np

__all__ = ["read_batch"]


class _Dtype:
    """Stands for numpy.dtype: a number of a plain kind."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[|<=>]?[uif][1248]|uint8", code):
            raise ValueError(f"arrays must hold numbers, got dtype {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        """Take the byte order, the second of the values; the others are for kinds that are not admitted."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise ValueError("a dtype must be of a plain kind")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for numpy.ndarray: holds numbers in C order."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take numpy's (version, shape, dtype, Fortran order?, bytes); Python 2's bytes come as text."""
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or fortran:
            raise ValueError("arrays must hold numbers in C order")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"an array's shape must be counts, got {shape!r}")
        raw = _latin1(data) if isinstance(data, str) else data
        self.array = np.frombuffer(raw, dtype=dtype.dtype).reshape(shape)


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise ValueError(f"text must be latin1, got {encoding!r}")
    return text.encode("latin1")


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!r}, which no file of this set does")
        return _ADMITTED[module, name]


def _walk(file: IO[bytes]) -> None:
    """Raise ValueError for a file that claims more than it holds: cut strings, or far places in the memo."""
    for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and not 0 <= int(argument or 0) <= step:
            raise ValueError(f"it puts at place {argument} in step {step}")
    file.seek(0)


def read_batch(data: bytes | IO[bytes], *, what: str = "CIFAR-10", first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Decode one official batch file: pixels uint8 [n, 3072] in plane order, and labels int64 [n].

    data: its bytes, or the file opened. what: the set, for messages. first: what the file calls label 0.

    Raises ValueError for anything that is not such a file; nothing it names is executed.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data

    def refuse(why: object) -> ValueError:
        return ValueError(f"not an official {what} batch: {' '.join(str(why).split())}")

    try:
        _walk(file)
        batch = _Restricted(file, encoding="latin1").load()
    except Exception as error:  # a broken pickle can raise nearly anything
        raise refuse(error or type(error).__name__) from error
    pixels = batch.get("data") if isinstance(batch, dict) else None
    labels = batch.get("labels") if isinstance(batch, dict) else None
    if not isinstance(pixels, _Array) or not isinstance(labels, list):
        raise refuse("it must hold the array `data` and the list `labels`")
    image_array = getattr(pixels, "array", np.empty(0, dtype=np.uint8))
    if image_array.dtype != np.uint8:
        raise refuse(f"arrays must be uint8, got `data` of {image_array.dtype}")
    if image_array.shape != (len(labels), 3072) or not all(type(label) is int for label in labels):
        raise refuse(
            f"`data` must be [n, 3072] and `labels` n integers, got {list(image_array.shape)} and {len(labels)}"
        )
    try:
        return image_array, np.array(labels, dtype=np.int64) - first
    except OverflowError as error:
        raise refuse("labels must be small numbers") from error

"""CIFAR-10's official pickles, read without trusting them.

A pickle is a program; the ordinary reader runs whatever it names. This one knows the few names that a batch
file holds (numpy's array and dtype, its reconstruction, latin-1 encoding) and gives each a harmless stand-in;
any other name ends the reading before anything is called.
"""

import io
import pickle
from typing import Any

import numpy as np

__all__ = ["read_batch"]


class _Dtype:
    """Stands for numpy.dtype: one unsigned byte and nothing else."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in ("u1", "|u1", "uint8"):
            raise ValueError(f"arrays must be uint8, got dtype {code!r}")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which a byte does not have."""


class _Array:
    """Stands for numpy.ndarray: holds uint8 bytes in C order."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take numpy's (version, shape, dtype, Fortran order?, bytes); Python 2's bytes come as text."""
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or fortran:
            raise ValueError("arrays must be uint8 in C order")
        self.array = np.frombuffer(_latin1(data) if isinstance(data, str) else data, dtype=np.uint8).reshape(shape)


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
            raise pickle.UnpicklingError(f"it asks for {f'{module}.{name}'!r}, which no CIFAR-10 file does")
        return _ADMITTED[module, name]


def read_batch(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decode one official batch file: pixels uint8 [n, 3072] in plane order, and labels int64 [n].

    Raises ValueError for anything that is not such a file; nothing it names is executed.
    """
    try:
        batch = _Restricted(io.BytesIO(data), encoding="latin1").load()
    except Exception as error:  # a broken pickle can raise nearly anything
        raise ValueError(f"not an official CIFAR-10 batch: {error}") from error
    pixels = batch.get("data") if isinstance(batch, dict) else None
    labels = batch.get("labels") if isinstance(batch, dict) else None
    if not isinstance(pixels, _Array) or not isinstance(labels, list):
        raise ValueError("not an official CIFAR-10 batch: it must hold the array `data` and the list `labels`")
    image_array = getattr(pixels, "array", np.empty(0, dtype=np.uint8))
    if image_array.shape != (len(labels), 3072) or not all(type(label) is int for label in labels):
        raise ValueError(
            "not an official CIFAR-10 batch: `data` must be [n, 3072] and `labels` n integers, "
            f"got {list(image_array.shape)} and {len(labels)}"
        )
    return image_array, np.array(labels, dtype=np.int64)

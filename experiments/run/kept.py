"""Arrays and a header, kept on disk between runs. A digest protects them: a file that was cut or changed is refused.

The files are safetensors. This module adds two tensors: `digest`, SHA-256 over all the others, and, if there is a
header, `header`, its JSON as bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import ArrayLike
from safetensors import SafetensorError

from experiments.run.files import write_bytes


def write(file: Path, arrays: Mapping[str, ArrayLike], header: Mapping[str, Any] | None = None) -> None:
    """Write the arrays (or tensors) and the header (JSON values), whole or not at all; missing folders are made."""
    kept = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    if header is not None:
        kept["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    kept["digest"] = np.frombuffer(_digest(kept), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, safetensors.numpy.save(kept))


def read(file: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the header that `write` wrote; a file without a header has an empty one.

    Raises ValueError for anything that `write` did not write, and FileNotFoundError if there is no file.
    """
    try:
        kept = safetensors.numpy.load(file.read_bytes())
        digest = kept.pop("digest").tobytes()
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{file} is damaged ({error})") from error
    if digest != _digest(kept):
        raise ValueError(f"{file} is damaged (its content does not match its digest)")
    return kept, json.loads(kept.pop("header", np.frombuffer(b"{}", np.uint8)).tobytes())


def key(*parts: object) -> str:
    """Return 16 hex digits of a SHA-256 over JSON values, to name the file of a result that depends on them."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _digest(arrays: Mapping[str, np.ndarray]) -> bytes:
    hashed = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        hashed.update(f"{name} torch.{array.dtype} {list(array.shape)}\n".encode())  # the dtype as torch spells it
        hashed.update(array.tobytes())
    return hashed.digest()

"""Finished pieces of long work, kept on disk: a SHA-256 and the npz it is of."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np

from experiments.run.files import write_bytes

__all__ = ["digest", "load", "save"]


def save(file: Path, arrays: dict[str, np.ndarray]) -> None:
    """Keep the arrays as `file`, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    content = buffer.getvalue()
    write_bytes(file, hashlib.sha256(content).digest() + content)


def load(file: Path) -> dict[str, np.ndarray] | None:
    """The kept arrays; None where there are none or where the file is damaged."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    with np.load(io.BytesIO(content[32:]), allow_pickle=False) as arrays:
        return dict(arrays)


def digest(*parts: object) -> str:
    """16 hex digits over JSON values: the key of what depends on them."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

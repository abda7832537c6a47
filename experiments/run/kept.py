"""Arrays kept between runs in safetensors with their own digest: what was cut or changed is refused, never used."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from experiments.run.files import write_bytes

DIGEST = "digest"  # the name of the tensor that seals the others


def write(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes `tensors`, whole or not at all; folders are made."""
    seal = torch.frombuffer(bytearray(_digest(tensors)), dtype=torch.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, safetensors.torch.save({**tensors, DIGEST: seal}))


def read(file: Path) -> dict[str, Tensor]:
    """What `write` wrote. Raises ValueError for anything else, FileNotFoundError where there is no file."""
    try:
        tensors = safetensors.torch.load(file.read_bytes())
        seal = tensors.pop(DIGEST).numpy().tobytes()
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{file} is damaged ({error})") from error
    if seal != _digest(tensors):
        raise ValueError(f"{file} is damaged (not what its digest says)")
    return tensors


def _digest(tensors: Mapping[str, Tensor]) -> bytes:
    hashed = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        hashed.update(tensor.contiguous().numpy().tobytes())
    return hashed.digest()

"""A network's parameters and buffers as bytes, and which of them cannot be read."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from features.errors import contained, one_line


def check_readable(model: nn.Module) -> None:
    """Raise a ValueError that names the fix if a tensor of the model has no dense values, or if reading them fails.

    It fails where the model has a parameters(), buffers(), state_dict() or __repr__ of its own that raises.
    """
    try:
        with contained("reading its weights"):
            named = tensors(model)
            model.state_dict()
            repr(model)
    except Exception as error:  # the methods may be the user's
        raise ValueError(f"reading its weights raises {one_line(error)}; keep nn.Module's own methods") from error
    for name, tensor in named.items():
        _check(name, tensor)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return name -> every parameter and buffer."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def as_bytes(name: str, tensor: Tensor) -> np.ndarray:
    """Return a tensor's bytes, uint8 [n], on the CPU. Raises ValueError, which begins with `name`, if it has none."""
    _check(name, tensor)
    flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def _check(name: str, tensor: Tensor) -> None:
    if is_lazy(tensor):
        raise ValueError(f"{name} is not made yet; pass a batch through the lazy network before it is returned")
    if tensor.is_meta:
        raise ValueError(f"{name} is on the meta device, without values; make the network on the CPU, or load weights")
    if tensor.layout != torch.strided:
        raise ValueError(f"{name} is not dense, but {tensor.layout}; convert it: .to_dense()")

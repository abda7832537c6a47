"""Discriminators of the common PyTorch ports of DCGAN, from their state dicts alone.

pytorch/examples (`netD_epoch_N.pth`), the DCGAN tutorial, the layout of soumith's dcgan.torch and the ports that follow
them differ in the names of their modules; the network is one: convolutions 4x4 of stride 2 and padding 1 that double
the channels until the map is 4x4, each with batch norm (the first without) and LeakyReLU(0.2), then a 4x4 convolution
to the logit. So a file is recognised by its shapes: their chain gives the order, the input's channels and its size.
"""

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from gan.architectures import LEAK

KERNEL = 4
EXPECTED = (
    "expected a DCGAN discriminator as pytorch/examples has it: 4x4 convolutions of which each takes the channels that "
    "the one before gives, the first 1 or 3, the last giving 1, and batch norm of their widths between them"
)
_INSIDE = ("state_dict", "netD", "discriminator")  # where training scripts put it among other things


@dataclass(frozen=True)
class Port:
    """model: conv1 .. convK, each convolution, batch norm where there is one, LeakyReLU(0.2); float32, in eval mode.

    image_shape: (C, H, W) of its input, values in [-1, 1].
    """

    model: nn.Sequential
    image_shape: tuple[int, int, int]


def load_port(file: str | os.PathLike[str]) -> Port:
    """The discriminator in a `.pth` (read with weights_only=True) or `.safetensors` file; its last convolution is left.

    Raises FileNotFoundError, or ValueError that says what was expected.
    """
    content = _read(Path(file))
    for name in _INSIDE:
        content = content[name] if isinstance(content.get(name), Mapping) else content
    modules: dict[str, dict[str, Tensor]] = {}
    for key, value in content.items():
        if isinstance(value, Tensor):
            module, _, parameter = str(key).rpartition(".")
            modules.setdefault(module, {})[parameter] = value
    stages = [_stage(conv, norm) for conv, norm in _chain(Path(file), modules)[:-1]]
    model = nn.Sequential(OrderedDict((f"conv{i}", stage) for i, stage in enumerate(stages, 1)))
    first = stages[0][0]
    assert isinstance(first, nn.Conv2d)
    size = KERNEL * 2 ** len(stages)
    return Port(model.eval(), (first.in_channels, size, size))


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path.read_bytes())
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what damaged archives raise is of many types
        raise ValueError(f"{path} is no state dict that can be read without running code in it; {EXPECTED}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, no state dict; {EXPECTED}")
    return content


def _chain(path: Path, modules: Mapping[str, dict[str, Tensor]]) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """(convolution, its batch norm or nothing) from image to logit. Raises ValueError where they make no chain."""
    convs = [m for m in modules.values() if m.get("weight", torch.empty(0)).ndim == 4]
    norms = [m for m in modules.values() if "running_mean" in m and m.get("weight", torch.empty(0)).ndim == 1]
    by_input = {conv["weight"].shape[1]: conv for conv in convs}
    chain: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    channels = next((c for c in (1, 3) if c in by_input), 0)
    while channels in by_input and len(chain) < len(convs):
        conv = by_input[channels]
        channels = conv["weight"].shape[0]
        fitting = [norm for norm in norms if len(norm["running_mean"]) == channels]
        chain.append((conv, fitting[0] if len(fitting) == 1 and chain else {}))
        if channels == 1:
            break
    kernels = {tuple(conv["weight"].shape[2:]) for conv in convs}
    used = sum(bool(norm) for _, norm in chain)
    if (
        len(chain) < 2
        or len(chain) != len(convs)
        or channels != 1
        or kernels != {(KERNEL, KERNEL)}
        or used != len(norms)
    ):
        seen = ", ".join("x".join(map(str, conv["weight"].shape)) for conv in convs) or "no convolution"
        raise ValueError(f"{path} holds {seen}, {len(norms)} batch norms; {EXPECTED}")
    return chain


def _stage(conv: Mapping[str, Tensor], norm: Mapping[str, Tensor]) -> nn.Sequential:
    out, inp = conv["weight"].shape[:2]
    parts: list[nn.Module] = [nn.Conv2d(inp, out, KERNEL, 2, 1, bias="bias" in conv)]
    parts[0].load_state_dict(conv)
    if norm:
        parts.append(nn.BatchNorm2d(out))
        parts[1].load_state_dict({"num_batches_tracked": torch.tensor(0), **norm})
    return nn.Sequential(*parts, nn.LeakyReLU(LEAK))

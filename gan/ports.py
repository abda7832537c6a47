"""Discriminators of the common PyTorch ports of DCGAN, built from only their state dicts.

A file is recognised by the shapes in it, whatever its modules are called (`main.0`, `module.conv2_bn`, `disc.2.1`).
Each convolution takes the channels that the one before gives; this tells their order, nc and ndf. Two networks are
known:

4x4   pytorch/examples (`netD_epoch_N.pth`), the DCGAN tutorial, soumith's dcgan.torch and those that follow them:
      stride 2, padding 1, down to a 4x4 map, then a 4x4 convolution to the logit; batch norm before LeakyReLU(0.2),
      none in the first stage.
3x3   PyTorch-GAN: stride 2, padding 1, then a linear map of the last map to the logit; batch norm (eps 0.8) after
      LeakyReLU(0.2), none in the first stage.
"""

import math
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from gan.architectures import LEAK

EXPECTED = (
    "expected the state dict of a DCGAN discriminator as in pytorch/examples (4x4 convolutions, the last to 1 channel) "
    "or PyTorch-GAN (3x3 convolutions, then a linear map to 1): the first convolution takes 1 or 3 channels, later "
    "ones take what the one before gives, and all layers but the first and the last have batch norm"
)
_INSIDE = ("state_dict", "model_state_dict", "netD", "discriminator", "D")  # keys under which scripts store it
_Arrays = Mapping[str, Tensor]  # weight, bias, running_mean ... of one module


@dataclass(frozen=True)
class Port:
    """A discriminator that was read from a port.

    model: conv1 .. convK, each ending in its LeakyReLU; float32, in eval mode. The layer that gives the logit is left
    out. image_shape: (C, H, W) of the input, with values in [-1, 1].
    """

    model: nn.Sequential
    image_shape: tuple[int, int, int]


def load_port(file: str | os.PathLike[str]) -> Port:
    """Load the discriminator in a `.pth` (read with weights_only=True) or `.safetensors` file.

    Raises FileNotFoundError, and ValueError that says what was expected.
    """
    content = _read(Path(file))
    for name in _INSIDE:
        content = content[name] if isinstance(content.get(name), Mapping) else content
    modules: dict[str, dict[str, Tensor]] = {}
    for key, value in content.items():
        if isinstance(value, Tensor):
            module, _, parameter = str(key).rpartition(".")
            modules.setdefault(module, {})[parameter] = value
    convs, norms, linears = ([m for m in modules.values() if _is(m, dims)] for dims in (4, 1, 2))
    chain, by_width = _chain(convs), {len(norm["running_mean"]): norm for norm in norms}
    widths = [conv["weight"].shape[0] for conv in chain]
    kernel, stages, side = _layout(convs, linears, widths)
    if len(chain) != len(convs) or sorted(widths[1:stages]) != sorted(len(norm["running_mean"]) for norm in norms):
        stages = 0
    if not stages or len(by_width) != len(norms):
        seen = ", ".join("x".join(map(str, conv["weight"].shape)) for conv in convs) or "none"
        raise ValueError(f"{file}: its convolutions are {seen}, with {len(norms)} batch norms; {EXPECTED}")
    made: OrderedDict[str, nn.Module] = OrderedDict()
    for i, conv in enumerate(chain[:stages]):
        parts: list[nn.Module] = [_conv(conv)]
        if kernel == 4 and i > 0:
            parts.append(_norm(by_width[widths[i]]))
        elif kernel == 3 and i > 1:  # the batch norm after the activation of the stage before
            parts.insert(0, _norm(by_width[widths[i - 1]], eps=0.8))
        made[f"conv{i + 1}"] = nn.Sequential(*parts, nn.LeakyReLU(LEAK))
    size = side * 2**stages
    return Port(nn.Sequential(made).eval(), (chain[0]["weight"].shape[1], size, size))


def _layout(convs: Sequence[_Arrays], linears: Sequence[_Arrays], widths: list[int]) -> tuple[int, int, int]:
    """Return (kernel, stages, side of the last map); stages is 0 for neither network."""
    kernels = {tuple(conv["weight"].shape[2:]) for conv in convs}
    if kernels == {(4, 4)} and not linears and len(widths) > 2 and widths[-1] == 1:
        return 4, len(widths) - 1, 4
    if kernels == {(3, 3)} and len(widths) > 1 and len(linears) == 1:
        outputs, inputs = linears[0]["weight"].shape
        side = math.isqrt(inputs // widths[-1])
        return 3, len(widths) if outputs == 1 and inputs == widths[-1] * side**2 else 0, side
    return 0, 0, 0


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path.read_bytes())
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged archives raise errors of many types
        raise ValueError(
            f"{path} cannot be read without running code in it, or is damaged; save netD.state_dict(): {EXPECTED}"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must hold a state dict, got a {type(content).__name__}; {EXPECTED}")
    return content


def _is(module: _Arrays, dims: int) -> bool:
    """Tell whether the weight has `dims` dimensions: 4 for a convolution, 2 for a linear map, 1 for a batch norm."""
    return "weight" in module and module["weight"].ndim == dims and ("running_mean" in module) == (dims == 1)


def _chain(convs: Sequence[_Arrays]) -> list[_Arrays]:
    """Put the convolutions in order, from an image of 1 or 3 channels on; those that do not fit are left out."""
    by_input = {conv["weight"].shape[1]: conv for conv in convs}
    channels = next((c for c in (1, 3) if c in by_input), 0)
    chain: list[_Arrays] = []
    while channels in by_input and len(chain) < len(convs):
        chain.append(by_input[channels])
        channels = chain[-1]["weight"].shape[0]
        if channels == 1:
            break
    return chain


def _conv(arrays: _Arrays) -> nn.Conv2d:
    out, inputs, kernel, _ = arrays["weight"].shape
    conv = nn.Conv2d(inputs, out, kernel, 2, 1, bias="bias" in arrays)
    conv.load_state_dict(arrays)
    return conv


def _norm(arrays: _Arrays, eps: float = 1e-5) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(len(arrays["running_mean"]), eps)
    norm.load_state_dict({"num_batches_tracked": torch.tensor(0), **arrays})
    return norm

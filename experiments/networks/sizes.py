"""How much memory the networks of an architecture take, found from their shapes before any of it is allocated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import gan


@dataclass(frozen=True)
class Size:
    """Bytes of a network in float32.

    weights: with buffers. maps: all outputs of its layers for one image. largest: the largest of them.
    """

    weights: int
    maps: int
    largest: int


def sizes(arch: gan.Architecture | gan.ConditionalArchitecture) -> tuple[Size, Size]:
    """Return the sizes of the discriminator and of the generator."""
    labels: list[Tensor] = []
    kinds: tuple[Callable[[Any], nn.Module], ...] = (gan.Discriminator, gan.Generator)
    if isinstance(arch, gan.ConditionalArchitecture):
        labels = [torch.zeros(2, dtype=torch.int64, device="meta")]
        kinds = (gan.ConditionalDiscriminator, gan.ConditionalGenerator)
    given = [torch.empty(shape, device="meta") for shape in ((2, *arch.image_shape), (2, arch.nz))]
    discriminator, generator = (_size(kind, arch, of, labels) for kind, of in zip(kinds, given, strict=True))
    return discriminator, generator


def _size(kind: Callable[[Any], nn.Module], arch: Any, inputs: Tensor, labels: list[Tensor]) -> Size:
    with torch.device("meta"):
        network = kind(arch)
    seen = [inputs.nbytes]
    for name, module in network.named_modules():
        if not list(module.children()) and "parametrizations" not in name:  # those return weights, not maps
            module.register_forward_hook(lambda _, __, output: seen.append(output.nbytes))
    with torch.no_grad():
        network(inputs, *labels)
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    return Size(weights, sum(seen) // len(inputs), max(seen) // len(inputs))

"""A network as a source of features: which layers, on what images; and the checks a new one must pass."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.images import to_input
from features.pooling import PAPER_GRID, Pool
from features.taps import evaluating, find_layers, tapped


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network and how its features are read.

    model: any nn.Module that maps float32 [N, *image_shape] in value_range to anything.
    layers: names of submodules whose outputs are post-activation maps [N, C, h, w]; their order is the
    features' order.
    image_shape: (C, H, W) of the input. value_range: (low, high) the input's 0..255 are scaled to.
    to_maps: turns the output of a layer that is not such maps (tokens, say) into them; None where all are.
    Raises ValueError for unknown layers (naming those there) and impossible shapes or ranges.
    """

    model: nn.Module
    layers: Sequence[str]
    image_shape: tuple[int, int, int]
    value_range: tuple[float, float]
    to_maps: Callable[[Any], Tensor] | None = None

    def __post_init__(self) -> None:
        find_layers(self.model, self.layers)
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise ValueError(f"image_shape must be three positive sizes (C, H, W), got {self.image_shape}")
        if len(self.value_range) != 2 or not -np.inf < self.value_range[0] < self.value_range[1] < np.inf:
            raise ValueError(f"value_range must be (low, high), finite, low < high, got {self.value_range}")
        for name in ("layers", "image_shape", "value_range"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def device(self) -> torch.device:
        """Where the model's first parameter or buffer lies; the CPU for a model without either."""
        first = next(self.model.parameters(), next(self.model.buffers(), None))
        return torch.device("cpu") if first is None else first.device

    def maps(self, layer: str, output: Any) -> Tensor:
        """A layer's output (through to_maps) as float [N, C, h, w]; ValueError if it is not that."""
        maps = output if self.to_maps is None else self.to_maps(output)
        if not isinstance(maps, Tensor) or maps.ndim != 4 or not maps.is_floating_point():
            got = f"{maps.dtype} {list(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
            raise ValueError(f"layer {layer!r} must give float maps [N, C, h, w], got {got}; pass to_maps to convert")
        return maps

    def prepare(self, images: np.ndarray) -> Tensor:
        """uint8 [n, H, W, C] -> the model's float32 input [n, *image_shape] on its device."""
        return to_input(images, image_shape=self.image_shape, value_range=self.value_range, device=self.device)


def layer_shapes(backbone: Backbone) -> dict[str, tuple[int, int, int]]:
    """Layer name -> (C, h, w) of its maps for an input of image_shape, from one blank image."""
    channels, height, width = backbone.image_shape
    blank = np.zeros((1, height, width, channels), np.uint8)
    with tapped(backbone.model, backbone.layers, backbone.maps) as forward:
        maps = forward(backbone.prepare(blank))
    return {name: (m.shape[1], m.shape[2], m.shape[3]) for name, m in zip(backbone.layers, maps, strict=True)}


def layer_widths(backbone: Backbone, *, pool: Pool = PAPER_GRID) -> dict[str, int]:
    """Layer name -> the columns it gives with this pool, in the backbone's order."""
    return {name: pool(torch.zeros(1, *shape)).shape[1] for name, shape in layer_shapes(backbone).items()}


def feature_width(backbone: Backbone, *, pool: Pool = PAPER_GRID) -> int:
    """D: the columns that extraction with this pool gives (28,672 for the paper's ImageNet network)."""
    return sum(layer_widths(backbone, pool=pool).values())


def max_units(backbone: Backbone) -> int:
    """The paper's "max # of feature units": the largest channel count among the layers used."""
    return max(channels for channels, _, _ in layer_shapes(backbone).values())


def check_backbone(backbone: Backbone) -> list[str]:
    """What makes this network's features unfit for comparison, one line each; empty when nothing does.

    Eight fixed random images are passed through: maps must be finite and not constant, equal in a second
    pass, the same for an image alone as in a batch (within 1e-4 of the layer's largest value: kernels chosen
    by batch size round differently, a dependence on the batch is orders larger), and each layer must run once
    a pass.
    Raises ValueError where features cannot be read at all (see Backbone.maps and taps.tapped).
    """
    channels, height, width = backbone.image_shape
    images = np.random.default_rng(0).integers(0, 256, (8, height, width, channels), dtype=np.uint8)
    batch = backbone.prepare(images)
    with tapped(backbone.model, backbone.layers, backbone.maps) as forward:
        first, second = forward(batch), forward(batch)
        alone = [torch.cat(single) for single in zip(*(forward(image[None]) for image in batch), strict=True)]
    runs = _runs_per_pass(backbone, batch)
    findings = []
    for name, maps, again, single in zip(backbone.layers, first, second, alone, strict=True):
        if not bool(torch.isfinite(maps).all()):
            findings.append(f"layer {name!r} gives values that are not finite")
            continue
        if bool((maps == maps[:1]).all()):
            findings.append(f"layer {name!r} gives the same maps for different images")
        if not torch.equal(maps, again):
            findings.append(f"layer {name!r} gives different maps for the same images in a second pass")
        elif float((maps - single).abs().max()) > 1e-4 * float(maps.abs().max()):
            findings.append(f"layer {name!r} gives different maps for an image alone and in a batch")
        if runs.get(name, 1) > 1:
            findings.append(f"layer {name!r} runs {runs[name]} times in one pass; only its first output is used")
    return findings


def _runs_per_pass(backbone: Backbone, batch: Tensor) -> dict[str, int]:
    """Layer name -> how often it runs in one whole forward pass, as far as the model gets."""
    runs = dict.fromkeys(backbone.layers, 0)

    def add(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            runs[name] += 1

        return hook

    modules = find_layers(backbone.model, backbone.layers)
    hooks = [module.register_forward_hook(add(name)) for name, module in modules.items()]
    try:
        # a network that ends before its head (missing weights) still has usable stages
        with suppress(Exception), evaluating(backbone.model), torch.inference_mode():
            backbone.model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return runs

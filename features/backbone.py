"""A network as a source of features: which layers are read, and which images it takes."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import one_line
from features.images import ValueRange, to_input
from features.pooling import PAPER_GRID, Pool
from features.survey import as_maps
from features.taps import find_layers, tapped


class BackboneError(ValueError):
    """The fields of a Backbone do not fit. `backbone` holds them as given, for `features.run_checks` to look at."""

    def __init__(self, backbone: "Backbone", wrong: Sequence[str]) -> None:
        super().__init__("; ".join(wrong))
        self.backbone = backbone


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network and how its features are read.

    model: any nn.Module that takes float32 [N, *image_shape] in value_range; its output is not used.
    layers: names of submodules whose outputs are post-activation maps [N, C, h, w]. Their order is the order of the
    features. `name@k` is the k-th run of a submodule that runs several times in a pass.
    image_shape: (C, H, W) of the input.
    value_range: (low, high) to which 0..255 is scaled: two numbers, or two sequences with a number for each channel.
    Images that are normalised by mean and sd of each channel have the range (0 - mean) / sd, (1 - mean) / sd.
    to_maps: turns a layer's output that is not such maps (tokens, for example) into them; None when all are maps.
    Raises BackboneError, a ValueError, that names everything that is wrong: unknown layers (with the known ones),
    impossible shapes or ranges, a model that is no module.
    """

    model: nn.Module
    layers: Sequence[str]
    image_shape: tuple[int, int, int]
    value_range: ValueRange
    to_maps: Callable[[Any], Tensor] | None = None

    def __post_init__(self) -> None:
        if wrong := misfits(self):
            raise BackboneError(self, list(wrong.values()))
        for name in ("layers", "image_shape"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        bounds = tuple(tuple(b) if isinstance(b, Iterable) else b for b in self.value_range)
        object.__setattr__(self, "value_range", bounds)

    @property
    def device(self) -> torch.device:
        """The device of the model's first parameter or buffer; the CPU for a model without either."""
        first = next(self.model.parameters(), next(self.model.buffers(), None))
        return torch.device("cpu") if first is None else first.device

    def maps(self, layer: str, output: Any) -> Tensor:
        """Pass a layer's output through to_maps. Raises ValueError unless the result is float [N, C, h, w]."""
        return as_maps(layer, output, self.to_maps)

    def prepare(self, images: np.ndarray) -> Tensor:
        """Convert uint8 [n, H, W, C] to the model's input: float32 [n, *image_shape], on its device."""
        return to_input(images, image_shape=self.image_shape, value_range=self.value_range, device=self.device)


def misfits(backbone: Backbone) -> dict[str, str]:
    """Say what is wrong with the fields: "module", "layers" or "input" -> a line. The model is not run."""
    wrong = {}
    if not isinstance(backbone.model, nn.Module):
        wrong["module"] = f"model must be a torch.nn.Module, got {type(backbone.model).__name__}"
    else:
        try:
            find_layers(backbone.model, backbone.layers)
        except ValueError as error:
            wrong["layers"] = str(error)
    shape, bounds = backbone.image_shape, backbone.value_range
    if (
        not isinstance(shape, Collection)
        or len(shape) != 3
        or not all(isinstance(size, Integral) and size >= 1 for size in shape)
    ):
        wrong["input"] = f"image_shape must be three positive sizes (C, H, W), got {shape}"
    elif not _is_range(bounds, shape[0]):
        wrong["input"] = (
            f"value_range must be (low, high), finite, low < high, numbers or {shape[0]} of each, got {bounds}"
        )
    return wrong


def _is_range(bounds: Any, channels: int) -> bool:
    """Tell whether these are two numbers, or two for each channel, with low < high."""
    try:
        low, high = (np.asarray(bound, float) for bound in bounds)
    except (TypeError, ValueError):
        return False
    known = low.shape == high.shape and low.shape in ((), (channels,))
    return bool(known and np.isfinite([low, high]).all() and (low < high).all())


def layer_shapes(backbone: Backbone) -> dict[str, tuple[int, int, int]]:
    """Return layer name -> (C, h, w) of its maps, found by passing one blank image of image_shape through the network.

    Raises ValueError when the network cannot run on it, or a layer gives no maps or is not reached.
    """
    with tapped(backbone.model, backbone.layers, backbone.maps) as forward:
        try:
            maps = forward(backbone.prepare(blank_images(backbone, 1)))
        except Exception as error:  # the network may raise anything
            raise ValueError(
                f"the network cannot run on one image of image_shape {backbone.image_shape}: {one_line(error)}"
            ) from error
    return {name: (m.shape[1], m.shape[2], m.shape[3]) for name, m in zip(backbone.layers, maps, strict=True)}


def blank_images(backbone: Backbone, count: int) -> np.ndarray:
    """Make black images uint8 [count, H, W, C] of the size that the network takes."""
    channels, height, width = backbone.image_shape
    return np.zeros((count, height, width, channels), np.uint8)


def layer_widths(backbone: Backbone, *, pool: Pool = PAPER_GRID) -> dict[str, int]:
    """Return layer name -> the number of columns that it gives with this pool, in the backbone's order."""
    return {name: pool(torch.zeros(1, *shape)).shape[1] for name, shape in layer_shapes(backbone).items()}


def feature_width(backbone: Backbone, *, pool: Pool = PAPER_GRID) -> int:
    """Return D, the number of columns that extraction gives with this pool: 28,672 for the paper's ImageNet network."""
    return sum(layer_widths(backbone, pool=pool).values())


def max_units(backbone: Backbone) -> int:
    """Return the paper's "max # of feature units": the largest channel count among the layers used."""
    return max(channels for channels, _, _ in layer_shapes(backbone).values())

"""A network as a source of features: which layers are read, and which images it takes."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import EndsProgramError, one_line
from features.images import Batch, ValueRange, as_batch, as_floats, check_images, is_float, is_range, to_input
from features.pooling import PAPER_GRID, Pool
from features.stages import default_stages, tokens_to_maps
from features.survey import as_maps, choose_layers, shape_fix, survey
from features.taps import find_layers, kept_random, tapped
from features.weights import check_readable

SHOWN = 24  # layers in a repr at most


class BackboneError(ValueError):
    """The fields of a Backbone do not fit. `backbone` holds them as given, for `features.run_checks` to look at.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> try:
    ...     features.Backbone(net, ["conv1"], (3, 32), (-1, 1))
    ... except features.BackboneError as error:
    ...     print(error)
    no layer 'conv1' in this network; it has: 0, 1; image_shape must be three positive sizes (C, H, W), got (3, 32)
    """

    def __init__(self, backbone: "Backbone", wrong: Sequence[str]) -> None:
        super().__init__("; ".join(wrong))
        self.backbone = backbone


@dataclass(frozen=True, eq=False, repr=False)
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

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone(net, ["1"], (3, 32, 32), (-1, 1))
    >>> backbone
    Backbone of Sequential: 1 layer, 128 features
    input  3 x 32 x 32 in [-1, 1]
    layer  maps         features
    1      8 x 16 x 16       128
    >>> images = np.zeros((5, 32, 32, 3), np.uint8)
    >>> {layer: tuple(maps.shape) for layer, maps in backbone(images).items()}
    {'1': (5, 8, 16, 16)}
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
        bounds = tuple(b if isinstance(b, Real) else np.asarray(b).tolist() for b in self.value_range)
        bounds = tuple(tuple(b) if isinstance(b, list) else b for b in bounds)
        object.__setattr__(self, "value_range", bounds)

    @classmethod
    def from_model(
        cls,
        model: nn.Module,
        *,
        image_shape: tuple[int, int, int] = (3, 32, 32),
        value_range: ValueRange = (-1.0, 1.0),
        layers: Sequence[str] | None = None,
        to_maps: Callable[[Any], Tensor] | None = tokens_to_maps,
    ) -> Self:
        """Make a Backbone of a network whose layers need not be known: two blank images pass through it once.

        layers: names or patterns (`layer*`, see choose_layers); by default every stage after its activation, as
        default_stages finds them: layer1 .. layer4 of a ResNet, every block of a vision transformer.
        image_shape, value_range, to_maps: as in a Backbone. The shape and the range are not guessed.
        Raises ValueError, which names the fix, for a network that does not run on images of image_shape and for layers
        that do not exist or cannot be found.

        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU(), torch.nn.Flatten())
        >>> features.Backbone.from_model(net, image_shape=(3, 16, 16))
        Backbone of Sequential: 1 layer, 128 features
        input  3 x 16 x 16 in [-1, 1]
        layer  maps       features
        1      8 x 8 x 8       128
        """
        if wrong := [line for line in (_wrong_module(model), _wrong_input(image_shape, value_range)) if line]:
            raise ValueError("; ".join(wrong))
        if isinstance(layers, str):
            raise ValueError(f"layers must be a sequence of names or patterns, got {layers!r}; write [{layers!r}]")
        check_readable(model)
        with kept_random(_device(model)):
            found = survey(model, torch.zeros(2, *image_shape, device=_device(model)), to_maps)
        if found.error is not None and (layers is None or not found.maps):
            what = f"the network does not run on float32 {[2, *image_shape]}: {one_line(found.error)}"
            fix = "" if isinstance(found.error, EndsProgramError) else f"; {shape_fix(model, image_shape)}"
            raise ValueError(what + fix) from found.error
        if not found.maps:
            why = next(iter(found.unfit.values()), "it has no submodules; wrap it in torch.nn.Sequential")
            raise ValueError(f"no submodule of {type(model).__name__} gives maps that features are made of: {why}")
        names = default_stages(model, found) if layers is None else choose_layers(found, layers)
        return cls(model, names, image_shape, value_range, to_maps)

    def __call__(self, images: np.ndarray | Tensor) -> dict[str, Tensor]:
        """Return layer -> its maps [n, C, h, w], in the backbone's order, from one batch, on the network's device.

        images: uint8 [n, H, W, C] (array) or [n, C, H, W] (tensor), scaled and resized as by extract; or floats
        [n, *image_shape] that are in value_range already. The network runs in evaluation mode, up to the last layer,
        and no gradient is recorded. Raises ValueError for other images.
        """
        if not isinstance(images, np.ndarray | Tensor):
            raise ValueError(f"images must be one batch, an array or a tensor, got {type(images).__name__}")
        if str(images.dtype).endswith("uint8"):
            x = self.prepare(as_batch(check_images(images, None), None))
        elif is_float(images) and images.ndim == 4 and tuple(images.shape[1:]) == self.image_shape:
            x = as_floats(images).to(self.device)
        else:
            wanted = ", ".join(map(str, self.image_shape))
            got = f"{images.dtype} {list(images.shape)}"
            raise ValueError(f"images must be uint8, or floats [n, {wanted}] in value_range, got {got}")
        with tapped(self.model, self.layers, self.maps) as forward:
            maps = forward(x)
        return {name: m.clone() for name, m in zip(self.layers, maps, strict=True)}  # usable where gradients are

    def __repr__(self) -> str:
        """A table of the layers, with their maps and features if the network runs. Never raises."""
        try:
            return _described(self)
        except Exception as error:  # fields that do not fit, or the user's code
            return f"Backbone of {type(self.model).__name__}: {one_line(error)}"

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int, int]]:
        """layer_shapes, for the repr: the random numbers of whoever looks at it stay as they are."""
        with kept_random(self.device):
            return layer_shapes(self)

    @property
    def device(self) -> torch.device:
        """The device of the model's first parameter or buffer; the CPU for a model without either."""
        return _device(self.model)

    def maps(self, layer: str, output: Any) -> Tensor:
        """Pass a layer's output through to_maps. Raises ValueError unless the result is float [N, C, h, w]."""
        return as_maps(layer, output, self.to_maps)

    def prepare(self, images: Batch) -> Tensor:
        """Convert uint8 [n, H, W, C] to the model's input: float32 [n, *image_shape], on its device.

        Floats [n, C, H, W] must be in grey levels, 0 to 255.
        """
        return to_input(images, image_shape=self.image_shape, value_range=self.value_range, device=self.device)


def misfits(backbone: Backbone) -> dict[str, str]:
    """Say what is wrong with the fields: "module", "layers" or "input" -> a line. The model is not run."""
    wrong = {"module": _wrong_module(backbone.model)}
    if not wrong["module"]:
        try:
            find_layers(backbone.model, backbone.layers)
        except ValueError as error:
            wrong["layers"] = str(error)
    wrong["input"] = _wrong_input(backbone.image_shape, backbone.value_range)
    return {name: line for name, line in wrong.items() if line}


def _wrong_module(model: Any) -> str:
    if isinstance(model, torch.jit.ScriptModule):
        return "the layers of a TorchScript module cannot be read; give the nn.Module that it was made of"
    return "" if isinstance(model, nn.Module) else f"model must be a torch.nn.Module, got {type(model).__name__}"


def _wrong_input(shape: Any, bounds: Any) -> str:
    if (
        not isinstance(shape, Collection)
        or len(shape) != 3
        or not all(isinstance(size, Integral) and int(size) >= 1 for size in shape)
    ):
        return f"image_shape must be three positive sizes (C, H, W), got {shape}"
    channels = next(iter(shape))
    if not is_range(bounds, channels):
        return f"value_range must be (low, high), finite, low < high, numbers or {channels} of each, got {bounds}"
    return ""


def _device(model: nn.Module) -> torch.device:
    first = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def _described(backbone: Backbone) -> str:
    """Return the repr. Raises whatever the network raises on a blank image."""
    try:
        shapes, why = backbone._shapes, ""
    except Exception as error:
        shapes, why = {}, f"\n{one_line(error)}"
    columns = [("layer", "maps", "features")]
    width = 0
    for name in backbone.layers:
        shape = shapes.get(name, ())
        d = PAPER_GRID(torch.zeros(1, *shape)).shape[1] if shape else 0
        width += d
        columns.append((name, " x ".join(map(str, shape)), f"{d:,}" * (d > 0)))
    count = len(backbone.layers)
    hidden = f"\n... and {count - SHOWN} more" if count > SHOWN else ""
    first, second, third = (max(map(len, column)) for column in zip(*columns, strict=True))
    rows = [f"{a:{first}}  {b:{second}}  {c:>{third}}".rstrip() for a, b, c in columns[: SHOWN + 1]]
    low, high = backbone.value_range
    bounds = f"[{low:g}, {high:g}]" if isinstance(low, Real) else "a range for each channel"
    return (
        f"{type(backbone).__name__} of {type(backbone.model).__name__}: {count} layer{'s' * (count > 1)}"
        f"{f', {width:,} features' * (width > 0)}\n"
        f"{'input':{first}}  {' x '.join(map(str, backbone.image_shape))} in {bounds}\n"
        + "\n".join(rows)
        + hidden
        + why
    )


def layer_shapes(backbone: Backbone) -> dict[str, tuple[int, int, int]]:
    """Return layer name -> (C, h, w) of its maps, found by passing one blank image of image_shape through the network.

    Raises ValueError when the network cannot run on it, or a layer gives no maps or is not reached.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> features.layer_shapes(backbone)
    {'1': (8, 16, 16)}
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
    """Return layer name -> the number of columns that it gives with this pool, in the backbone's order.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> features.layer_widths(backbone)
    {'1': 128}
    """
    return {name: pool(torch.zeros(1, *shape)).shape[1] for name, shape in layer_shapes(backbone).items()}


def feature_width(backbone: Backbone, *, pool: Pool = PAPER_GRID) -> int:
    """Return D, the number of columns that extraction gives with this pool: 28,672 for the paper's ImageNet network.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> features.feature_width(backbone), features.feature_width(backbone, pool=features.max_grid(2))
    (128, 32)
    """
    return sum(layer_widths(backbone, pool=pool).values())


def max_units(backbone: Backbone) -> int:
    """Return the paper's "max # of feature units": the largest channel count among the layers used.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> features.max_units(backbone)
    8
    """
    return max(channels for channels, _, _ in layer_shapes(backbone).values())

"""Guided backpropagation: what in an image a unit responds to (Springenberg et al. 2014, arXiv 1412.6806; section 6.2).

In the backward pass, an activation's own derivative applies, and then only positive gradients pass. This is done only
for activations that are modules, nn.ReLU and nn.LeakyReLU; functions called in a forward pass are not seen.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.backbone import Backbone
from features.errors import contained
from features.taps import evaluating, find_layers


def guided_backprop(
    backbone: Backbone, images: np.ndarray, layer: str, channels: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the strongest response of one map to each image, and its guided gradient with respect to the image.

    images: uint8 [n, H, W, C]. layer: name of a submodule that gives maps. channels: n indices of maps, one per image.
    Returns responses float32 [n] and gradients float32 [n, *image_shape], with respect to the scaled input. Batch norm
    uses the statistics in the model. The model is left as it was. Raises ValueError when the layer or a map does not
    exist, when the layer is not reached, and when the model has no such activation.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    >>> responses, gradients = features.guided_backprop(backbone, images, "1", [0] * 20)
    >>> responses.shape, gradients.shape
    ((20,), (20, 3, 32, 32))
    """
    ((name, number),) = find_layers(backbone.model, [layer]).values()
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        found.append(backbone.maps(layer, output))

    with _guided(backbone.model), evaluating(backbone.model), torch.enable_grad():
        hook = backbone.model.get_submodule(name).register_forward_hook(keep)
        try:
            x = backbone.prepare(images).requires_grad_()
            with contained("forward"):
                backbone.model(x)
        finally:
            hook.remove()
        if len(found) < number:
            raise ValueError(f"layer {layer!r} is not reached in the forward pass")
        maps = found[number - 1]
        if len(channels) != len(images) or not all(0 <= channel < maps.shape[1] for channel in channels):
            raise ValueError(f"channels must be {len(images)} of the {maps.shape[1]} maps of {layer!r}")
        index = torch.as_tensor(list(channels), device=maps.device)
        strongest = maps[torch.arange(len(images), device=maps.device), index].flatten(1).amax(1)
        (gradient,) = torch.autograd.grad(strongest.sum(), x)
    return strongest.detach().cpu().numpy(), gradient.cpu().numpy()


@contextmanager
def _guided(model: nn.Module) -> Iterator[None]:
    """Within the block, set negative gradients at the input of every activation to 0."""
    activations = [m for m in model.modules() if isinstance(m, nn.ReLU | nn.LeakyReLU)]
    if not activations:
        raise ValueError("guided backpropagation needs nn.ReLU or nn.LeakyReLU modules; this network has none")

    def guide(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0].clone()  # an in-place activation then changes only the copy, not what other modules read
        x.register_hook(lambda gradient: gradient.clamp(min=0))
        return (x, *inputs[1:])

    hooks = [activation.register_forward_pre_hook(guide) for activation in activations]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def concentration(gradients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how concentrated each of the gradients float [n, C, H, W] is: two arrays float64 [n].

    The first is the smallest share of pixels, in percent, that holds half of the energy (squares summed over channels);
    it is 50 if all pixels are equal. The second is the excess kurtosis of the values, 0 for a normal distribution. Both
    are nan if all values are 0.

    >>> gradients = np.zeros((1, 3, 32, 32), np.float32)
    >>> gradients[0, :, 4:6, 4:6] = 1
    >>> [part.shape for part in features.concentration(gradients)]
    [(1,), (1,)]
    """
    values = gradients.astype(np.float64)
    energy = np.square(values).sum(1).reshape(len(values), -1)
    shares = np.cumsum(-np.sort(-energy, axis=1), axis=1)
    total = shares[:, -1:]
    # find where the sum crosses one half, between two pixels
    needed = (shares < total / 2).sum(1)
    before = np.where(needed > 0, np.take_along_axis(shares, np.maximum(needed - 1, 0)[:, None], 1)[:, 0], 0.0)
    step = np.take_along_axis(shares, needed[:, None], 1)[:, 0] - before
    with np.errstate(invalid="ignore", divide="ignore"):
        area = (needed + (total[:, 0] / 2 - before) / step) * 100 / energy.shape[1]
        squares = np.square(values - values.mean((1, 2, 3), keepdims=True))
        kurtosis = np.square(squares).mean((1, 2, 3)) / np.square(squares.mean((1, 2, 3))) - 3
    return np.where(total[:, 0] > 0, area, np.nan), np.where(total[:, 0] > 0, kurtosis, np.nan)

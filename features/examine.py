"""A network under examination: the passes that the checks look at. Each is made once, when it is first needed."""

import hashlib
import math
import os
from collections.abc import Collection
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from features.backbone import Backbone, blank_images, misfits
from features.pooling import Pool
from features.survey import Survey, survey
from features.taps import tapped
from features.weights import as_bytes, check_readable, tensors

IMAGES = 8  # a black, a white and six random ones


class Waits(Exception):
    """A check cannot run until another check passes."""


class Examination:
    """What the checks know about one network.

    backbone, pool: as extraction takes them. rows: the number of images of a table. folder: where their features would
    lie. The network is not changed, unless a pass itself changes it; `state` shows whether it did.
    """

    def __init__(self, backbone: Backbone, *, pool: Pool, rows: int, folder: Path) -> None:
        self.backbone, self.pool, self.rows, self.folder = backbone, pool, rows, folder
        self.wrong = misfits(backbone)
        self.state: dict[str, bytes] = {}
        if "module" not in self.wrong:
            try:
                check_readable(backbone.model)
                self.state = tensor_digests(backbone.model)
            except ValueError as error:
                self.wrong["module"] = str(error)

    @cached_property
    def survey(self) -> Survey:
        """The survey of two blank images. Raises Waits when the module or the input is described wrongly."""
        if {"module", "input"} & self.wrong.keys():
            raise Waits
        images = self.backbone.prepare(blank_images(self.backbone, 2))
        return survey(self.backbone.model, images, self.backbone.to_maps)

    @property
    def wanted(self) -> list[str]:
        """The layers as given, existing or not; none if they are no names at all."""
        given: Any = self.backbone.layers
        return [name for name in given if isinstance(name, str)] if isinstance(given, Collection) else []

    @cached_property
    def layers(self) -> list[str]:
        """The backbone's layers that give maps, for the checks of values. Raises Waits when none does."""
        if usable := [name for name in self.wanted if self.survey.call(name) in self.survey.maps]:
            return usable
        raise Waits

    @cached_property
    def images(self) -> np.ndarray:
        """uint8 [8, H, W, C]: black, white, six of noise."""
        images = blank_images(self.backbone, IMAGES)
        images[1] = 255
        images[2:] = np.random.default_rng(0).integers(0, 256, images[2:].shape, dtype=np.uint8)
        return images

    def features(self, images: np.ndarray) -> dict[str, Tensor]:
        """Return layer -> its pooled rows [n, d], from one batch."""
        with tapped(
            self.backbone.model, self.layers, lambda name, output: self.pool(self.backbone.maps(name, output))
        ) as forward:
            return dict(zip(self.layers, forward(self.backbone.prepare(images)), strict=True))

    @cached_property
    def width(self) -> int:
        """The number of columns of all layers together."""
        return sum(
            self.pool(torch.zeros(1, *self.survey.maps[self.survey.call(name)])).shape[1] for name in self.layers
        )

    @cached_property
    def first(self) -> dict[str, Tensor]:
        """The features of the images. Raises Waits when they are so wide that they could fill the memory."""
        if IMAGES * self.width * 4 > memory() / 16:
            raise Waits
        return self.features(self.images)

    @cached_property
    def second(self) -> dict[str, Tensor]:
        """The features of the same images, from a second pass."""
        return self.features(self.images)

    @cached_property
    def finite(self) -> list[str]:
        """Layers whose features are finite. Raises Waits when no layer's are."""
        if finite := [name for name, rows in self.first.items() if bool(torch.isfinite(rows).all())]:
            return finite
        raise Waits

    @cached_property
    def unsteady(self) -> dict[str, float]:
        """Finite layers whose features differ in a second pass -> the difference, relative to the largest value.

        On the CPU they must be equal bit for bit. Elsewhere kernels may add in another order each time, so up to 1e-5
        counts as rounding; dropout changes far more.
        """
        apart = {name: distance(self.first[name], self.second[name]) for name in self.finite}
        allowed = 0.0 if self.backbone.device.type == "cpu" else 1e-5
        return {name: value for name, value in apart.items() if value > allowed}

    def draws(self) -> list[str]:
        """Return the names of the operations that draw random numbers in a pass."""
        with suppress(Exception), _Draws(self.backbone.device) as watch:  # it only explains a failure found before
            self.features(self.images)
        return sorted(watch.names)


def memory() -> int:
    """Return the bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def distance(a: Tensor, b: Tensor) -> float:
    """Return the largest difference, relative to the largest value of a; infinity if b is not finite."""
    apart = float((a.double() - b.double()).abs().max())
    return (apart / max(float(a.double().abs().max()), 1e-30)) if math.isfinite(apart) else math.inf


def tensor_digests(model: nn.Module) -> dict[str, bytes]:
    """Return name -> SHA-256 of every parameter and buffer."""
    return {name: hashlib.sha256(as_bytes(name, tensor).data).digest() for name, tensor in tensors(model).items()}


class _Draws(TorchFunctionMode):
    """Record the names of torch functions that advance the device's random number generator."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.state = torch.get_rng_state
        if device.type != "cpu":
            self.state = partial(torch.get_device_module(device).get_rng_state, device)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.state()
        result = func(*args, **(kwargs or {}))
        if not torch.equal(before, self.state()):
            self.names.add(getattr(func, "__name__", str(func)))
        return result

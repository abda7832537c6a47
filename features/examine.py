"""A network under examination: the passes that the checks look at, each made once, when it is first asked for."""

import hashlib
import math
import os
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

IMAGES = 8  # a black, a white and six random ones


class Waits(Exception):
    """What a check looks at cannot be had until another check passes."""


class Examination:
    """backbone, pool: as extraction takes them. rows: images that a table has. folder: where their features would lie.

    The network stays as it is, unless a pass itself changes it: `state` tells then.
    """

    def __init__(self, backbone: Backbone, *, pool: Pool, rows: int, folder: Path) -> None:
        self.backbone, self.pool, self.rows, self.folder = backbone, pool, rows, folder
        self.wrong = misfits(backbone)
        self.state = {} if "module" in self.wrong else tensor_digests(backbone.model)

    @cached_property
    def survey(self) -> Survey:
        """Waits where there is no network or no input to begin with."""
        if {"module", "input"} & self.wrong.keys():
            raise Waits
        images = self.backbone.prepare(blank_images(self.backbone, 2))
        return survey(self.backbone.model, images, self.backbone.to_maps)

    @cached_property
    def layers(self) -> list[str]:
        """Those of the backbone's layers that give maps, for the checks of values; Waits where none does."""
        if usable := [name for name in self.backbone.layers if self.survey.call(name) in self.survey.maps]:
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
        """Layer -> its pooled rows [n, d], from one batch."""
        with tapped(
            self.backbone.model, self.layers, lambda name, output: self.pool(self.backbone.maps(name, output))
        ) as forward:
            return dict(zip(self.layers, forward(self.backbone.prepare(images)), strict=True))

    @cached_property
    def width(self) -> int:
        """Columns that the layers give together."""
        return sum(
            self.pool(torch.zeros(1, *self.survey.maps[self.survey.call(name)])).shape[1] for name in self.layers
        )

    @cached_property
    def first(self) -> dict[str, Tensor]:
        """The features of the images; Waits where they are so wide that looking at them could fill the memory."""
        if IMAGES * self.width * 4 > memory() / 16:
            raise Waits
        return self.features(self.images)

    @cached_property
    def second(self) -> dict[str, Tensor]:
        """The same again."""
        return self.features(self.images)

    @cached_property
    def finite(self) -> list[str]:
        """Layers whose features are finite; Waits where none's are."""
        if finite := [name for name, rows in self.first.items() if bool(torch.isfinite(rows).all())]:
            return finite
        raise Waits

    @cached_property
    def unsteady(self) -> dict[str, float]:
        """Finite layers whose features differ in a second pass -> by how much of the largest value.

        Bit for bit on the CPU; elsewhere kernels may add in another order each time: 1e-5 is rounding, dropout is far
        beyond.
        """
        apart = {name: distance(self.first[name], self.second[name]) for name in self.finite}
        allowed = 0.0 if self.backbone.device.type == "cpu" else 1e-5
        return {name: value for name, value in apart.items() if value > allowed}

    def draws(self) -> list[str]:
        """Names of the operations that draw random numbers in a pass."""
        with suppress(Exception), _Draws(self.backbone.device) as watch:  # for an explanation alone
            self.features(self.images)
        return sorted(watch.names)


def memory() -> int:
    """Bytes that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def distance(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest value of a; infinite where b is not finite."""
    apart = float((a.double() - b.double()).abs().max())
    return (apart / max(float(a.double().abs().max()), 1e-30)) if math.isfinite(apart) else math.inf


def tensor_digests(model: nn.Module) -> dict[str, bytes]:
    """Name -> SHA-256 of every parameter and buffer."""
    both = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: _digest(tensor) for name, tensor in both.items()}


def _digest(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).digest()


class _Draws(TorchFunctionMode):
    """Notes the names of torch functions that move the device's generator of random numbers."""

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

"""A copy descriptor: it maps images to unit vectors whose cosine says whether two are the same photograph.

It is a small convolutional network, trained without labels to tell an altered copy of an image (cropped, stretched,
shifted, recoloured, resampled) from the images most similar to it. The loss is the contrastive loss of SimCLR (arXiv
2002.05709), with the nearest neighbours of each image as hard negatives, as usual in copy detection (SSCD, arXiv
2202.10261).
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dedup.pixels import SIDE, small
from dedup.tensors import read, write

if TYPE_CHECKING:  # torch is imported only where it is used, so that hashing and its workers start without it
    import torch
    from torch import Tensor

FORMAT = "dcgan-eval-copies-1"
WIDTH = 128  # length of a descriptor
# (name, channels in, channels out, kernel, stride) of the convolutions, a ReLU after each; then one linear map
LAYERS = (("conv1", 3, 32, 5, 2), ("conv2", 32, 64, 3, 1), ("conv3", 64, 96, 3, 2), ("conv4", 96, 128, 3, 2))
_CHUNK = 512  # images described at once


@dataclass(frozen=True)
class DescriptorConfig:
    """How the network is trained. The values for altered copies were set by looking at copies in photo collections.

    >>> dedup.DescriptorConfig(steps=100).neighbours
    15
    """

    steps: int = 1500  # 22 minutes on one core; the loss is then still falling slowly
    seeds: int = 16  # images of a minibatch that are drawn at random ...
    neighbours: int = 15  # ... and so many of the 31 nearest to each, from which a copy must be told
    temperature: float = 0.07  # SimCLR's range; sharper makes single mistaken neighbours count too much
    lr: float = 2e-3  # Adam's peak, one cycle
    zoom: float = 0.22  # log of the largest zoom
    stretch: float = 0.12  # log of the largest ratio of height to width
    shift: float = 0.16  # in units of half the side
    shear: float = 0.04
    gamma: float = 0.3  # log of the largest gamma
    tint: float = 0.1  # gain of each channel; the offset, in gray levels, is a hundred times this
    gray: float = 0.06  # share of copies without colour
    sharpness: float = 0.6  # share of the 3x3 detail that is taken away or added
    noise: float = 6.0  # largest sd, gray levels
    seed: int = 0


@dataclass(frozen=True, eq=False)
class CopyDescriptor:
    """Callable: images -> float32 [N, 128], unit vectors. `fit` or `load` makes one.

    weights: name -> float32 array, from "conv1.weight" [32, 3, 5, 5] to "linear.bias" [128].

    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> describe = dedup.CopyDescriptor.fit([images], dedup.DescriptorConfig(steps=1))
    >>> describe(images).shape
    (40, 128)
    """

    weights: dict[str, NDArray[np.float32]]
    config: DescriptorConfig

    def __post_init__(self) -> None:
        found = {name: list(array.shape) for name, array in self.weights.items()}
        if found != (wanted := {name: list(shape) for name, shape in _shapes().items()}):
            raise ValueError(f"weights must be {wanted}, got {found}")

    @classmethod
    def fit(
        cls,
        sets: Sequence[NDArray[np.uint8]],
        config: DescriptorConfig | None = None,
        *,
        progress: Callable[[int, float, float], None] | None = None,
    ) -> "CopyDescriptor":
        """Train on `sets`, each uint8 [N, H, W, 3] with images of one size; minibatches come from them in turn.

        `progress(steps done, loss, share of copies found among the minibatch)` is called after every step. The same
        seed gives the same weights on the same machine. Raises ValueError for sets of fewer than 32 images.
        """
        import torch

        config = config or DescriptorConfig()
        if not sets or min(map(len, sets)) < 32:
            raise ValueError(f"every set must have at least 32 images, got {[len(images) for images in sets]}")
        random = torch.Generator().manual_seed(config.seed)
        weights = _initial(random)
        adam = torch.optim.Adam(weights.values(), lr=config.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, config.lr, config.steps)
        near = [_nearest(images) for images in sets]
        for step in range(config.steps):
            at = step % len(sets)
            images = _batch(sets[at], near[at], config, random)  # float32 [n, 3, 64, 64]
            first, second = (_describe(weights, _altered(images, config, random)) for _ in range(2))
            logits = first @ second.T / config.temperature
            own = torch.arange(len(images))
            cross_entropy = torch.nn.functional.cross_entropy
            loss = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            schedule.step()
            if progress is not None:
                found = (logits.argmax(dim=1) == own).float().mean()
                progress(step + 1, loss.item(), found.item())
        # rounded to float16, as the file holds them
        return cls({name: array.detach().half().float().numpy() for name, array in weights.items()}, config)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Describe `images`, uint8 [N, H, W, 1 or 3] of any size, reduced to 32x32: float32 [N, 128]."""
        import torch

        weights = {name: torch.from_numpy(array) for name, array in self.weights.items()}
        found = [np.empty((0, WIDTH), np.float32)]
        with torch.inference_mode():
            for i in range(0, len(images), _CHUNK):
                pixels = torch.from_numpy(small(images[i : i + _CHUNK]).astype(np.float32)).permute(0, 3, 1, 2)
                found.append(_describe(weights, pixels).numpy())
        return np.concatenate(found)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, 64 hex digits."""
        return hashlib.sha256(b"".join(self.weights[name].tobytes() for name in sorted(self.weights))).hexdigest()

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write safetensors, float16, with the configuration in the header, atomically. OSError if the write fails."""
        header = {"format": FORMAT, "config": json.dumps(dataclasses.asdict(self.config), sort_keys=True)}
        write({name: array.astype(np.float16) for name, array in self.weights.items()}, header, Path(file))

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> "CopyDescriptor":
        """Load what `save` wrote. Raises FileNotFoundError, and ValueError for any other file."""

        def make(arrays: dict[str, np.ndarray], config: dict[str, Any]) -> "CopyDescriptor":
            weights = {name: array.astype(np.float32) for name, array in arrays.items()}
            return cls(weights, DescriptorConfig(**config))

        return read(file, FORMAT, "copy descriptor", make)


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, before, after, kernel, _ in LAYERS:
        shapes |= {f"{name}.weight": (after, before, kernel, kernel), f"{name}.bias": (after,)}
    stride = math.prod(stride for *_, stride in LAYERS)
    flat = LAYERS[-1][2] * (SIDE // stride) ** 2
    return shapes | {"linear.weight": (WIDTH, flat), "linear.bias": (WIDTH,)}


def _initial(random: "torch.Generator") -> "dict[str, Tensor]":
    """Draw weights by He's initialisation; biases are zero."""
    import torch

    weights = {}
    for name, shape in _shapes().items():
        scale = (2 / math.prod(shape[1:])) ** 0.5 if name.endswith("weight") else 0.0
        weights[name] = (scale * torch.randn(shape, generator=random)).requires_grad_()
    return weights


def _describe(weights: "dict[str, Tensor]", pixels: "Tensor") -> "Tensor":
    """Describe float32 [n, 3, 32, 32] in [0, 255]: unit vectors [n, 128]."""
    import torch.nn.functional as F

    x = pixels - pixels.mean((1, 2, 3), keepdim=True)
    x = x / (x.std((1, 2, 3), keepdim=True) + 4)  # 4 gray levels keep an image of one colour near zero
    for name, _, _, kernel, stride in LAYERS:
        x = F.relu(F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, kernel // 2))
    return F.normalize(F.linear(x.flatten(1), weights["linear.weight"], weights["linear.bias"]), dim=1)


def _nearest(images: NDArray[np.uint8], k: int = 31) -> NDArray[np.int32]:
    """Find the k images nearest to each, compared as 4x4 colour thumbnails: int32 [N, k], in no order."""
    blocks = [small(images[i : i + _CHUNK]) for i in range(0, len(images), _CHUNK)]
    thumbnails = np.concatenate([b.reshape(len(b), 4, 8, 4, 8, 3).mean((2, 4), np.float32) for b in blocks])
    rows = thumbnails.reshape(len(images), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-3
    near = np.empty((len(rows), k), np.int32)
    for i in range(0, len(rows), _CHUNK):
        cosine = rows[i : i + _CHUNK] @ rows.T
        cosine[np.arange(len(cosine)), np.arange(i, i + len(cosine))] = -2  # leaves out the image itself
        near[i : i + _CHUNK] = np.argpartition(cosine, -k, axis=1)[:, -k:]
    return near


def _batch(
    images: NDArray[np.uint8], near: NDArray[np.int32], config: DescriptorConfig, random: "torch.Generator"
) -> "Tensor":
    """Draw a minibatch at 64x64, with no image twice: float32 [n, 3, 64, 64]."""
    import torch

    seeds = torch.randint(len(images), (config.seeds,), generator=random).numpy()
    drawn = [near[seed][torch.randperm(near.shape[1], generator=random)[: config.neighbours].numpy()] for seed in seeds]
    rows = np.unique(np.concatenate([seeds, *drawn]))
    pixels = torch.from_numpy(np.ascontiguousarray(images[rows])).permute(0, 3, 1, 2).float()
    return torch.nn.functional.interpolate(pixels, size=(2 * SIDE, 2 * SIDE), mode="bilinear", align_corners=False)


def _altered(images: "Tensor", config: DescriptorConfig, random: "torch.Generator") -> "Tensor":
    """Make realistic copies, each altered in its own way: float32 [n, 3, 64, 64] -> [n, 3, 32, 32]."""
    import torch
    import torch.nn.functional as F

    n = len(images)

    def uniform(largest: float, *shape: int) -> "Tensor":
        return largest * (2 * torch.rand(n, *shape, generator=random) - 1)

    zoom = uniform(config.zoom).exp()
    where = torch.stack(
        [
            torch.stack([zoom, uniform(config.shear), uniform(config.shift)], dim=1),
            torch.stack([uniform(config.shear), zoom * uniform(config.stretch).exp(), uniform(config.shift)], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(where, [*images.shape], align_corners=False)
    x = F.avg_pool2d(F.grid_sample(images, grid, padding_mode="border", align_corners=False), 2)
    x = 255 * (x / 255).clamp(0, 1) ** uniform(config.gamma, 1, 1, 1).exp()
    luminance = x.mean(1, keepdim=True)
    saturation = torch.where(
        torch.rand(n, 1, 1, 1, generator=random) < config.gray, torch.zeros(1), 0.9 + uniform(0.4, 1, 1, 1)
    )
    x = luminance + (x - luminance) * saturation
    x = x * (1 + uniform(config.tint, 3, 1, 1)) + uniform(100 * config.tint, 3, 1, 1)
    smooth = F.avg_pool2d(F.pad(x, [1] * 4, mode="replicate"), 3, 1)
    x = x + (x - smooth) * uniform(config.sharpness, 1, 1, 1)
    x = x + torch.randn(x.shape, generator=random) * uniform(config.noise, 1, 1, 1)
    return x.clamp(0, 255)

"""Shared by the tests of networks: images, and their features from a few lines of plain torch."""

import numpy as np
import torch
import torch.nn.functional as F

import features
from experiments.networks.resolve import resolve

IMAGES = np.random.default_rng(0).integers(0, 256, (256, 32, 32, 3), dtype=np.uint8)


def extracted(text: str, layers: list[str] | None = None) -> np.ndarray:
    """The features of IMAGES from the backbone `text`, float32 [256, D]."""
    contender = resolve(text, layers=layers)
    return features.extract(contender.backbone, IMAGES, pool=contender.pool)


def pooled(maps: list[torch.Tensor]) -> np.ndarray:
    """The maps, max-pooled to 4x4, as features."""
    return torch.cat([F.adaptive_max_pool2d(m, 4).flatten(1) for m in maps], 1).numpy()


def tanh_range(size: int = 32) -> torch.Tensor:
    """IMAGES as float32 [256, 3, size, size] in [-1, 1]."""
    x = torch.from_numpy(IMAGES).float().permute(0, 3, 1, 2)
    return (x if size == 32 else F.interpolate(x, (size, size), mode="bilinear", antialias=True)) / 127.5 - 1

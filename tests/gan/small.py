"""A pair of networks that trains in milliseconds, and images for it."""

import torch

import gan

ARCH = gan.Architecture(
    width=4,
    multipliers=(1, 2),
    strides=(2, 2),
    kernel=5,
    nz=6,
    z_distribution="uniform",
    up_multipliers=(2, 1),
    size=16,
)
IMAGES = torch.randint(0, 256, (37, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

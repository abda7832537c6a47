"""A plain CNN: four convolutions. Features are read after every ReLU."""

from itertools import pairwise

from torch import nn


def network() -> nn.Module:
    """Return the network; it takes float32 [N, 3, 32, 32] in [-1, 1]. Load trained weights here."""
    layers: list[nn.Module] = []
    for before, after in pairwise((3, 64, 128, 256, 512)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)

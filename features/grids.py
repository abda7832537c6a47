"""One pass over the images for several grids: what is pooled finest holds every coarser grid.

The cell of an adaptive grid of size g is the union of its cells of any multiple of g, so the maximum of their maxima is
its own to the last bit, whatever the size of the maps. A file of its own, since a pool's file is part of the key of
stored features (features.key).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from features.pooling import PAPER_GRID, max_grid

KINDS = ("max", "mean")


@dataclass(frozen=True)
class NestedGrids:
    """Callable: float [N, C, h, w] -> [N, D], from which `grid` takes the features of each grid and kind.

    D is C * finest^2 maxima, C * 4^2 where the maps are smaller than the finest grid, then the C * 4^2 means of the
    paper's grid.
    finest: a multiple of 4. ValueError for others.
    """

    finest: int = 2 * PAPER_GRID.size

    def __post_init__(self) -> None:
        if self.finest < 1 or self.finest % PAPER_GRID.size:
            raise ValueError(f"finest must be a multiple of {PAPER_GRID.size}, got {self.finest}")

    def size(self, height: int, width: int) -> int:
        """The finest grid of such maps."""
        return self.finest if min(height, width) >= self.finest else PAPER_GRID.size

    def __call__(self, maps: Tensor) -> Tensor:
        means = F.adaptive_avg_pool2d(maps, PAPER_GRID.size).flatten(1)
        return torch.cat([max_grid(self.size(*maps.shape[2:]))(maps), means], 1)

    def grid(self, pooled: Tensor, shape: tuple[int, int, int], *, size: int, kind: str) -> Tensor:
        """A layer's columns [N, D] -> [N, C * size * size] of a grid; of maps smaller than that, of the paper's.

        shape: (C, h, w) of the layer's maps. size: a divisor of `finest`, of means the paper's alone. kind: one of
        KINDS. Raises ValueError for others.
        """
        channels, finest = shape[0], self.size(*shape[1:])
        if kind not in KINDS or self.finest % size or (kind == "mean" and size != PAPER_GRID.size):
            raise ValueError(f"no {kind} of a {size}x{size} grid here: max of divisors of {self.finest}, mean of 4")
        maxima = channels * finest**2
        if kind == "mean":
            return pooled[:, maxima:]
        return max_grid(min(size, finest))(pooled[:, :maxima].unflatten(1, (channels, finest, finest)))

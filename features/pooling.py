"""Maps [N, C, h, w] -> feature rows [N, D].

PAPER, "Feature evaluation" 2: each layer is max-pooled to a 4x4 grid and flattened (channel, row, column), as
the authors' released code does; nothing is scaled.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

# float [N, C, h, w] -> float [N, D]; its repr goes into the key of stored features
Pool = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MaxGrid:
    """Callable: float [N, C, h, w] -> [N, C * size * size], the maximum of each cell of a size x size grid.

    Cell (i, j) covers rows floor(i h / size) to ceil((i + 1) h / size) and columns likewise (adaptive
    pooling): equal tiles where size divides h and w, overlapping ones elsewhere, repeated values where a map
    is smaller than the grid.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"grid size must be at least 1, got {self.size}")

    def __call__(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[2:]
        if (height, width) == (self.size, self.size):
            return maps.flatten(1)
        if height % self.size or width % self.size:
            return F.adaptive_max_pool2d(maps, self.size).flatten(1)
        return F.max_pool2d(maps, (height // self.size, width // self.size)).flatten(1)


def max_grid(size: int) -> MaxGrid:
    """The paper's pooling at max_grid(4): [N, C, h, w] -> [N, C * size * size]. ValueError for size < 1."""
    return MaxGrid(size)


PAPER_GRID = max_grid(4)

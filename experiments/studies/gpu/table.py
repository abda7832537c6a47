"""The lines of the study's table, and the images that it is measured on."""

import dataclasses

import numpy as np

SEED = 0
BATCH = 128
RECIPE = "imagenet32-contrast"  # with every objective but R1 and DiffAugment; its network comes with the project


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table. value: the figure. beside: what it is compared with. ratio: value / beside."""

    what: str
    value: float
    unit: str
    beside: str = ""
    beside_value: float | None = None
    bar: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times the value is of what stands beside it."""
        return None if not self.beside_value else self.value / self.beside_value


def photographs(n: int, side: int) -> np.ndarray:
    """Make images with large and small structures: uint8 [n, side, side, 3]."""
    rng = np.random.default_rng(SEED)
    coarse = rng.integers(0, 256, (n, 4, 4, 3)).repeat(side // 4, 1).repeat(side // 4, 2)
    return ((coarse + rng.integers(0, 64, (n, side, side, 3))) // 1.25).clip(0, 255).astype(np.uint8)

"""A small CIFAR-10 for commands."""

from pathlib import Path

import numpy as np
import pytest

from tests.workplace import learnable


@pytest.fixture
def roots(workplace) -> Path:
    """A workplace whose RUNS_ROOT holds a packed CIFAR-10 of 2,000 + 500 images that a linear classifier can learn."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 2000), ("test", 500)):
        workplace.pack(f"cifar10-{split}", *learnable(n, rng))
    return workplace.root

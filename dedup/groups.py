"""Groups of near-duplicates -> which images stay."""

import numpy as np
from numpy.typing import NDArray


def keep_mask(groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool [N]: True for the lowest index of each group. `groups`: int64 [N], group labels (any integers)."""
    mask = np.zeros(len(groups), bool)
    mask[np.unique(groups, return_index=True)[1]] = True
    return mask

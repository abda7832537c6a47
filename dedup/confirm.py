"""Second look at candidate pairs: which of them show the same picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dedup.groups import collision_groups
from dedup.hashes import phash
from dedup.search import radius_pairs, radius_pairs_between

RADIUS = 8  # bits


def near_duplicates(
    images: NDArray[np.uint8], against: NDArray[np.uint8] | None = None, *, progress: Any = None
) -> NDArray[np.int64]:
    """Pairs of near-duplicates: int64 [M, 2], sorted; (index in `images`, index in `against`), or i < j within one set.

    `images`, `against`: uint8 [N, H, W, 1 or 3]. Within one set, images equal to an earlier one are paired with the
    first such only. `progress(iterable, total=..., desc=..., unit=...)` passes the blocks of work through.
    """
    blocks = [phash(images), *([] if against is None else [phash(against)])]
    codes = list(blocks if progress is None else progress(blocks, total=len(blocks), desc="comparing", unit="block"))
    if against is not None:
        return radius_pairs_between(codes[0], codes[1], RADIUS)
    pixels = np.ascontiguousarray(images).reshape(len(images), -1)
    first = collision_groups(pixels) if len(images) else np.empty(0, np.int64)
    distinct = np.flatnonzero(first == np.arange(len(images)))
    equal = np.flatnonzero(first != np.arange(len(images)))
    pairs = [distinct[radius_pairs(codes[0][distinct], RADIUS)], np.stack([first[equal], equal], axis=1)]
    found = np.concatenate(pairs)
    return found[np.lexsort((found[:, 1], found[:, 0]))]

"""Group near-duplicates, and decide which images stay."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dedup.join import components, lowest


def collision_groups(codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Group images with equal codes: int64 [N], each entry the lowest index with that code.

    `codes`: integers [N], or [N, W] for codes of W words. Codes are sorted, not compared pair by pair; a million codes
    of two words take half a second.

    >>> dedup.collision_groups(np.array([7, 5, 7, 5, 9]))
    array([0, 1, 0, 1, 4])
    """
    codes = np.asarray(codes)
    if codes.ndim not in (1, 2) or 0 in codes.shape[1:] or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes must be integers [N] or [N, W], got {codes.dtype} {codes.shape}")
    rows = codes if codes.ndim == 2 else codes[:, None]
    order = np.lexsort(rows.T)  # stable: equal codes stay in order of index
    ordered = rows[order]
    starts = np.ones(len(rows), bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    groups = np.empty(len(rows), np.int64)
    groups[order] = order[starts][np.cumsum(starts) - 1]
    return groups


def pair_groups(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Group images that pairs connect, directly or through others: int64 [n], each entry its group's lowest index.

    `pairs`: int64 [M, 2] in [0, n), in any order, as `near_duplicates` and `radius_pairs` return them.

    >>> dedup.pair_groups(np.array([[1, 2], [2, 4]]), 5)
    array([0, 1, 1, 3, 1])
    """
    pairs = checked_pairs(pairs, n)
    groups = np.arange(n, dtype=np.int64)
    nodes, component = components(pairs)
    groups[nodes] = lowest(component, nodes)
    return groups


def checked_pairs(pairs: NDArray[np.integer[Any]], n: int) -> NDArray[np.int64]:
    """Return the pairs as int64 [M, 2]. Raises ValueError unless they are integers in [0, n)."""
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(f"pairs must be integers [M, 2], got {pairs.dtype} {pairs.shape}")
    if len(pairs) and not (pairs.min() >= 0 and pairs.max() < n):
        raise ValueError(f"pairs must lie in [0, {n}), got {pairs.min()} .. {pairs.max()}")
    return pairs.astype(np.int64)


def keep_mask(groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Keep the lowest index of each group: bool [N].

    `groups`: int64 [N], group labels (any integers), or what one of the functions `..._representatives` returns. To
    remove near-duplicates take these: in a group an image may be near the lowest index only through other images.

    >>> dedup.keep_mask(np.array([0, 1, 0, 1, 4]))
    array([ True,  True, False, False,  True])
    """
    mask = np.zeros(len(groups), bool)
    mask[np.unique(groups, return_index=True)[1]] = True
    return mask

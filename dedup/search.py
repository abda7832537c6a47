"""Exact search for pairs of 64-bit codes within a Hamming radius.

Pigeonhole: codes that differ in at most r bits agree on at least one of r + 1 bands, so only codes that share a band
are compared. Equal codes are collapsed first: a million equal codes are one code here.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_BITS = 64
_CHUNK = 1 << 22  # candidate pairs compared at once: about 130 MB


def radius_pairs(codes: NDArray[np.uint64], radius: int, *, max_pairs: int = 10**8) -> NDArray[np.int64]:
    """All pairs of `codes` (uint64 [N]) within Hamming distance `radius`: int64 [M, 2], i < j, sorted.

    Raises ValueError when there are more than `max_pairs`: `radius_groups` answers without listing them.
    """
    unique, member, count = np.unique(codes, return_inverse=True, return_counts=True)
    between = _unique_pairs(unique, radius)
    total = int((count * (count - 1) // 2).sum() + (count[between[:, 0]] * count[between[:, 1]]).sum())
    if total > max_pairs:
        raise ValueError(f"{total} pairs are more than max_pairs = {max_pairs}; radius_groups groups without listing")
    members = np.split(np.argsort(member, kind="stable"), np.cumsum(count)[:-1])  # indices of each unique code
    found = [_products(members[u], members[v]) for u, v in between]
    found += [m[np.stack(np.triu_indices(len(m), 1), axis=1)] for m in members if len(m) > 1]
    if not found:
        return np.empty((0, 2), np.int64)
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def radius_groups(codes: NDArray[np.uint64], radius: int) -> NDArray[np.int64]:
    """Connected groups under `distance <= radius`: int64 [N], each entry the lowest index of its group."""
    unique, first, member = np.unique(codes, return_index=True, return_inverse=True)
    pairs = _unique_pairs(unique, radius)
    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(len(unique), len(unique)))
    n_groups, label = connected_components(graph, directed=False)
    lowest = np.full(n_groups, len(codes), np.int64)
    np.minimum.at(lowest, label, first)
    return lowest[label][member]


def _unique_pairs(unique: NDArray[np.uint64], radius: int) -> NDArray[np.int64]:
    """Pairs of positions in the sorted, distinct `unique` within `radius`: int64 [M, 2], each once."""
    if unique.dtype != np.uint64:
        raise ValueError(f"codes must be uint64 [N], got {unique.dtype}")
    if not 0 <= radius < _BITS:
        raise ValueError(f"radius must lie in [0, {_BITS - 1}], got {radius}")
    if radius == 0 or len(unique) < 2:
        return np.empty((0, 2), np.int64)
    edges = np.linspace(0, _BITS, radius + 2).astype(int)
    found = []
    for low, high in itertools.pairwise(edges):
        band = (unique >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        for i, j in _same_band(band):
            near = np.bitwise_count(unique[i] ^ unique[j]) <= radius
            found.append(np.stack([i[near], j[near]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0) if found else np.empty((0, 2), np.int64)


def _same_band(band: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs of positions with equal band value, in chunks of bounded size."""
    order = np.argsort(band, kind="stable")
    _, start, size = np.unique(band[order], return_index=True, return_counts=True)
    # position p of the sorted order is paired with the `after[p]` later members of its bucket
    after = np.repeat(start + size, size) - np.arange(len(band)) - 1
    ends = np.cumsum(after)
    at = 0
    while at < len(band):
        done = ends[at - 1] if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
        left = np.repeat(np.arange(at, stop), after[at:stop])
        right = left + 1 + np.arange(len(left)) - np.repeat(ends[at:stop] - after[at:stop] - done, after[at:stop])
        if len(left):
            yield order[left], order[right]
        at = stop


def _products(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """All (x, y) with x in a, y in b: int64 [len(a) * len(b), 2]."""
    return np.stack([np.repeat(a, len(b)), np.tile(b, len(a))], axis=1)

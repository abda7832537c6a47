"""Exact search for pairs of 64-bit codes within a Hamming radius, within one set or between two.

Equal codes are merged first: a million equal codes count as one. The rest are compared if they agree on a mask of a
plan (`dedup.plan`). The work is cut into pieces, each with some masks and a part of the codes (`dedup.join`). Threads
do it here, or the workers of any executor, for example Dask's on many machines.

Memory of the caller: about 60 bytes per code, plus 16 per pair found, or, for groups, 16 per code that has a neighbour.
Memory of each piece in work: 48 bytes per code, for at most 2**26 codes, or more if more codes agree on a mask.
"""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dedup.join import Piece, components, lowest, pairs_of, spanning
from dedup.plan import BITS, Codes, masks, plan

Pairs = NDArray[np.int64]  # [M, 2]
Job = Callable[..., NDArray[np.uint64]]  # what is done with a piece: `pairs_of` or `firsts_of`

_PART = 1 << 26  # largest number of codes in a piece, if the masks' common bits can split them
_LEAST = 1 << 18  # smallest number of codes in a piece, if there are so many
_KEY = 16  # if the codes are split, a piece's masks have at least so many bits in common, so that parts are alike
_PIECES = 256  # pieces of work for an executor of unknown size
_PENDING = 1 << 22  # found pairs that are collected before they are merged: 64 MB


def radius_pairs(
    codes: Codes,
    radius: int,
    *,
    max_pairs: int = 10**8,
    executor: Executor | None = None,
    shared: Path | str | None = None,
) -> Pairs:
    """Find all pairs of `codes` (uint64 [N]) within Hamming distance `radius`: int64 [M, 2], i < j, sorted.

    Raises ValueError when there are more than `max_pairs`; `radius_groups` groups codes without listing pairs.
    `executor`: where the work runs; by default in threads, one for each core. The executor's workers map the codes from
    a temporary file in the folder `shared`, which all of them must see. By default it is the system's temporary folder,
    which suits one machine.

    >>> codes = np.array([0b0000, 0b1111, 0b0001, 0b0011], np.uint64)
    >>> dedup.radius_pairs(codes, 1).tolist()
    [[0, 2], [2, 3]]
    """
    distinct = Distinct(codes)
    between = _listed(distinct, None, radius, max_pairs, executor, shared)
    count = distinct.count
    total = int((count * (count - 1) // 2).sum() + (count[between[:, 0]] * count[between[:, 1]]).sum())
    if total > max_pairs:
        raise _too_many(total, max_pairs)
    pairs = np.concatenate([_members(distinct, distinct, between), _equal(distinct)])
    return _sorted(np.sort(pairs, axis=1))


def radius_pairs_between(
    a: Codes,
    b: Codes,
    radius: int,
    *,
    max_pairs: int = 10**8,
    executor: Executor | None = None,
    shared: Path | str | None = None,
) -> Pairs:
    """Find all (i, j) with a[i] (uint64 [N]) and b[j] (uint64 [M]) within `radius`: int64 [P, 2], sorted.

    Arguments and errors are those of `radius_pairs`.

    >>> a, b = np.array([0b0000, 0b1111], np.uint64), np.array([0b0111, 0b0110], np.uint64)
    >>> dedup.radius_pairs_between(a, b, 1).tolist()
    [[1, 0]]
    """
    distinct_a, distinct_b = Distinct(a), Distinct(b)
    between = _listed(distinct_a, distinct_b, radius, max_pairs, executor, shared)
    total = int((distinct_a.count[between[:, 0]] * distinct_b.count[between[:, 1]]).sum())
    if total > max_pairs:
        raise _too_many(total, max_pairs)
    return _sorted(_members(distinct_a, distinct_b, between))


def turned_pairs(codes: Codes, against: Codes | None = None, *, radius: int, max_pairs: int = 10**8) -> Pairs:
    """Find all pairs of images where the second, turned or mirrored, is near the first: int64 [M, 2], sorted.

    `codes`, `against`: uint64 [N, 8] and [K, 8], of `turned_codes`. Pairs are i < j within `codes` or, with `against`,
    (index in codes, index in against). Images i and j are a pair if the hash of i and that of one of the eight
    orientations of j differ in at most `radius` bits. Raises ValueError for other codes, for a radius outside [0, 63],
    and if the search meets more than `max_pairs` pairs, of which each orientation that matches is one.

    >>> images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    >>> upside_down = dedup.turned_codes(images[2:, ::-1])
    >>> dedup.turned_pairs(dedup.turned_codes(images), upside_down, radius=4).tolist()
    [[2, 0]]
    """
    others = checked_turned(codes if against is None else against)
    pairs = radius_pairs_between(checked_turned(codes)[:, 0], others.reshape(-1), radius, max_pairs=max_pairs)
    pairs[:, 1] //= others.shape[1]
    if against is None:
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    return pairs[np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))[: len(pairs)]]


def radius_groups(
    codes: Codes, radius: int, *, executor: Executor | None = None, shared: Path | str | None = None
) -> NDArray[np.int64]:
    """Group codes that are connected by `distance <= radius`: int64 [N], each entry the lowest index of its group.

    Memory does not grow with the number of pairs. `executor` and `shared` as for `radius_pairs`.

    >>> codes = np.array([0b0000, 0b1111, 0b0001, 0b0011], np.uint64)
    >>> dedup.radius_groups(codes, 1)
    array([0, 1, 0, 0])
    """
    distinct = Distinct(codes)
    groups = np.empty(len(codes), np.int64)
    groups[distinct.order] = np.repeat(connected(distinct, radius, executor, shared), distinct.count)
    return groups


def connected(
    distinct: "Distinct", radius: int, executor: Executor | None, shared: Path | str | None
) -> NDArray[np.int64]:
    """Return the lowest index in the group of each distinct code: int64 [u], see `radius_groups`."""
    forest = np.empty((0, 2), np.uint64)
    pending: list[NDArray[np.uint64]] = []
    for found in search(distinct.codes, None, radius, partial(pairs_of, limit=None), executor, shared):
        pending.append(found)
        if sum(map(len, pending)) > max(_PENDING, len(forest)):
            forest, pending = spanning(np.concatenate([forest, *pending])), []
    nodes, component = components(np.concatenate([forest, *pending]))
    labels = distinct.first.copy()
    at = np.searchsorted(distinct.codes, nodes)
    labels[at] = lowest(component, labels[at])
    return labels


def _listed(
    a: "Distinct", b: "Distinct | None", radius: int, limit: int, executor: Executor | None, shared: Path | str | None
) -> Pairs:
    """Find all pairs of positions in the distinct codes. Raises ValueError as soon as more than `limit` are known."""
    found, count = [np.empty((0, 2), np.uint64)], 0
    job = partial(pairs_of, limit=limit)
    for pairs in search(a.codes, None if b is None else b.codes, radius, job, executor, shared):
        found.append(pairs)
        count += len(pairs)
        if count > limit:
            raise _too_many(count, limit)
    x, y = np.concatenate(found).T
    return np.stack([np.searchsorted(a.codes, x), np.searchsorted((a if b is None else b).codes, y)], axis=1)


def search(
    a: Codes, b: Codes | None, radius: int, job: Job, executor: Executor | None, shared: Path | str | None
) -> Iterator[NDArray[np.uint64]]:
    """Yield what `job` finds in each piece of a search within `radius`: pairs of distinct codes, uint64 [M, 2].

    The pairs are within `a`, or between `a` and `b`. With `pairs_of` every pair comes once.
    """
    check_radius(radius)
    bands = plan(a, a if b is None else b, radius)
    threads = os.cpu_count() or 1
    work = pieces(
        [mask for band in bands for mask in masks(band)],
        len(a) + (0 if b is None else len(b)),
        4 * threads if executor is None else _PIECES,
    )
    job = partial(job, bands=bands, radius=radius)
    if executor is None:
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(partial(job, a=a, b=b), work)
        return
    with tempfile.TemporaryDirectory(prefix="codes-", dir=shared) as folder:
        files = [Path(folder).resolve() / name for name in ("a.npy", "b.npy")]
        for file, codes in zip(files, (a, b), strict=True):
            if codes is not None:
                np.save(file, codes)
        yield from executor.map(partial(job, a=files[0], b=None if b is None else files[1]), work)


def pieces(every: list[int], codes: int, wanted: int) -> list[Piece]:
    """Cut the work on `every` mask into about `wanted` pieces, each with neighbouring masks and a part of the codes."""
    least = _LEAST if all(every) else 1 << 10
    parts = max(1, -(-codes // _PART), min(-(-wanted // len(every)), codes // least))
    most = max(1, len(every) * parts // wanted)
    shares, first, common = [], 0, every[0]
    for k in range(1, len(every) + 1):
        common &= every[k] if k < len(every) else 0
        if k == len(every) or k - first == most or (parts > 1 and common.bit_count() < _KEY):
            shares.append((first, k))
            first, common = k, every[k] if k < len(every) else 0
    return [Piece(*share, part, parts) for share, part in itertools.product(shares, range(parts))]


class Distinct:
    """Codes without repeats.

    codes: uint64 [u], ascending. count: int64 [u], how often each occurs.
    order: int64 [N], the indices with equal codes side by side, ascending; those of codes[i] begin at start[i].
    first: int64 [u], the lowest index of each.
    """

    def __init__(self, codes: Codes) -> None:
        self.order = np.argsort(_checked(codes), kind="stable")
        ascending = codes[self.order]
        new = np.flatnonzero(ascending[1:] != ascending[:-1]) + 1
        self.start = np.concatenate([np.arange(min(1, len(codes))), new])
        self.codes = ascending[self.start]
        self.first = self.order[self.start]
        self.count = np.diff(self.start, append=len(codes))


def _members(a: Distinct, b: Distinct, between: Pairs) -> Pairs:
    """Return all (index in a, index in b) of the codes a.codes[u] and b.codes[v] of each pair (u, v): int64 [P, 2]."""
    u, v = between.T
    each = a.count[u] * b.count[v]
    pair = np.repeat(np.arange(len(each)), each)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(each) - each, each)  # 0 .. each - 1 within a pair
    row, column = np.divmod(place, b.count[v][pair])
    return np.stack([a.order[a.start[u][pair] + row], b.order[b.start[v][pair] + column]], axis=1)


def _equal(codes: Distinct) -> Pairs:
    """Return all pairs of indices with equal codes: int64 [P, 2]."""
    end = np.repeat(codes.start + codes.count, codes.count)
    later = end - np.arange(len(end)) - 1  # for each index in order, the number of later ones with the same code
    place = np.arange(int(later.sum())) - np.repeat(np.cumsum(later) - later, later)
    left = np.repeat(np.arange(len(end)), later)
    return np.stack([codes.order[left], codes.order[left + 1 + place]], axis=1)


def _sorted(pairs: Pairs) -> Pairs:
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _checked(codes: Codes) -> Codes:
    if codes.dtype != np.uint64 or codes.ndim != 1 or len(codes) >= 2**31:
        raise ValueError(f"codes must be uint64 [N], N < 2**31, got {codes.dtype} {list(codes.shape)}")
    return codes


def check_radius(radius: int) -> None:
    """Raise ValueError for a radius outside [0, 63]."""
    if not 0 <= radius < BITS:
        raise ValueError(f"radius must lie in [0, {BITS - 1}], got {radius}")


def checked_turned(codes: Codes) -> Codes:
    """Return the codes of the eight orientations. Raises ValueError unless they are uint64 [N, 8]."""
    if codes.dtype != np.uint64 or codes.ndim != 2 or codes.shape[1] != 8:
        raise ValueError(
            f"codes must be uint64 [N, 8], as turned_codes returns them, got {codes.dtype} {list(codes.shape)}"
        )
    return codes


def _too_many(found: int, limit: int) -> ValueError:
    return ValueError(f"{found} pairs are more than max_pairs = {limit}; radius_groups groups without listing pairs")

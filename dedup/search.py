"""Exact search for pairs of 64-bit codes within a Hamming radius, within one set and between two.

General pigeonhole (Qin et al., GPH, ICDE 2018): cut the 64 bits into bands with thresholds t whose t + 1 add up to
radius + 1; two codes within the radius then differ in at most t bits of at least one band, and so agree on that band
less some t of its bits. Every such choice of bits is a mask: codes that agree on a mask are compared, others never.
How many bands, the data decide: a sample tells what each plan would cost. No bits at all, where that is cheapest, is
comparison of everything with everything.

Equal codes are collapsed first: a million equal codes are one code here.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Codes = NDArray[np.uint64]
Pairs = NDArray[np.int64]  # [M, 2]
Fold = Callable[[Pairs], Pairs]

_BITS = 64
_SAMPLE = 1024  # codes whose pairs tell what a plan costs
_MASKS = 5000  # of a plan at most
_SORT, _COMPARE, _COMPARE_ALL = 60.0, 8.0, 1.5  # ns: a code put in order, a pair met in a bucket, in a large one
_WIDE = 64  # partners from which codes are compared as a block
_TILE = 1 << 18  # comparisons at once: temporaries of 2 MB
_PENDING = 1 << 22  # pairs found before they are folded: 64 MB


def radius_pairs(codes: Codes, radius: int, *, max_pairs: int = 10**8, executor: Executor | None = None) -> Pairs:
    """All pairs of `codes` (uint64 [N]) within Hamming distance `radius`: int64 [M, 2], i < j, sorted.

    Raises ValueError when there are more than `max_pairs`: `radius_groups` answers without listing them.
    `executor`: where the work runs; by default threads, one for each core.
    """
    distinct = _Distinct(codes)
    between = _search(distinct.codes, None, radius, _Listing(max_pairs), executor)
    count = distinct.count
    total = int((count * (count - 1) // 2).sum() + (count[between[:, 0]] * count[between[:, 1]]).sum())
    if total > max_pairs:
        raise _too_many(total, max_pairs)
    pairs = np.concatenate([_members(distinct, distinct, between), _equal(distinct)])
    return _each_once(np.sort(pairs, axis=1))


def radius_pairs_between(
    a: Codes, b: Codes, radius: int, *, max_pairs: int = 10**8, executor: Executor | None = None
) -> Pairs:
    """All (i, j) with a[i] (uint64 [N]) and b[j] (uint64 [M]) within `radius`: int64 [P, 2], sorted.

    Arguments and errors as those of `radius_pairs`.
    """
    distinct_a, distinct_b = _Distinct(a), _Distinct(b)
    between = _search(distinct_a.codes, distinct_b.codes, radius, _Listing(max_pairs), executor)
    total = int((distinct_a.count[between[:, 0]] * distinct_b.count[between[:, 1]]).sum())
    if total > max_pairs:
        raise _too_many(total, max_pairs)
    return _each_once(_members(distinct_a, distinct_b, between))


def radius_groups(codes: Codes, radius: int, *, executor: Executor | None = None) -> NDArray[np.int64]:
    """Connected groups under `distance <= radius`: int64 [N], each entry the lowest index of its group.

    Memory is that of the codes however many pairs there are. `executor` as for `radius_pairs`.
    """
    unique, first, member = np.unique(_checked(codes), return_index=True, return_inverse=True)
    forest = _search(unique, None, radius, _Spanning(len(unique)), executor)
    return _lowest(forest, first)[member]


class _Listing:
    """Folds pairs into each once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, pairs: Pairs) -> Pairs:
        pairs = _each_once(pairs)
        if len(pairs) > self.limit:
            raise _too_many(len(pairs), self.limit)
        return pairs


class _Spanning:
    """Folds pairs of `n` codes into as few as connect the same."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, pairs: Pairs) -> Pairs:
        lowest = _lowest(pairs, np.arange(self.n))
        child = np.flatnonzero(lowest != np.arange(self.n))
        return np.stack([lowest[child], child], axis=1)


def _lowest(pairs: Pairs, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of n nodes the lowest `first` (int64 [n]) in its connected component."""
    n = len(first)
    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(n, n))
    components, label = connected_components(graph, directed=False)
    lowest = np.full(components, np.iinfo(np.int64).max)
    np.minimum.at(lowest, label, first)
    return lowest[label]


def _search(a: Codes, b: Codes | None, radius: int, fold: Fold, executor: Executor | None) -> Pairs:
    """Pairs of positions in the distinct codes `a` (i < j), or in `a` and `b`, within `radius`, folded."""
    if not 0 <= radius < _BITS:
        raise ValueError(f"radius must lie in [0, {_BITS - 1}], got {radius}")
    masks = plan(a, a if b is None else b, radius)
    workers = os.cpu_count() or 1
    shares = [masks[i :: 4 * workers] for i in range(min(len(masks), 4 * workers))]
    job = partial(agreeing, a=a, b=b, radius=radius, fold=fold)
    if executor is not None:
        return _folded(executor.map(job, shares), fold)
    with ThreadPoolExecutor(workers) as threads:
        return _folded(threads.map(job, shares), fold)


def agreeing(masks: Sequence[int], a: Codes, b: Codes | None, radius: int, fold: Fold) -> Pairs:
    """The pairs within `radius` among those that agree on one of `masks`, folded: one piece of a search."""
    return _folded((pairs for mask in masks for pairs in _on_mask(mask, a, b, radius)), fold)


def _folded(found: Iterator[Pairs], fold: Fold) -> Pairs:
    """`fold` of all pairs found, applied on the way so that they never pile up."""
    kept, pending = np.empty((0, 2), np.int64), []
    waiting = 0
    for pairs in found:
        pending.append(pairs)
        waiting += len(pairs)
        if waiting > max(_PENDING, len(kept)):
            kept, pending, waiting = fold(np.concatenate([kept, *pending])), [], 0
    return fold(np.concatenate([kept, *pending]))


def plan(a: Codes, b: Codes, radius: int) -> list[int]:
    """The masks on one of which all pairs within `radius` agree, by the cheapest number of bands for these codes."""
    rng = np.random.default_rng(0)
    x, y = (rng.choice(codes, min(len(codes), _SAMPLE), replace=False) for codes in (a, b))
    differing = (x[:, None] ^ y).ravel()
    differing = differing[differing != 0]  # a code met with itself
    pairs = float(len(a)) * len(b) / (2 if a is b else 1)
    best, cheapest = [0], pairs * _COMPARE_ALL
    for bands in range(1, radius + 2):
        cuts = _cut(radius, bands)
        if sum(math.comb(width, t) for _, width, t in cuts) > _MASKS:
            continue
        cost = sum(_cost(differing, low, width, t, len(a) + len(b), pairs) for low, width, t in cuts)
        if cost < cheapest:
            best, cheapest = [mask for cut in cuts for mask in _masks(*cut)], cost
    return best


def _cut(radius: int, bands: int) -> list[tuple[int, int, int]]:
    """(lowest bit, width, threshold) of each band: as even as can be, the thresholds' t + 1 adding to radius + 1."""
    edges = np.linspace(0, _BITS, bands + 1).astype(int).tolist()
    more, left = divmod(radius + 1, bands)
    return [(low, high - low, more - 1 + (i < left)) for i, (low, high) in enumerate(itertools.pairwise(edges))]


def _cost(differing: Codes, low: int, width: int, t: int, codes: int, pairs: float) -> float:
    """Nanoseconds that a band's masks take: each orders all codes, and meets the pairs that agree on it."""
    distance = np.bitwise_count(differing & np.uint64(((1 << width) - 1) << low))
    counts = np.bincount(distance, minlength=t + 1)[: t + 1]
    met = sum(int(count) * math.comb(width - d, t - d) for d, count in enumerate(counts)) / max(1, len(differing))
    by_chance = math.comb(width, t) / 2 ** (width - t)  # what the sample is too small to see
    return math.comb(width, t) * codes * _SORT + max(met, by_chance) * pairs * _COMPARE


def _masks(low: int, width: int, t: int) -> Iterator[int]:
    """The bits of a band less every choice of t among them."""
    band = ((1 << width) - 1) << low
    for left_out in itertools.combinations(range(low, low + width), t):
        yield band & ~sum(1 << bit for bit in left_out)


def _on_mask(mask: int, a: Codes, b: Codes | None, radius: int) -> Iterator[Pairs]:
    """Pairs of positions within `radius` that agree on `mask`."""
    keys_a, codes_a, order_a = _by_key(a, mask)
    if b is None:  # partners are the later members of the same bucket
        ends = np.append(np.flatnonzero(keys_a[1:] != keys_a[:-1]) + 1, len(a))
        stop = np.repeat(ends, np.diff(ends, prepend=0))
        for i, j in _near(codes_a, codes_a, np.arange(1, len(a) + 1), stop, radius):
            yield np.sort(np.stack([order_a[i], order_a[j]], axis=1), axis=1)
    else:
        keys_b, codes_b, order_b = _by_key(b, mask)
        start, stop = (np.searchsorted(keys_b, keys_a, side) for side in ("left", "right"))
        for i, j in _near(codes_a, codes_b, start, stop, radius):
            yield np.stack([order_a[i], order_b[j]], axis=1)


def _by_key(codes: Codes, mask: int) -> tuple[Codes, Codes, NDArray[np.int64]]:
    """(keys in order, codes in that order, the order)."""
    keys = codes & np.uint64(mask)
    order = np.argsort(keys)
    return keys[order], codes[order], order


def _near(
    a: Codes, b: Codes, start: NDArray[np.int64], stop: NDArray[np.int64], radius: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Positions (i, j) of the pairs within `radius`, where i's partners are b[start[i] : stop[i]]; `stop` ascends."""
    partners = stop - start
    wide = partners > _WIDE
    for low in range(0, len(a), _TILE):
        i = low + np.flatnonzero((partners[low : low + _TILE] > 0) & ~wide[low : low + _TILE])
        j = start[i]
        while len(i):
            near = np.bitwise_count(a[i] ^ b[j]) <= radius
            if near.any():
                yield i[near], j[near]
            j = j + 1
            more = j < stop[i]
            i, j = i[more], j[more]
    rows = np.flatnonzero(wide)
    for run in np.split(rows, np.flatnonzero(np.diff(stop[rows])) + 1) if len(rows) else []:
        for i in np.array_split(run, -(-len(run) // _WIDE)):
            for left in range(int(start[i].min()), int(stop[i[0]]), _TILE // _WIDE):
                j = np.arange(left, min(left + _TILE // _WIDE, int(stop[i[0]])))
                near = np.bitwise_count(a[i, None] ^ b[j]) <= radius
                if near.any():
                    row, column = np.nonzero(near)
                    own = j[column] >= start[i[row]]
                    yield i[row[own]], j[column[own]]


class _Distinct:
    """Codes without repeats.

    codes: uint64 [u], ascending; count: int64 [u], repeats of each.
    order: int64 [N], indices of equal codes side by side; those of codes[i] begin at start[i].
    """

    def __init__(self, codes: Codes) -> None:
        self.order = np.argsort(_checked(codes), kind="stable")
        self.codes, self.start, self.count = np.unique(codes[self.order], return_index=True, return_counts=True)


def _members(a: _Distinct, b: _Distinct, between: Pairs) -> Pairs:
    """All (index in a, index in b) of codes (a.codes[u], b.codes[v]), for each pair (u, v): int64 [P, 2]."""
    u, v = between.T
    each = a.count[u] * b.count[v]
    pair = np.repeat(np.arange(len(each)), each)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(each) - each, each)  # 0 .. each - 1 within a pair
    row, column = np.divmod(place, b.count[v][pair])
    return np.stack([a.order[a.start[u][pair] + row], b.order[b.start[v][pair] + column]], axis=1)


def _equal(codes: _Distinct) -> Pairs:
    """All pairs of indices of equal codes: int64 [P, 2]."""
    end = np.repeat(codes.start + codes.count, codes.count)
    later = end - np.arange(len(end)) - 1  # members of the same code behind each, in order
    place = np.arange(int(later.sum())) - np.repeat(np.cumsum(later) - later, later)
    left = np.repeat(np.arange(len(end)), later)
    return np.stack([codes.order[left], codes.order[left + 1 + place]], axis=1)


def _each_once(pairs: Pairs) -> Pairs:
    """Sorted, without repeats."""
    keys = np.unique(pairs[:, 0] << 32 | pairs[:, 1])
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)


def _checked(codes: Codes) -> Codes:
    if codes.dtype != np.uint64 or codes.ndim != 1 or len(codes) >= 2**31:
        raise ValueError(f"codes must be uint64 [N], N < 2**31, got {codes.dtype} {list(codes.shape)}")
    return codes


def _too_many(found: int, limit: int) -> ValueError:
    return ValueError(f"{found} pairs are more than max_pairs = {limit}; radius_groups groups without listing")

"""Remove an image only if it is near one that stays.

Image i is removed if and only if an image before it that stays is near it: the lexicographically first maximal
independent set of the graph whose edges are near-duplicates. What stays is free of near-duplicates, and every removed
image has a representative that stays and that it is near. A group lacks the second property: in a chain a - b - c it
keeps only a, even if c is not near a.

Codes are worked group by group, since codes of different groups are never near. The first codes of all groups are
settled in turn. Few groups keep many codes. Theirs are then halved by index: the first half is settled, what it keeps
removes codes from the second half (by the search of `dedup.search`), and the rest of the second half is settled.
"""

import itertools
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dedup.groups import checked_pairs
from dedup.join import firsts_of
from dedup.plan import Codes
from dedup.search import Distinct, check_radius, checked_turned, connected, search

Indices = NDArray[np.int64]

_ROUNDS = 32  # codes that a group may keep before it is halved
_BLOCK = 1 << 12  # so many codes are compared one with all
_FEW = 1 << 26  # so many pairs of codes are compared without a plan
_MANY = 1 << 20  # fewer codes are searched by threads of this process, even if there is an executor
_AT_ONCE = 1 << 20  # pairs of codes compared at once: 10 MB


def radius_representatives(
    codes: Codes, radius: int, *, executor: Executor | None = None, shared: Path | str | None = None
) -> Indices:
    """Find which code (uint64 [N]) each is removed for: int64 [N], its own index if it is kept.

    Code i is removed if and only if a kept code before it is within Hamming distance `radius`; it is removed for the
    first such. `keep_mask` makes a mask of the result. Equal codes are merged first. Memory does not grow with the
    number of pairs. `executor` and `shared` as for `radius_pairs`, and the same errors.

    >>> codes = np.array([0b0000, 0b1111, 0b0001, 0b0011], np.uint64)
    >>> dedup.radius_representatives(codes, 1)  # the last is near the third only, which is removed
    array([0, 1, 0, 3])
    """
    distinct = Distinct(codes)
    kept_for = distinct.first.copy()
    groups = connected(distinct, radius, executor, shared)
    has_others = np.zeros(len(codes), bool)
    has_others[groups[groups != distinct.first]] = True
    near = np.flatnonzero(has_others[groups])
    near = near[np.lexsort((distinct.first[near], groups[near]))]
    chosen, left = _first_rounds(distinct.codes[near], groups[near], radius)
    left = left[np.argsort(distinct.first[near[left]])]
    _settle(distinct.codes[near, None], left, radius, chosen, executor, shared)
    kept_for[near] = distinct.first[near[chosen]]
    representatives = np.empty(len(codes), np.int64)
    representatives[distinct.order] = np.repeat(kept_for, distinct.count)
    return representatives


def turned_representatives(codes: Codes, radius: int) -> Indices:
    """Find which image each is removed for if turned and mirrored copies count, too: int64 [N], its own index if kept.

    `codes`: uint64 [N, 8] of `turned_codes`. Image i is removed if and only if a kept image before it is near it, as
    `turned_pairs` says; it is removed for the first such. Memory does not grow with the number of pairs.

    >>> images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    >>> images = np.concatenate([images, images[1:2, :, ::-1]])  # the second one mirrored
    >>> dedup.turned_representatives(dedup.turned_codes(images), 4)
    array([0, 1, 2, 1])
    """
    check_radius(radius)
    distinct = Distinct(checked_turned(codes)[:, 0])
    order = np.argsort(distinct.first)
    nearest = _first_within(distinct.codes[order], codes, radius, None, None)
    chosen = distinct.first[order][nearest]  # the first image near each, kept or not; its own index if none is before
    stays = chosen == np.arange(len(codes))
    open_ = np.flatnonzero(~stays[chosen])  # the first image near these is itself near one before it
    kept = np.flatnonzero(stays)
    chosen[open_] = np.append(kept, len(codes))[_first_within(codes[kept, 0], codes[open_], radius, None, None)]
    left = open_[chosen[open_] > open_]  # no image that is sure to stay removes these
    chosen[left] = left
    _settle(codes, left, radius, chosen, None, None)
    kept, others = left[chosen[left] == left], open_[chosen[open_] < open_]
    if len(kept):
        first = np.append(kept, len(codes))[_first_within(codes[kept, 0], codes[others], radius, None, None)]
        chosen[others] = np.minimum(chosen[others], first)
    return chosen


def pair_representatives(pairs: NDArray[np.int64], n: int) -> Indices:
    """Find which image each is removed for, if near-duplicates are given as pairs: int64 [n], its own index if kept.

    Image i is removed if and only if a kept image before it is paired with it; it is removed for the first such.
    `pairs`: int64 [M, 2] in [0, n), in any order; all pairs, as `radius_pairs` returns them. `near_duplicates` leaves
    out pairs of equal images, so take `near_duplicate_representatives` instead.

    >>> dedup.pair_representatives(np.array([[0, 2], [2, 3]]), 4)  # 3 stays: what it is near is removed
    array([0, 1, 0, 3])
    """
    pairs = np.sort(checked_pairs(pairs, n), axis=1)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    chosen = np.arange(n, dtype=np.int64)
    starts = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1)).tolist()
    for start, stop in itertools.pairwise([*starts, len(pairs)]):
        image, others = int(pairs[start, 0]), pairs[start:stop, 1]
        if chosen[image] == image:
            chosen[others[chosen[others] == others]] = image
    return chosen


def _first_rounds(codes: Codes, groups: Indices, radius: int) -> tuple[Indices, Indices]:
    """Settle up to _ROUNDS codes that are kept in each group.

    codes: uint64 [n], by group, then by index. groups: int64 [n], ascending.

    Returns (for each code the place of that which it is removed for, its own if it is kept or not settled yet; the
    places of those not settled).
    """
    chosen = np.arange(len(codes))
    left = np.arange(len(codes))
    for _ in range(_ROUNDS):
        if not len(left):
            break
        starts = np.flatnonzero(np.diff(groups[left], prepend=-1))
        first = np.repeat(left[starts], np.diff(starts, append=len(left)))  # the first of the group that is left stays
        near = np.bitwise_count(codes[left] ^ codes[first]) <= radius
        chosen[left[near]] = first[near]
        left = left[~near]
    return chosen, left


def _settle(
    codes: Codes, left: Indices, radius: int, chosen: Indices, executor: Executor | None, shared: Path | str | None
) -> None:
    """Settle the codes at the places `left`, which are in the order of their indices; `chosen` is updated in place.

    codes: uint64 [n, k]. One of the k codes must be near the first code of an image before it.
    """
    if len(left) <= _BLOCK:
        words = codes[left]
        while len(left):
            near = (np.bitwise_count(words ^ words[0, 0]) <= radius).any(axis=1)
            chosen[left[near]] = left[0]
            left, words = left[~near], words[~near]
        return
    early, late = np.split(left, [len(left) // 2])
    _settle(codes, early, radius, chosen, executor, shared)
    kept = early[chosen[early] == early]
    first = _first_within(codes[kept, 0], codes[late], radius, executor, shared)
    removed = first < len(kept)
    chosen[late[removed]] = kept[first[removed]]
    _settle(codes, late[~removed], radius, chosen, executor, shared)


def _first_within(a: Codes, b: Codes, radius: int, executor: Executor | None, shared: Path | str | None) -> Indices:
    """Return, for each row of `b`, the place of the first code of `a` within `radius` of one in it: int64 [len(b)].

    a: uint64 [n], without repeats. b: uint64 [m, k]. Where there is none, the place is len(a).
    """
    if len(a) * b.size <= _FEW:
        first = np.full(len(b), len(a))
        step = max(1, _AT_ONCE // max(1, len(a) * b.shape[1]))
        for low in range(0, len(b) if len(a) else 0, step):
            near = (np.bitwise_count(b[low : low + step, :, None] ^ a) <= radius).any(axis=1)
            first[low : low + step] = np.where(near.any(axis=1), near.argmax(axis=1), len(a))
        return first
    words, place = np.unique(b, return_inverse=True)
    first, order = np.full(len(words), len(a)), np.argsort(a)
    for found in search(a, words, radius, firsts_of, executor if len(a) + len(words) >= _MANY else None, shared):
        i = order[np.searchsorted(a, found[:, 0], sorter=order)]
        np.minimum.at(first, np.searchsorted(words, found[:, 1]), i)
    return first[place.reshape(b.shape)].min(axis=1)

"""Compare sorted words that agree in their upper bits: yield the pairs that lie within a radius, a piece at a time."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dedup.plan import Codes

Found = Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]  # positions of pairs, in pieces

TILE = 1 << 15  # codes handled at once
ROWS, _COLUMNS = 64, 4096  # rows and columns compared at once
_WIDE = 256  # a bucket of at least so many codes is compared in blocks


def within(x: Codes, low: int, radius: int, label: NDArray[np.int64] | None) -> Found:
    """Yield positions i < j within `radius` in the sorted words `x` that agree above bit `low` (and some that do not).

    Pairs with the same `label` are left out.
    """
    edges = _edges(x, low)
    size = np.diff(edges)
    for bucket in np.flatnonzero(size >= _WIDE).tolist():
        start, stop = edges[bucket : bucket + 2].tolist()
        yield from blocks(x, x, range(start, stop, ROWS), range(start, stop), radius, above=True, label=label)
    for first, last in itertools.pairwise(_tiles(edges)):
        repeated = np.repeat(size[first:last], size[first:last])
        i = np.flatnonzero((repeated > 1) & (repeated < _WIDE))
        left, i = repeated[i], i + edges[first]
        word = x[i]
        for step in range(1, _WIDE):
            if step.bit_count() == 1:  # removes whole buckets, so that the codes of a bucket stay side by side
                stay = left > step
                left, i, word = left[stay], i[stay], word[stay]
            if len(i) <= step:
                break
            near = np.flatnonzero(np.bitwise_count(word[step:] ^ word[:-step]) <= radius)
            if len(near):
                yield from _apart(i[near], i[near + step], label)


def _alike(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    """Tell whether all labels of both are the same one."""
    return bool((a == a[0]).all() and (b == a[0]).all())


def _apart(
    i: NDArray[np.int64], j: NDArray[np.int64], label: NDArray[np.int64] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the pairs whose labels differ."""
    if label is not None:
        own = np.flatnonzero(label[i] != label[j])
        i, j = i[own], j[own]
    if len(i):
        yield i, j


def between(x: Codes, y: Codes, low: int, radius: int) -> Found:
    """Yield positions (i in x, j in y) within `radius` that agree above bit `low`; x and y are sorted."""
    edges = _edges(x, low)
    base = x[edges[:-1]] >> np.uint64(low) << np.uint64(low)
    start = np.searchsorted(y, base)
    stop = np.searchsorted(y, base + np.uint64((1 << low) - 1), "right")
    for bucket in np.flatnonzero(stop - start >= _WIDE).tolist():
        columns = range(int(start[bucket]), int(stop[bucket]))
        yield from blocks(x, y, range(int(edges[bucket]), int(edges[bucket + 1]), ROWS), columns, radius)
    for first, last in itertools.pairwise(_tiles(edges)):
        sizes = np.diff(edges[first : last + 1])
        j, end = np.repeat(start[first:last], sizes), np.repeat(stop[first:last], sizes)
        stay = np.flatnonzero((j < end) & (end - j < _WIDE))
        i, j, end = edges[first] + stay, j[stay], end[stay]
        while len(i):
            near = np.bitwise_count(x[i] ^ y[j]) <= radius
            if near.any():
                yield i[near], j[near]
            j = j + 1
            more = j < end
            i, j, end = i[more], j[more], end[more]


def blocks(
    x: Codes,
    y: Codes,
    rows: range,
    columns: range,
    radius: int,
    *,
    above: bool = False,
    label: NDArray[np.int64] | None = None,
) -> Found:
    """Yield positions within `radius`: i in the ROWS words of `x` from each of `rows` on, j in the `columns` of `y`.

    `above`: only pairs with i < j. No row lies beyond `rows.stop`. Pairs with the same `label` are left out, and blocks
    with only one label are not compared.
    """
    for row in rows:
        block = x[row : min(row + ROWS, rows.stop), None]
        for column in range(max(columns.start, row + 1) if above else columns.start, columns.stop, _COLUMNS):
            words = y[column : min(column + _COLUMNS, columns.stop)]
            if label is not None and _alike(label[row : row + len(block)], label[column : column + len(words)]):
                continue
            near = np.flatnonzero(np.bitwise_count(block ^ words) <= radius)
            if len(near):
                i, j = np.divmod(near, len(words))
                i, j = i + row, j + column
                own = i < j if above else slice(None)
                yield from _apart(i[own], j[own], label)


def _edges(x: Codes, low: int) -> NDArray[np.int64]:
    """Return where the sorted words begin to differ above bit `low`, and both ends: int64 [buckets + 1]."""
    new = [
        i + 1 + np.flatnonzero((x[i : i + TILE][: len(x) - 1 - i] ^ x[i + 1 : i + 1 + TILE]) >> np.uint64(low))
        for i in range(0, len(x) - 1, TILE)
    ]
    return np.concatenate([[0], *new, [len(x)]]) if len(x) else np.zeros(1, np.int64)


def _tiles(edges: NDArray[np.int64]) -> list[int]:
    """Return the buckets at which to cut, so that pieces of whole buckets begin about every TILE words."""
    return np.unique(np.append(np.searchsorted(edges, np.arange(0, edges[-1], TILE)), len(edges) - 1)).tolist()

"""One piece of a search: find the pairs of codes that agree on a mask and lie within a radius.

The mask's bits are moved to the top of each word. Sorting the words then puts codes that agree on the mask side by
side. Moving bits keeps distances, so no index is carried along. A pair is reported only for the first mask on which it
agrees, and so only once.

A piece reads the codes once. It keeps those whose bits common to its masks fall into its part. It holds at most about
48 bytes for each code kept, plus 100 MB, plus the pairs that it returns.
"""

import functools
import itertools
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dedup.plan import BITS, Band, Codes, masks

Found = Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]  # positions of pairs, in pieces

_TILE = 1 << 15  # codes handled at once
_ROWS, _COLUMNS = 64, 4096  # rows and columns compared at once
_WIDE = 256  # a bucket of at least so many codes is compared in blocks
_BATCH = 1 << 18  # found pairs are collected up to this number before they are checked further
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that the high bits of its products depend on all lower bits

_OCTETS = np.arange(256, dtype=np.uint64)[:, None] >> np.arange(8, dtype=np.uint64) & np.uint64(1)  # [value, bit]


class Piece(NamedTuple):
    """The masks [first, last), counted over all bands in order, on part `part` of `parts` of the codes."""

    first: int
    last: int
    part: int
    parts: int


def pairs_of(
    piece: Piece, *, a: Codes | Path, b: Codes | Path | None, bands: Sequence[Band], radius: int, limit: int | None
) -> NDArray[np.uint64]:
    """Find the pairs of codes within `radius` whose first common mask is one of the piece's: uint64 [M, 2].

    `a`, `b`: distinct codes, or the .npy file that holds them. Without `b`, pairs are within `a`, each in either order.
    `limit`: with a number, all pairs are returned, or only some if there are more than that. None returns as few pairs
    as connect the same codes.
    """
    every = [(number, mask) for number, band in enumerate(bands) for mask in masks(band)]
    common = functools.reduce(operator.and_, (mask for _, mask in every[piece.first : piece.last]))
    x = _part(_opened(a), common, piece)
    y = None if b is None else _part(_opened(b), common, piece)
    found = np.empty((0, 2), np.uint64)
    for k in range(piece.first, piece.last):
        number, mask = every[k]
        rows = None if mask else range(_ROWS * piece.part, len(x), _ROWS * piece.parts)
        before = [earlier for same, earlier in every[:k] if same == number]
        found = np.concatenate([found, _on_mask(x, y, mask, before, bands[: number + 1], rows, radius, limit)])
        if limit is None:
            found = spanning(found)
        elif len(found) > limit:
            break
    return found


def components(pairs: NDArray) -> tuple[NDArray, NDArray[np.int32]]:
    """Return (the nodes that occur in `pairs` [M, 2], ascending; the connected component 0, 1, ... of each)."""
    nodes, at = np.unique(pairs, return_inverse=True)
    i, j = at.reshape(-1, 2).T
    graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(len(nodes), len(nodes)))
    return nodes, connected_components(graph, directed=False)[1]


def lowest(component: NDArray[np.int32], labels: NDArray) -> NDArray:
    """Return the lowest label in the component of each node: [K], of the type of `labels`.

    `component` [K] is 0, 1, ... for each node; `labels` [K] are the nodes' labels.
    """
    least = np.full(component.max(initial=-1) + 1, np.iinfo(labels.dtype).max, labels.dtype)
    np.minimum.at(least, component, labels)
    return least[component]


def spanning(pairs: NDArray) -> NDArray:
    """Return as few pairs as connect the same nodes: [F, 2], each node with the lowest one of its component."""
    nodes, component = components(pairs)
    root = lowest(component, nodes)
    child = nodes != root
    return np.stack([nodes[child], root[child]], axis=1)


def moved(codes: Codes, order: Sequence[int]) -> Codes:
    """Rearrange the bits of each code: order[0] becomes the highest, order[63] the lowest."""
    shift = np.empty(BITS, np.uint64)
    shift[list(order)] = np.arange(BITS - 1, -1, -1)
    table = np.bitwise_or.reduce(_OCTETS << shift.reshape(8, 1, 8), axis=2)  # [octet, its value]
    out = np.empty(len(codes), np.uint64)
    for low in range(0, len(codes), _TILE):
        octets = np.asarray(codes[low : low + _TILE], "<u8").view(np.uint8).reshape(-1, 8)
        piece = table[0].take(octets[:, 0])
        for k in range(1, 8):
            piece |= table[k].take(octets[:, k])
        out[low : low + _TILE] = piece
    return out


def _opened(codes: Codes | Path) -> Codes:
    return np.load(codes, mmap_mode="r") if isinstance(codes, Path) else codes


def _part(codes: Codes, common: int, piece: Piece) -> Codes:
    """Return the codes that fall into the piece's part by their bits in `common`; all if there are no such bits."""
    if piece.parts == 1 or not common:
        return codes
    kept = []
    for low in range(0, len(codes), _TILE):
        tile = np.asarray(codes[low : low + _TILE])
        spread = (tile & np.uint64(common)) * _SPREAD >> np.uint64(32)
        kept.append(tile[spread * np.uint64(piece.parts) >> np.uint64(32) == piece.part])
    return np.concatenate(kept)


def _on_mask(
    a: Codes,
    b: Codes | None,
    mask: int,
    before: Sequence[int],
    bands: Sequence[Band],
    rows: range | None,
    radius: int,
    limit: int | None,
) -> NDArray[np.uint64]:
    """Find the pairs within `radius` that agree on `mask` and on no mask before it: uint64 [M, 2].

    `before`: the earlier masks of the same band; that band is the last of `bands`. `rows`: for a mask without bits, the
    places from which _ROWS codes each are compared with all codes; None for other masks.
    """
    order = sorted(range(BITS - 1, -1, -1), key=lambda bit: not mask >> bit & 1)  # the mask's bits first
    low = BITS - mask.bit_count()  # number of the other bits, below them
    x = y = _in_order(a, order)
    label = np.arange(len(x))  # equal for codes that are connected so far; updated as pairs are found
    if b is None:
        known = label if limit is None else None
        if rows is None:
            found = _within(x, low, radius, known)
        else:
            found = _blocks(x, x, rows, range(len(x)), radius, above=True, label=known)
    else:
        y = _in_order(b, order)
        found = _between(x, y, low, radius) if rows is None else _blocks(x, y, rows, range(len(y)), radius)
    back = [BITS - 1 - order.index(BITS - 1 - place) for place in range(BITS)]
    batches = _new(found, x, y, mask, before, bands, back)
    kept = _forest(batches, label) if limit is None else _all(batches, limit)
    return np.stack([moved(x[kept[:, 0]], back), moved(y[kept[:, 1]], back)], axis=1)


def _in_order(codes: Codes, order: Sequence[int]) -> Codes:
    words = moved(codes, order)
    words.sort()
    return words


def _new(
    found: Found, x: Codes, y: Codes, mask: int, before: Sequence[int], bands: Sequence[Band], back: Sequence[int]
) -> Iterator[NDArray[np.int64]]:
    """Yield the found pairs that agree on `mask` and on no mask before it: int64 [m, 2], many at a time.

    Arguments are those of `_on_mask`.
    """
    *earlier, own = bands
    for i, j in _gathered(found):
        differing = moved(x[i] ^ y[j], back)
        new = np.flatnonzero(differing & np.uint64(mask) == 0)
        for band in earlier:  # a pair that differs in at most `threshold` bits of a band agrees on one of its masks
            new = new[np.bitwise_count(differing[new] & np.uint64(band.mask)) > band.threshold]
        only = np.bitwise_count(differing[new] & np.uint64(own.mask)) == own.threshold  # no other mask fits these
        rest = new[~only]
        for other in before:
            if not len(rest):
                break
            rest = rest[differing[rest] & np.uint64(other) != 0]
        new = np.concatenate([new[only], rest])
        yield np.stack([i[new], j[new]], axis=1)


def _gathered(found: Found) -> Found:
    """Yield the same pairs in pieces of at least _BATCH pairs; the last piece may be smaller."""
    left, right, waiting = [], [], 0
    for i, j in found:
        left.append(i)
        right.append(j)
        waiting += len(i)
        if waiting >= _BATCH:
            yield np.concatenate(left), np.concatenate(right)
            left, right, waiting = [], [], 0
    if waiting:
        yield np.concatenate(left), np.concatenate(right)


def _all(batches: Iterator[NDArray], limit: int) -> NDArray[np.int64]:
    """Collect all pairs; stop once there are more than `limit`."""
    kept, count = [np.empty((0, 2), np.int64)], 0
    for pairs in batches:
        kept.append(pairs)
        count += len(pairs)
        if count > limit:
            break
    return np.concatenate(kept)


def _forest(batches: Iterator[NDArray], label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Collect as few pairs as connect the same positions; pairs that are connected already are dropped.

    `label` is updated in place: equal for positions that are connected so far.
    """
    kept = [np.empty((0, 2), np.int64)]
    for pairs in batches:
        pairs = label[pairs]
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        if not len(pairs):
            continue
        edges = spanning(pairs)
        kept.append(edges)
        root = np.arange(len(label))
        root[edges[:, 0]] = edges[:, 1]
        label[:] = root[label]
    return np.concatenate(kept)


def _within(x: Codes, low: int, radius: int, label: NDArray[np.int64] | None) -> Found:
    """Yield positions i < j within `radius` in the sorted words `x` that agree above bit `low` (and some that do not).

    Pairs with the same `label` are left out.
    """
    edges = _edges(x, low)
    size = np.diff(edges)
    for bucket in np.flatnonzero(size >= _WIDE).tolist():
        start, stop = edges[bucket : bucket + 2].tolist()
        yield from _blocks(x, x, range(start, stop, _ROWS), range(start, stop), radius, above=True, label=label)
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


def _between(x: Codes, y: Codes, low: int, radius: int) -> Found:
    """Yield positions (i in x, j in y) within `radius` that agree above bit `low`; x and y are sorted."""
    edges = _edges(x, low)
    base = x[edges[:-1]] >> np.uint64(low) << np.uint64(low)
    start = np.searchsorted(y, base)
    stop = np.searchsorted(y, base + np.uint64((1 << low) - 1), "right")
    for bucket in np.flatnonzero(stop - start >= _WIDE).tolist():
        columns = range(int(start[bucket]), int(stop[bucket]))
        yield from _blocks(x, y, range(int(edges[bucket]), int(edges[bucket + 1]), _ROWS), columns, radius)
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


def _blocks(
    x: Codes,
    y: Codes,
    rows: range,
    columns: range,
    radius: int,
    *,
    above: bool = False,
    label: NDArray[np.int64] | None = None,
) -> Found:
    """Yield positions within `radius`: i in the _ROWS words of `x` from each of `rows` on, j in the `columns` of `y`.

    `above`: only pairs with i < j. No row lies beyond `rows.stop`. Pairs with the same `label` are left out, and blocks
    with only one label are not compared.
    """
    for row in rows:
        block = x[row : min(row + _ROWS, rows.stop), None]
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
        i + 1 + np.flatnonzero((x[i : i + _TILE][: len(x) - 1 - i] ^ x[i + 1 : i + 1 + _TILE]) >> np.uint64(low))
        for i in range(0, len(x) - 1, _TILE)
    ]
    return np.concatenate([[0], *new, [len(x)]]) if len(x) else np.zeros(1, np.int64)


def _tiles(edges: NDArray[np.int64]) -> list[int]:
    """Return the buckets at which to cut, so that pieces of whole buckets begin about every _TILE words."""
    return np.unique(np.append(np.searchsorted(edges, np.arange(0, edges[-1], _TILE)), len(edges) - 1)).tolist()

"""One piece of a search: find the pairs of codes that agree on a mask and lie within a radius.

The mask's bits are moved to the top of each word. Sorting the words then puts codes that agree on the mask side by
side. Moving bits keeps distances, so no index is carried along. A pair is reported only for the first mask on which it
agrees, and so only once.

A piece reads the codes once. It keeps those whose bits common to its masks fall into its part. It holds at most about
48 bytes for each code kept, plus 100 MB, plus the pairs that it returns.
"""

import functools
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dedup.compare import ROWS, TILE, Found, between, blocks, within
from dedup.plan import BITS, Band, Codes, masks

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
    common = _common(piece, [mask for _, mask in every])
    x = _part(_opened(a), common, piece)
    y = None if b is None else _part(_opened(b), common, piece)
    found = np.empty((0, 2), np.uint64)
    for k in range(piece.first, piece.last):
        number, mask = every[k]
        rows = None if mask else range(ROWS * piece.part, len(x), ROWS * piece.parts)
        before = [earlier for same, earlier in every[:k] if same == number]
        found = np.concatenate([found, _on_mask(x, y, mask, before, bands[: number + 1], rows, radius, limit)])
        if limit is None:
            found = spanning(found)
        elif len(found) > limit:
            break
    return found


def firsts_of(
    piece: Piece, *, a: Codes | Path, b: Codes | Path, bands: Sequence[Band], radius: int
) -> NDArray[np.uint64]:
    """Find, for codes of `b`, the first code of `a` within `radius` that agrees on one of the piece's masks.

    `a`, `b`: as for `pairs_of`; `a` is in the order that says which is first. Returns uint64 [M, 2]: the code of `a`,
    the code of `b`; each code of `b` occurs at most once.
    """
    every = [mask for band in bands for mask in masks(band)]
    common = _common(piece, every)
    x, y = (_part(_opened(codes), common, piece) for codes in (a, b))
    first = np.full(len(y), len(x))
    for mask in every[piece.first : piece.last]:
        order, low = _mask_first(mask), BITS - mask.bit_count()
        u, v = moved(x, order), moved(y, order)
        at_u, at_v = np.argsort(u), np.argsort(v)
        u, v = u[at_u], v[at_v]
        rows = range(ROWS * piece.part, len(u), ROWS * piece.parts)  # of a mask without bits, as in `pairs_of`
        found = between(u, v, low, radius) if mask else blocks(u, v, rows, range(len(v)), radius)
        for i, j in found:
            np.minimum.at(first, at_v[j], at_u[i])
    near = np.flatnonzero(first < len(x))
    return np.stack([x[first[near]], y[near]], axis=1)


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
    for low in range(0, len(codes), TILE):
        octets = np.asarray(codes[low : low + TILE], "<u8").view(np.uint8).reshape(-1, 8)
        piece = table[0].take(octets[:, 0])
        for k in range(1, 8):
            piece |= table[k].take(octets[:, k])
        out[low : low + TILE] = piece
    return out


def _opened(codes: Codes | Path) -> Codes:
    return np.load(codes, mmap_mode="r") if isinstance(codes, Path) else codes


def _common(piece: Piece, every: Sequence[int]) -> int:
    """Return the bits that all masks of the piece have."""
    return functools.reduce(operator.and_, every[piece.first : piece.last])


def _mask_first(mask: int) -> list[int]:
    """Return the order of bits that moves the mask's bits to the top, see `moved`."""
    return sorted(range(BITS - 1, -1, -1), key=lambda bit: not mask >> bit & 1)


def _part(codes: Codes, common: int, piece: Piece) -> Codes:
    """Return the codes that fall into the piece's part by their bits in `common`; all if there are no such bits."""
    if piece.parts == 1 or not common:
        return codes
    kept = []
    for low in range(0, len(codes), TILE):
        tile = np.asarray(codes[low : low + TILE])
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
    places from which ROWS codes each are compared with all codes; None for other masks.
    """
    order = _mask_first(mask)
    low = BITS - mask.bit_count()  # number of the other bits, below them
    x = y = _in_order(a, order)
    label = np.arange(len(x))  # equal for codes that are connected so far; updated as pairs are found
    if b is None:
        known = label if limit is None else None
        if rows is None:
            found = within(x, low, radius, known)
        else:
            found = blocks(x, x, rows, range(len(x)), radius, above=True, label=known)
    else:
        y = _in_order(b, order)
        found = between(x, y, low, radius) if rows is None else blocks(x, y, rows, range(len(y)), radius)
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

"""Pillow's Lanczos resize of gray images, bit for bit, as matrix products over many images at a time.

Pillow (src/libImaging/Resample.c) resizes one axis, rounds to bytes, and resizes the other. It sums in integers, with
coefficients of 22 fractional bits. float64 holds those sums exactly, so a BLAS may add them in any order. Each size is
compared once with Pillow itself; if the two differ, Pillow resizes images of that size.
"""

import functools
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Gray = NDArray[np.uint8]  # [n, height, width]

_PRECISION = 22  # fractional bits of a coefficient
_SUPPORT = 3  # half the width of the filter, in pixels of the smaller image
_BLOCK = 8  # neighbouring outputs that share one product, because their windows overlap
_TILE = 1 << 16  # pixels in float64 at once, which fit in caches
_SIZES = 4096  # the order is remembered for so many sizes ...
_AXES = 256  # ... and the coefficients for so many lengths, 0.4 MB each for 4000 pixels


def resized(gray: Gray, width: int, height: int) -> Gray:
    """Do `Image.resize((width, height), LANCZOS)` for every image: uint8 [n, H, W] -> [n, height, width]."""
    rows_first = _rows_first(gray.shape[2], gray.shape[1], width, height)
    if rows_first is None:
        images = [Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS) for image in gray]
        return np.array([np.asarray(image) for image in images], np.uint8).reshape(-1, height, width)
    return _both(gray, width, height, rows_first=rows_first)


def resized_turned(gray: Gray, width: int, height: int) -> Iterator[Gray]:
    """Yield what `resized` makes of the images in each of the eight orientations: eight times uint8 [n, height, width].

    The first is the image as it is, then come its mirror images left to right, top to bottom, and both (a half turn).
    Then come the same four of the transposed image: the transposed one, the quarter turn clockwise, that
    counterclockwise, and the image mirrored along the other diagonal.

    Pillow's coefficients are symmetric, and their sums exact, so a mirror image is mirrored after it is resized.
    Transposing exchanges the two axes and so the rounding between them: a transposed image is resized itself.
    """
    for view in (gray, gray.swapaxes(1, 2)):
        mirrored = [view, view[:, :, ::-1], view[:, ::-1], view[:, ::-1, ::-1]]
        if _mirrors(view.shape[2], view.shape[1], width, height):
            small = resized(view, width, height)
            yield from (small, small[:, :, ::-1], small[:, ::-1], small[:, ::-1, ::-1])
        else:
            yield from (resized(image, width, height) for image in mirrored)


@functools.lru_cache(_SIZES)
def _mirrors(old_width: int, old_height: int, width: int, height: int) -> bool:
    """Tell whether resizing the mirror image of any image of these sizes gives the mirror image of the resized one."""
    symmetric = all(_is_symmetric(*axis) for axis in ((old_width, width), (old_height, height)) if axis[0] != axis[1])
    return symmetric and _rows_first(old_width, old_height, width, height) is not None


def _is_symmetric(before: int, after: int) -> bool:
    weights = np.zeros((before, after))
    for block in _blocks(before, after):
        weights[block.inputs, block.outputs] = block.weights
    return np.array_equal(weights, weights[::-1, ::-1])


@functools.lru_cache(_SIZES)
def _rows_first(old_width: int, old_height: int, width: int, height: int) -> bool | None:
    """Tell whether Pillow begins with the rows for these sizes; its releases differ. None if neither order fits."""
    probe = np.random.default_rng(0).integers(0, 256, (1, old_height, old_width), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(probe[0]).resize((width, height), Image.Resampling.LANCZOS))
    for order in (True, False):
        if np.array_equal(_both(probe, width, height, rows_first=order)[0], whole):
            return order
    return None


def _both(gray: Gray, width: int, height: int, *, rows_first: bool) -> Gray:
    if rows_first:
        return _rows(_rows(gray, width).swapaxes(1, 2), height).swapaxes(1, 2)
    return _rows(_rows(gray.swapaxes(1, 2), height).swapaxes(1, 2), width)


def _rows(gray: Gray, width: int) -> Gray:
    """Resize every row: uint8 [n, H, W] -> [n, H, width]."""
    count, height, before = gray.shape
    if before == width:
        return gray
    rows = np.ascontiguousarray(gray).reshape(-1, before)
    out = np.empty((len(rows), width), np.uint8)
    tile = max(1, _TILE // before)
    pixels, total = np.empty((min(tile, len(rows)), before)), np.empty((min(tile, len(rows)), width))
    for i in range(0, len(rows), tile):
        n = min(tile, len(rows) - i)
        pixels[:n] = rows[i : i + n]
        for block in _blocks(before, width):
            np.matmul(pixels[:n, block.inputs], block.weights, out=total[:n, block.outputs])
        total[:n] += 0.5  # Pillow adds a half and shifts right, then clips to a byte
        out[i : i + n] = np.clip(total[:n], 0, 255, out=total[:n])
    return out.reshape(count, height, width)


@dataclass(frozen=True)
class _Block:
    inputs: slice  # pixels of a row
    outputs: slice  # the neighbouring pixels of the smaller row that depend only on them
    weights: NDArray[np.float64]  # [inputs, outputs], multiples of 2^-22


@functools.lru_cache(_AXES)
def _blocks(before: int, after: int) -> list[_Block]:
    """Compute Pillow's coefficients (precompute_coeffs, normalize_coeffs_8bpc), in the same order of operations."""
    scale = before / after
    stretch = max(scale, 1.0)
    support = _SUPPORT * stretch
    windows = []
    for i in range(after):
        center = (i + 0.5) * scale
        start, stop = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), before)
        values = [_lanczos((start + x - center + 0.5) * (1.0 / stretch)) for x in range(stop - start)]
        total = functools.reduce(operator.add, values, 0.0)  # not sum(), which rounds less than C's loop
        fixed = [int(value / total * (1 << _PRECISION) + math.copysign(0.5, value / total)) for value in values]
        windows.append((start, stop, np.array(fixed, np.float64) / (1 << _PRECISION)))
    blocks = []
    for first in range(0, after, _BLOCK):
        group = windows[first : first + _BLOCK]
        low, high = min(start for start, _, _ in group), max(stop for _, stop, _ in group)
        weights = np.zeros((high - low, len(group)))
        for column, (start, stop, window) in enumerate(group):
            weights[start - low : stop - low, column] = window
        blocks.append(_Block(slice(low, high), slice(first, first + len(group)), weights))
    return blocks


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / _SUPPORT) if -_SUPPORT <= x < _SUPPORT else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x != 0.0 else 1.0

"""Near-duplicates by looking twice: candidates by a copy descriptor, confirmed by comparing where edges run.

Perceptual hashes flag false pairs and miss shifted or recoloured copies. Here an image's candidates are those whose
descriptor (`dedup.descriptor`; its weights come with the project) points its way, and a candidate is confirmed where
the images' gradients agree too: histograms of their directions (HOG, Dalal & Triggs, CVPR 2005), which know nothing of
colour, brightness and contrast. Both thresholds were set on human-judged pairs; docs/deduplication.md has the figures.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dedup.descriptor import CopyDescriptor
from dedup.groups import collision_groups
from dedup.pixels import SIDE, check, small

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

CANDIDATE, CONFIRMED = 0.91, 0.8  # least cosines of descriptors, of gradients
_BLOCK = 512  # images described at once, and compared with all others: 200 MB of float32 for 100,000
_COLUMNS = 1 << 17  # ... or with so many at a time
_CELLS, _BINS = 8, 8  # of the gradient histograms


class Progress(Protocol):
    """Passes items through, and may show how far it is."""

    def __call__(self, iterable: Iterable[int], *, total: int, desc: str, unit: str) -> Iterable[int]: ...


class _Described(NamedTuple):
    """What images are compared by: unit vectors."""

    descriptor: Floats  # [n, 128]
    gradients: Floats  # [n, 512]


def near_duplicates(
    images: Images, against: Images | None = None, *, progress: Progress | None = None
) -> NDArray[np.int64]:
    """The near-duplicates among `images`, or between them and `against`: int64 [M, 2], sorted.

    `images`, `against`: uint8 [N, H, W, 1 or 3], of any size; they are compared at 32x32. Pairs are (index in images,
    index in against), or i < j within one set, where images equal to an earlier one are paired with the first such
    only. Whether two images are a pair does not depend on any others. Time grows with the product of the sets' sizes,
    memory with their sum: 2.6 kB an image, and 0.5 GB. `progress` shows blocks of images. Raises ValueError for arrays
    of other types and shapes.
    """
    for given in (images,) if against is None else (images, against):
        check(given)
    if against is not None:
        return _sorted([*_search(_described(images, progress), _described(against, progress), progress)])
    first = collision_groups(_digests(images))
    kept, later = np.flatnonzero(first == np.arange(len(first))), np.flatnonzero(first != np.arange(len(first)))
    found = _search(_described(images, progress, kept), None, progress)
    return _sorted([np.stack([first[later], later], axis=1), *(kept[pairs] for pairs in found)])


def _search(a: _Described, b: _Described | None, progress: Progress | None) -> Iterator[NDArray[np.int64]]:
    """Pairs of rows of `a` and `b`, or i < j of `a`: int64 [m, 2] from each block of rows."""
    others = a if b is None else b
    for start in _blocks(len(a.descriptor), progress, "comparing"):
        mine = a.descriptor[start : start + _BLOCK]
        for low in range(start // _COLUMNS * _COLUMNS if b is None else 0, len(others.descriptor), _COLUMNS):
            cosine = mine @ others.descriptor[low : low + _COLUMNS].T
            rows, columns = np.nonzero(cosine >= CANDIDATE)
            i, j = rows + start, columns + low
            if b is None:
                i, j = i[i < j], j[i < j]
            agree = np.concatenate(
                [
                    np.einsum("nd,nd->n", a.gradients[i[k : k + _BLOCK]], others.gradients[j[k : k + _BLOCK]])
                    for k in range(0, len(i), _BLOCK)
                ]
                or [np.empty(0, np.float32)]
            )
            yield np.stack([i, j], axis=1)[agree >= CONFIRMED]


def _described(images: Images, progress: Progress | None, rows: NDArray[np.int64] | None = None) -> _Described:
    """Of all images, or of those at `rows`."""
    n = len(images) if rows is None else len(rows)
    made = _Described(np.empty((n, 128), np.float32), np.empty((n, _CELLS**2 * _BINS), np.float32))
    for i in _blocks(n, progress, "describing"):
        pixels = small(images[i : i + _BLOCK] if rows is None else images[rows[i : i + _BLOCK]])
        made.descriptor[i : i + _BLOCK] = _descriptor()(pixels)
        made.gradients[i : i + _BLOCK] = gradients(pixels)
    return made


def _blocks(n: int, progress: Progress | None, desc: str) -> Iterable[int]:
    starts = range(0, n, _BLOCK)
    return starts if progress is None else progress(starts, total=len(starts), desc=desc, unit="block")


@functools.cache
def _descriptor() -> CopyDescriptor:
    return CopyDescriptor.load(Path(str(resources.files("dedup") / "copies.safetensors")))


def gradients(images: Images) -> Floats:
    """HOG of uint8 [n, 32, 32, 3]: float32 [n, 512], unit vectors, zero for images of one colour.

    8x8 overlapping cells of 8x8 pixels, the directions of each as shares of its gradients, less their mean.
    """
    gray = np.sqrt(images.mean(axis=3, dtype=np.float32))
    padded = np.pad(gray, ((0, 0), (1, 1), (1, 1)), "edge")
    dx, dy = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    turn = np.arctan2(dy, dx) * np.float32(_BINS / (2 * np.pi))
    low = np.floor(turn)
    upper = turn - low  # the share of the upper of the two nearest directions
    votes = np.zeros((*turn.shape, _BINS), np.float32)
    size, bin_ = np.hypot(dx, dy), low.astype(np.int64) % _BINS
    np.put_along_axis(votes, bin_[..., None], (size * (1 - upper))[..., None], axis=3)
    np.put_along_axis(votes, (bin_[..., None] + 1) % _BINS, (size * upper)[..., None], axis=3)
    step = SIDE // _CELLS
    sums = votes.reshape(-1, _CELLS, step, _CELLS, step, _BINS).sum((2, 4))  # [n, 8, 8, directions]
    around = np.pad(sums, ((0, 0), (1, 0), (1, 0), (0, 0)))
    cells = around[:, 1:, 1:] + around[:, :-1, 1:] + around[:, 1:, :-1] + around[:, :-1, :-1]
    shares = np.sqrt(cells / (cells.sum(3, keepdims=True) + 640))  # ten a pixel: faint gradients count little
    flat = (shares - shares.mean(3, keepdims=True)).reshape(len(images), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _digests(images: Images) -> NDArray[np.uint64]:
    """128 bits of each image's bytes: uint64 [N, 2]."""
    digests = [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images]
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)


def _sorted(found: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    pairs = np.concatenate([np.empty((0, 2), np.int64), *found])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

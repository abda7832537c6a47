"""Find near-duplicates in two steps: candidates by a copy descriptor of the whole image, confirmed from four views.

Perceptual hashes flag false pairs and miss shifted, cropped or recoloured copies. Here two images are candidates if
their descriptors (`dedup.descriptor`; its weights come with the project) point in nearly the same direction. Candidates
are confirmed if the descriptors of four views agree on average: the whole image, its centre, and both mirrored. A
frame, a caption or similar backgrounds seldom survive all four. The threshold was set on human-judged pairs;
docs/deduplication.md has the figures.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dedup.descriptor import WIDTH, CopyDescriptor
from dedup.groups import collision_groups
from dedup.pixels import SIDE, small
from dedup.representatives import pair_representatives
from dedup.search import radius_pairs_between

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

CANDIDATE = 0.85  # least cosine of the whole images' descriptors; 0.8 finds no more of the judged pairs
CONFIRMED = 0.905  # least mean cosine of the four views; F1 on the judged pairs is highest from 0.895 to 0.915
_FLAT = 4.0  # an image whose pixels have a smaller sd (gray levels) is not described
_MOST = 10**8  # largest number of candidates: 3 GB
_MARGIN = 3  # pixels that the centre lacks on each side
_BLOCK = 512  # images described at once, and compared at once with ...
_COLUMNS = 1 << 17  # ... so many others: 270 MB of float32


class Progress(Protocol):
    """Passes items through, and may show how far the loop is."""

    def __call__(self, iterable: Iterable[int], *, total: int, desc: str, unit: str) -> Iterable[int]: ...


def near_duplicates(
    images: Images, against: Images | None = None, *, progress: Progress | None = None
) -> NDArray[np.int64]:
    """Find the near-duplicates among `images`, or between them and `against`: int64 [M, 2], sorted.

    `images`, `against`: uint8 [N, H, W, 1 or 3], of any size; they are compared at 32x32. With `against`, pairs are
    (index in images, index in against). Without it they are i < j in images, and an image that equals earlier ones is
    paired only with the first of them. Whether two images are a pair does not depend on others. Images with hardly any
    contrast (sd below 4 gray levels) are paired only if they are equal. Time grows with the product of the sets' sizes.
    Memory grows with their sum: 3.5 kB per image, plus 0.5 GB. `progress` shows blocks of images.

    Raises ValueError for arrays of other types and shapes, and when more than 10^8 pairs look alike.

    >>> images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    >>> darker = (images[1:2] * 0.9).astype(np.uint8)
    >>> dedup.near_duplicates(np.concatenate([images, darker]))
    array([[1, 3]])
    """
    pixels = small(images)
    if against is not None:
        theirs = small(against)
        described = _described(pixels, progress), _described(theirs, progress)
        found = _confirmed(_candidates(*described, progress), pixels, theirs, progress)
        return np.unique(np.concatenate([_equal(pixels, theirs), found]), axis=0)
    first, confirmed = _within(images, pixels, progress)
    later = np.flatnonzero(first != np.arange(len(first)))
    equal = np.stack([first[later], later], axis=1)
    return np.unique(np.concatenate([equal, confirmed]), axis=0)


def near_duplicate_representatives(images: Images, *, progress: Progress | None = None) -> NDArray[np.int64]:
    """Find which image each of `images` is removed for: int64 [N], its own index if it is kept.

    Image i is removed if and only if a kept image before it is its near-duplicate, see `near_duplicates`; it is removed
    for the first such. Arguments, cost and errors are those of `near_duplicates`. `keep_mask` makes a mask of the
    result.

    >>> images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    >>> darker = (images[1:2] * 0.9).astype(np.uint8)
    >>> dedup.near_duplicate_representatives(np.concatenate([images, darker]))
    array([0, 1, 2, 1])
    """
    first, confirmed = _within(images, small(images), progress)
    return pair_representatives(confirmed, len(first))[first]


def _within(images: Images, pixels: Images, progress: Progress | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (the first image equal to each, int64 [N]; the confirmed pairs of such first images, int64 [m, 2]).

    pixels: the images at 32x32.
    """
    first = collision_groups(_digests(images))
    distinct = np.flatnonzero(first == np.arange(len(first)))
    candidates = distinct[_candidates(_described(pixels[distinct], progress), None, progress)]
    return first, _confirmed(candidates, pixels, pixels, progress)


def settings() -> dict[str, str | float]:
    """Return what decides whether two images are a pair: the descriptor's digest and both thresholds."""
    return {"descriptor": _descriptor().digest, "candidate": CANDIDATE, "confirmed": CONFIRMED}


def _equal(a: Images, b: Images) -> NDArray[np.int64]:
    """Return all (i, j) with equal a[i] and b[j], images without contrast included: int64 [m, 2]."""
    groups = collision_groups(np.concatenate([_digests(a), _digests(b)])).astype(np.uint64)
    return radius_pairs_between(groups[: len(a)], groups[len(a) :], 0)


def _whole(pixels: Images) -> Images:
    return pixels


def _centre(pixels: Images) -> Images:
    return pixels[:, _MARGIN : SIDE - _MARGIN, _MARGIN : SIDE - _MARGIN]


def _mirrored(pixels: Images) -> Images:
    return pixels[:, :, ::-1]


def _mirrored_centre(pixels: Images) -> Images:
    return _mirrored(_centre(pixels))


VIEWS: tuple[Callable[[Images], Images], ...] = (_whole, _centre, _mirrored, _mirrored_centre)


def _candidates(a: Floats, b: Floats | None, progress: Progress | None) -> NDArray[np.int64]:
    """Return the rows of `a` and `b` [n, 128], or i < j of `a`, whose cosine reaches CANDIDATE: int64 [m, 2]."""
    others, found, count = a if b is None else b, [np.empty((0, 2), np.int64)], 0
    for start in _blocks(len(a), progress, "comparing"):
        for low in range(start // _COLUMNS * _COLUMNS if b is None else 0, len(others), _COLUMNS):
            rows, columns = np.nonzero(a[start : start + _BLOCK] @ others[low : low + _COLUMNS].T >= CANDIDATE)
            pairs = np.stack([rows + start, columns + low], axis=1)
            found.append(pairs[pairs[:, 0] < pairs[:, 1]] if b is None else pairs)
            count += len(found[-1])
            if count > _MOST:
                raise ValueError(
                    f"more than {_MOST} pairs look alike: remove equal images first, or use a hash's groups"
                )
    return np.concatenate(found)


def _confirmed(pairs: NDArray[np.int64], a: Images, b: Images, progress: Progress | None) -> NDArray[np.int64]:
    """Return the candidates whose views agree: int64 [m, 2]."""
    (rows, i), (columns, j) = (np.unique(side, return_inverse=True) for side in pairs.T)
    total = np.zeros(len(pairs), np.float32)
    for view in VIEWS:
        mine, theirs = (_described(x[at], progress, view) for x, at in ((a, rows), (b, columns)))
        for k in _blocks(len(pairs), None, ""):  # gathers a block of rows at a time, as there may be many pairs
            total[k : k + _BLOCK] += (mine[i[k : k + _BLOCK]] * theirs[j[k : k + _BLOCK]]).sum(axis=1)
    return pairs[total >= CONFIRMED * len(VIEWS)]


def _described(pixels: Images, progress: Progress | None, view: Callable[[Images], Images] = _whole) -> Floats:
    """Describe a view of each image: float32 [n, 128], zero for an image with hardly any contrast."""
    made = np.empty((len(pixels), WIDTH), np.float32)
    for i in _blocks(len(pixels), progress, "describing"):
        block = pixels[i : i + _BLOCK]
        flat = block.std(axis=(1, 2, 3)) < _FLAT
        made[i : i + _BLOCK] = np.where(flat[:, None], 0, _descriptor()(view(block)))
    return made


def _blocks(n: int, progress: Progress | None, desc: str) -> Iterable[int]:
    starts = range(0, n, _BLOCK)
    return starts if progress is None else progress(starts, total=len(starts), desc=desc, unit="block")


@functools.cache
def _descriptor() -> CopyDescriptor:
    return CopyDescriptor.load(Path(str(resources.files("dedup") / "copies.safetensors")))


def _digests(images: Images) -> NDArray[np.uint64]:
    """Return a 128-bit digest of each image's bytes: uint64 [N, 2]."""
    digests = [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images]
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)

"""What the pass of a `DedupSpec` finds: images that are the same, within a set and between two."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import dedup
from dedup.pixels import small
from experiments.deduplication.spec import HASHES, DedupSpec
from experiments.run.progress import Progress, silent

Images = NDArray[np.uint8]  # [N, H, W, 1 or 3]

SEMANTIC = dedup.SemanticConfig()  # its seed too: the same images give the same code
_PIECE = 4096  # pairs compared at once: 100 MB of float64


class Searched(Protocol):
    """Images as a method wants them: their pixels, or the hash of the originals where these were larger."""

    def pixels(self) -> Images:
        """uint8 [N, H, W, 1 or 3]."""
        ...

    def codes(self, name: str) -> NDArray[np.uint64]:
        """The hash `name` (a key of HASHES) of each: uint64 [N]."""
        ...


@dataclass(frozen=True)
class Found:
    """Which images are the same.

    pairs: int64 [M, 2], sorted: (image that stays, image that goes instead) within a set; (image, its match) between.
    distances: float64 [M], how far apart those of a pair are, in `unit`.
    semantic: the hash that was learnt, where one was.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]
    unit: str
    semantic: dedup.SemanticHash | None = None


def find(spec: DedupSpec, images: Searched, against: Searched | None = None, progress: Progress | None = None) -> Found:
    """Runs the pass over `images`, or between them and `against`."""
    if spec.method in HASHES:
        return _by_hash(spec, images, against)
    if spec.method == "semantic":
        return _by_semantic_hash(images, against, progress)
    pixels, theirs = images.pixels(), None if against is None else against.pixels()
    pairs = dedup.near_duplicates(pixels, theirs, progress=progress)
    if theirs is None:
        pairs = staying_and_going(dedup.pair_groups(pairs, len(pixels)))
    return _with_gray_levels(pairs, pixels, pixels if theirs is None else theirs)


def staying_and_going(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """(lowest index of its group, index) of every image that is not the lowest of its own: int64 [M, 2], sorted.

    `groups`: int64 [N], labelled by their lowest index.
    """
    going = np.flatnonzero(groups != np.arange(len(groups)))
    order = np.argsort(groups[going], kind="stable")
    return np.stack([groups[going], going], axis=1)[order]


def colliding(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int64]:
    """All (i, j) with a[i] equal to b[j], codes of one or more words: int64 [M, 2], sorted."""
    groups = dedup.collision_groups(np.concatenate([a, b])).astype(np.uint64)
    return dedup.radius_pairs_between(groups[: len(a)], groups[len(a) :], 0)


def apart(a: Images, b: Images) -> NDArray[np.float64]:
    """Mean absolute difference of a[i] and b[i] at 32x32, their mean brightness made equal, in gray levels: [n]."""
    difference = small(a).astype(np.float64) - small(b)
    difference -= difference.mean(axis=(1, 2, 3), keepdims=True)
    return np.abs(difference).mean(axis=(1, 2, 3))


def _by_hash(spec: DedupSpec, images: Searched, against: Searched | None) -> Found:
    assert spec.radius is not None
    codes = images.codes(spec.method)
    if against is None:
        theirs, pairs = codes, staying_and_going(dedup.radius_groups(codes, spec.radius))
    else:
        theirs = against.codes(spec.method)
        pairs = dedup.radius_pairs_between(codes, theirs, spec.radius)
    bits = np.bitwise_count(codes[pairs[:, 0]] ^ theirs[pairs[:, 1]])
    return Found(pairs, bits.astype(np.float64), "bits")


def _by_semantic_hash(images: Searched, against: Searched | None, progress: Progress | None) -> Found:
    """The hash is learnt from all the images there are."""
    pixels = small(images.pixels())
    theirs = pixels if against is None else small(against.pixels())
    everything = pixels if against is None else np.concatenate([pixels, theirs])
    with _one_thread():
        learnt = dedup.SemanticHash.fit(everything, SEMANTIC, progress=_callback(progress))
    if against is None:
        pairs = staying_and_going(dedup.collision_groups(learnt(pixels)))
    else:
        pairs = colliding(learnt(pixels), learnt(theirs))
    found = _with_gray_levels(pairs, pixels, theirs)
    return Found(found.pairs, found.distances, found.unit, learnt)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Its products are small: a second thread gains little, and waits for its core wherever others work."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _callback(progress: Progress | None) -> Callable[[int, float], None]:
    """What `SemanticHash.fit` calls after every step: it moves `progress` on."""
    steps = range(SEMANTIC.steps)
    bar = iter((progress or silent)(steps, total=len(steps), desc="learning the semantic code", unit="step"))
    next(bar)
    return lambda step, loss: next(bar, None)  # type: ignore[return-value]


def _with_gray_levels(pairs: NDArray[np.int64], images: Images, theirs: Images) -> Found:
    pieces = [pairs[i : i + _PIECE] for i in range(0, len(pairs), _PIECE)]
    distances = [apart(images[piece[:, 0]], theirs[piece[:, 1]]) for piece in pieces]
    return Found(pairs, np.concatenate([np.empty(0), *distances]), "gray levels")

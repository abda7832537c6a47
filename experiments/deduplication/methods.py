"""Find images that are the same, within one set of images or between two: arrays in, pairs of indices out."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

import dedup
from dedup.pixels import small
from experiments.deduplication.spec import HASHES, DedupSpec
from experiments.run.progress import Progress, silent

Images = NDArray[np.uint8]  # [N, H, W, 1 or 3]
Pairs = NDArray[np.int64]  # [M, 2]

SEMANTIC = dedup.SemanticConfig()  # with its seed, so that the same images give the same code
TURNS = (  # what was done to an image if it matches in the orientation of that column of `dedup.turned_codes`
    "",
    "mirrored left to right",
    "mirrored top to bottom",
    "turned by 180 degrees",
    "transposed",
    "turned by 90 degrees counterclockwise",  # clockwise, it matches
    "turned by 90 degrees clockwise",
    "mirrored along the other diagonal",
)
_PIECE = 4096  # pairs measured at once: 100 MB of float64


@dataclass(frozen=True)
class Found:
    """Which images are the same.

    pairs: int64 [M, 2], sorted. Within a set: (image that is kept, image that is removed for it); image i is removed if
    and only if a kept image before it is the same, and for the first such. Between two sets: (image of the first, its
    match in the second).
    distances: float64 [M], the distance between the two images of each pair, in `unit`.
    unit: "bits" for a hash, else "gray levels".
    semantic: the hash that was learnt; None for the other methods.
    turns: for each pair what was done to its second image, one of TURNS; None unless turned copies were looked for.
    """

    pairs: Pairs
    distances: NDArray[np.float64]
    unit: str
    semantic: dedup.SemanticHash | None = None
    turns: list[str] | None = None


def comparable(images: Images, spec: DedupSpec) -> np.ndarray:
    """Return what the pass compares.

    That is uint64 [N] for a hash, uint64 [N, 8] for one that finds turned copies, uint8 [N, 32, 32, 3] for "semantic",
    and else the images.
    """
    if spec.turned:
        return dedup.hash_chunks(images, partial(dedup.turned_codes, hash=spec.method))
    if spec.method in HASHES:
        return dedup.hash_chunks(images, getattr(dedup, spec.method))
    return small(images) if spec.method == "semantic" else images


def find(
    spec: DedupSpec,
    compared: np.ndarray,
    against: np.ndarray | None = None,
    *,
    progress: Progress = silent,
    semantic: dedup.SemanticConfig = SEMANTIC,
) -> Found:
    """Run the pass within `compared`, or between it and `against`; both are what `comparable` returns.

    semantic: settings of the training of the semantic hash, which uses all these images.
    """
    other = compared if against is None else against
    if spec.radius is not None and spec.turned:
        if against is None:
            pairs = removals(dedup.turned_representatives(compared, spec.radius))
        else:
            pairs = dedup.turned_pairs(compared, against, radius=spec.radius)
        each = np.bitwise_count(compared[pairs[:, 0], :1] ^ other[pairs[:, 1]])  # [M, 8]
        turns = [TURNS[best] for best in each.argmin(axis=1).tolist()]
        return Found(pairs, each.min(axis=1).astype(np.float64), "bits", turns=turns)
    if spec.radius is not None:
        if against is None:
            pairs = removals(dedup.radius_representatives(compared, spec.radius))
        else:
            pairs = dedup.radius_pairs_between(compared, against, spec.radius)
        bits = np.bitwise_count(compared[pairs[:, 0]] ^ other[pairs[:, 1]])
        return Found(pairs, bits.astype(np.float64), "bits")
    learnt = None
    if spec.method == "semantic":
        learnt = _learn(compared if against is None else np.concatenate([compared, against]), semantic, progress)
        codes = learnt(compared)
        pairs = removals(dedup.collision_groups(codes)) if against is None else equal_pairs(codes, learnt(against))
    elif against is None:
        pairs = removals(dedup.near_duplicate_representatives(compared, progress=progress))
    else:
        pairs = dedup.near_duplicates(compared, against, progress=progress)
    pieces = [pairs[i : i + _PIECE] for i in range(0, len(pairs), _PIECE)]
    distances = [mean_difference(compared[piece[:, 0]], other[piece[:, 1]]) for piece in pieces]
    return Found(pairs, np.concatenate([np.empty(0), *distances]), "gray levels", learnt)


def find_removed(images: Images, spec: DedupSpec | None, progress: Progress = silent) -> Pairs:
    """Return (image kept, image that the pass removes for it), int64 [M, 2], sorted; no pairs if `spec` is None."""
    if spec is None:
        return np.empty((0, 2), np.int64)
    return find(spec, comparable(images, spec), progress=progress).pairs


def removals(representatives: NDArray[np.int64]) -> Pairs:
    """Return (index that is kept, index that is removed for it), int64 [M, 2], sorted.

    representatives: int64 [N], for each image the kept one that it is removed for, its own index if it is kept.
    """
    removed = np.flatnonzero(representatives != np.arange(len(representatives)))
    order = np.argsort(representatives[removed], kind="stable")
    return np.stack([representatives[removed], removed], axis=1)[order]


def equal_pairs(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> Pairs:
    """Return all (i, j) for which the codes a[i] and b[j], of one or more words, are equal: int64 [M, 2], sorted."""
    groups = dedup.collision_groups(np.concatenate([a, b])).astype(np.uint64)
    return dedup.radius_pairs_between(groups[: len(a)], groups[len(a) :], 0)


def mean_difference(a: Images, b: Images) -> NDArray[np.float64]:
    """Return the mean absolute difference of a[i] and b[i], in gray levels at 32x32, at equal mean brightness: [n]."""
    difference = small(a).astype(np.float64) - small(b)
    difference -= difference.mean(axis=(1, 2, 3), keepdims=True)
    return np.abs(difference).mean(axis=(1, 2, 3))


def _learn(images: Images, config: dedup.SemanticConfig, progress: Progress) -> dedup.SemanticHash:
    """Learn on one thread: the products are small, a second thread gains little and waits for its core under load."""
    import torch

    steps = iter(progress(range(config.steps), total=config.steps, desc="learning the semantic code", unit="step"))
    next(steps)

    def advance(step: int, loss: float) -> None:
        next(steps, None)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return dedup.SemanticHash.fit(images, config, progress=advance)
    finally:
        torch.set_num_threads(threads)

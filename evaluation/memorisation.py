"""Whether samples are copies of training images, and whether they are all alike, from distances alone.

A sample is counted as a copy where it is at most a third as far from one training image as from any other (Yoon et al.
2023, Gu et al. 2023, on diffusion models): blur, which brings a sample nearer to all images at once, is not mistaken
for it. Only a near-exact copy is that near: one mirrored or shifted by two pixels is not counted, in features either.
How often real images do that, those of the training set among themselves, is measured beside it: in a set full of
near-duplicates copies cannot be told.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact
from torch import Tensor

from evaluation.neighbours import k_nearest, mean_distance, nearest_others

COPY = 1 / 3  # distance to the nearest over that to the second nearest
LEVEL = 0.025
COMPARED = 256  # points whose distances from one another are averaged


@dataclass(frozen=True)
class Nearness:
    """How samples lie to training images, in one space of points; distances in its units."""

    n: int  # samples
    copies: int  # of them: at most a third as far from one training image as from any other
    references: int  # training images looked at in the same way, among themselves
    reference_copies: int
    below_1_percent: float  # % of samples nearer to a training image than all but 1 % of those are to one another
    below_5_percent: float
    median_ratio: float  # median distance to the nearest training image over that of training images to their nearest
    diversity: float  # mean distance between samples over that between training images
    spacing: float  # median distance between a sample and the nearest other over that among as many training images
    nearest: NDArray[np.int64]  # [n], into the training images

    @property
    def memorised(self) -> bool:
        """Whether samples are copies more often than training images are of one another, by Fisher's exact test."""
        others = self.n - self.copies, self.references - self.reference_copies
        test = fisher_exact([[self.copies, others[0]], [self.reference_copies, others[1]]], alternative="greater")
        return bool(test.pvalue < LEVEL)


def nearness(samples: Tensor, training: Tensor, *, seed: int = 0) -> Nearness:
    """Looks at `samples` [n, ...] among `training` [m, ...], n and m >= 3, of one shape behind the first dimension.

    As many training images as there are samples, drawn by `seed`, are looked at among all of them: what to expect of
    real images. Raises ValueError for fewer points, or shapes that do not fit.
    """
    if min(len(samples), len(training)) < 3:
        raise ValueError(f"need three samples and three training images, got {len(samples)} and {len(training)}")
    distances, index = k_nearest(samples, training, 2)
    drawn = np.random.default_rng(seed).permutation(len(training))[: len(samples)]
    references, _ = nearest_others(training, drawn, 2)
    alike = training[drawn]
    among = nearest_others(samples, np.arange(len(samples)))[0], nearest_others(alike, np.arange(len(alike)))[0]
    low, high = np.percentile(references[:, 0], [1, 5])
    return Nearness(
        n=len(samples),
        copies=_copies(distances),
        references=len(references),
        reference_copies=_copies(references),
        below_1_percent=100 * float(np.mean(distances[:, 0] <= low)),
        below_5_percent=100 * float(np.mean(distances[:, 0] <= high)),
        median_ratio=_over(_median(distances), _median(references)),
        diversity=_over(mean_distance(samples[:COMPARED]), mean_distance(alike[:COMPARED])),
        spacing=_over(_median(among[0]), _median(among[1])),
        nearest=index[:, 0],
    )


def _copies(distances: NDArray[np.float32]) -> int:
    return int((distances[:, 0] <= COPY * distances[:, 1]).sum())


def _median(distances: NDArray[np.float32]) -> float:
    return float(np.median(distances[:, 0]))


def _over(value: float, reference: float) -> float:
    return value / reference if reference > 0 else float("nan")

"""Tell from distances whether samples are copies of training images, and whether they are all alike.

A sample counts as a copy if it is at most a third as far from one training image as from any other (Yoon et al. 2023,
Gu et al. 2023, on diffusion models). Blur brings a sample nearer to all images at once, so it is not mistaken for a
copy. Only a near-exact copy is that near: one that is mirrored or shifted by two pixels is not counted, neither in
pixels nor in features. The same count is made for training images among themselves, because in a set full of
near-duplicates copies cannot be told from ordinary images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact
from torch import Tensor

from evaluation.neighbours import k_nearest, mean_distance, nearest_others

COPY = 1 / 3  # largest ratio for a copy: distance to the nearest over distance to the second nearest
LEVEL = 0.025  # of Fisher's test
COMPARED = 256  # points whose pairwise distances are averaged


@dataclass(frozen=True)
class Nearness:
    """How near samples are to training images, in one space of points.

    >>> training = torch.randn(50, 8)
    >>> evaluation.nearness(training[:20] + 1e-3, training).copies
    20
    """

    n: int  # number of samples
    copies: int  # samples that are at most a third as far from one training image as from any other
    references: int  # training images that are compared in the same way with the other training images
    reference_copies: int
    below_1_percent: float  # % of samples as near to a training image as the nearest 1 % of training images to another
    below_5_percent: float  # the same with the nearest 5 %
    median_ratio: float  # median distance of samples to the nearest training image, over that of training images
    diversity: float  # mean distance between samples, over that between training images
    spacing: float  # median distance of a sample to the nearest other sample, over that of as many training images
    nearest: NDArray[np.int64]  # [n], indices of the nearest training images

    @property
    def memorised(self) -> bool:
        """Whether samples are copies significantly more often than training images (Fisher's exact test)."""
        others = self.n - self.copies, self.references - self.reference_copies
        test = fisher_exact([[self.copies, others[0]], [self.reference_copies, others[1]]], alternative="greater")
        return bool(test.pvalue < LEVEL)


def nearness(samples: Tensor, training: Tensor, *, seed: int = 0) -> Nearness:
    """Compare `samples` [n, ...] with `training` [m, ...], n and m >= 3, of one shape after the first dimension.

    As many training images as there are samples, drawn by `seed`, are compared with the other training images: they
    show what to expect of real images. Raises ValueError for fewer points, and for shapes that do not fit.

    >>> training = torch.randn(50, 8)
    >>> evaluation.nearness(training[:20] + 1e-3, training).memorised  # samples that are copies
    True
    >>> evaluation.nearness(torch.randn(20, 8), training).memorised
    False
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

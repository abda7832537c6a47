"""What a figure is worth: spread over draws, 95 % intervals, and whether two methods differ on the same test images.

Accuracies and errors are in percent, differences in percentage points, tests two-sided. Two methods are compared in
pairs, on the same images or draws (McNemar, Psychometrika 12, 1947; Dietterich, Neural Computation 10, 1998).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

BLOCK = 2**22  # numbers that a block of resamples holds at once: 32 MB in float64


class Spread(NamedTuple):
    """Mean and sample standard deviation (ddof 1), in the values' unit."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval; `kind` says in words which interval it is."""

    estimate: float
    low: float
    high: float
    kind: str


@dataclass(frozen=True)
class PairedTest:
    """Two methods on the same images."""

    difference: float  # of accuracies, a's less b's: > 0 where a is better
    only_a: int  # images that a alone gets right
    only_b: int  # images that b alone gets right
    n_test: int
    p_value: float


@dataclass(frozen=True)
class DrawsTest:
    """Two methods over the same draws."""

    difference: Interval  # of errors, a's less b's: < 0 where a is better
    sd: float  # of the draws' differences, ddof 1
    n_draws: int
    t: float
    p_value: float


def spread(values: ArrayLike) -> Spread:
    """Mean and sd (ddof 1) of `values` [draws >= 2]. Raises ValueError for another shape, NaN and infinity."""
    found = _numbers("values", values)
    return Spread(float(found.mean()), float(found.std(ddof=1)))


def interval95_of_mean(values: ArrayLike) -> Interval:
    """Student's t interval of the mean of `values` [draws >= 2], in their unit; ValueError as `spread`.

    Takes the draws for independent: of overlapping subsets of one training set it holds for that set alone.
    """
    (mean, sd), n = spread(values), np.size(values)
    half = float(stats.t.ppf(0.975, n - 1)) * sd / n**0.5
    return Interval(mean, mean - half, mean + half, f"95 % t interval over {n} draws")


def interval95_of_proportion(n_right: int, n_test: int) -> Interval:
    """Clopper-Pearson (exact) interval of one classifier's accuracy in percent, over test sets drawn anew.

    n_right of n_test images are right. Raises ValueError unless 0 <= n_right <= n_test and n_test >= 1.
    """
    if not 0 <= n_right <= n_test or n_test < 1:
        raise ValueError(f"n_right must lie in 0..n_test, and n_test be at least 1, got {n_right} and {n_test}")
    bounds = stats.binomtest(int(n_right), int(n_test)).proportion_ci(0.95, method="exact")
    low, high = (100 * float(bound) for bound in bounds)
    return Interval(100 * n_right / n_test, low, high, f"95 % Clopper-Pearson interval over {n_test:,} images")


def mcnemar(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> PairedTest:
    """McNemar's exact test of bool [n >= 1] each: whether a method is right on each image. ValueError for others."""
    a, b = _outcomes(right_a, right_b, dims=(1,))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p = float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0  # fair coins
    return PairedTest(100 * (only_a - only_b) / len(a), only_a, only_b, len(a), p)


def paired_bootstrap(
    right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], *, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the difference of accuracies, a's less b's, in percentage points.

    right_a, right_b: bool [n], or [draws, n] of the same draws and images. resamples: >= 100.
    Images are resampled, both methods together; of [draws, n] also the draws, independently (Owen, Annals of Applied
    Statistics 1, 2007): too wide where chance acts on single cells, too narrow with few draws. ValueError for others.
    """
    a, b = _outcomes(right_a, right_b, dims=(1, 2))
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100, got {resamples}")
    difference = np.atleast_2d(a.astype(np.int8) - b.astype(np.int8))
    draws, n = difference.shape
    patterns, count = np.unique(difference, axis=1, return_counts=True)  # [draws, P], [P]: alike images
    rng = np.random.default_rng(seed)
    totals = np.arange(-draws, draws + 1)  # what an image can add to a resample's sum over its draws
    sums, block = [], max(1, BLOCK // patterns.shape[1])
    for size in (min(block, resamples - start) for start in range(0, resamples, block)):
        times = rng.multinomial(draws, np.full(draws, 1 / draws), size)  # [size, draws]
        total = (times.astype(float) @ patterns).astype(np.int64) + draws  # [size, P], 0..2 draws; exact in float64
        cell = (total + len(totals) * np.arange(size)[:, None]).ravel()
        images = np.bincount(cell, np.tile(count, size), size * len(totals)).reshape(size, -1)
        sums.append(rng.multinomial(n, images / n) @ totals)  # the resampled images, by what each adds
    low, high = 100 * np.quantile(np.concatenate(sums), [0.025, 0.975]) / (draws * n)
    kind = f"95 % percentile bootstrap interval over {n:,} images" + (f" and {draws} draws" if a.ndim == 2 else "")
    return Interval(100 * float(difference.mean()), float(low), float(high), kind)


def paired_over_draws(errors_a: ArrayLike, errors_b: ArrayLike) -> DrawsTest:
    """Paired t test of two methods' errors in percent, [draws >= 2] each, over the same draws.

    Optimistic where draws overlap, as subsets of one training set do: their errors are correlated, and p comes out too
    small (Dietterich 1998). Raises ValueError for other shapes, NaN, infinity, and differences that do not vary.
    """
    a, b = _numbers("errors_a", errors_a), _numbers("errors_b", errors_b)
    if a.shape != b.shape:
        raise ValueError(f"errors_a and errors_b must hold the same draws, got {len(a)} and {len(b)}")
    sd = spread(a - b).sd
    if sd <= 1e-12 * max(np.abs(a).max(), np.abs(b).max()):  # rounding errors of equal differences
        raise ValueError(f"the differences must vary over the draws, got {a[0] - b[0]:g} in each")
    test = stats.ttest_rel(a, b)
    return DrawsTest(interval95_of_mean(a - b), sd, len(a), t=float(test.statistic), p_value=float(test.pvalue))


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all():
        raise ValueError(f"{name} must be at least two finite numbers, one a draw, got {found.tolist()}")
    return found


def _outcomes(right_a: NDArray, right_b: NDArray, *, dims: tuple[int, ...]) -> tuple[NDArray, NDArray]:
    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.shape != b.shape or a.ndim not in dims or a.size == 0 or a.dtype != bool or b.dtype != bool:
        allowed = " or ".join("[n]" if d == 1 else "[draws, n]" for d in dims)
        got = f"{a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}"
        raise ValueError(f"right_a and right_b must be bool {allowed} of one shape, not empty, got {got}")
    return a, b

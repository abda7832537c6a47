"""How sure a figure is: spread over draws, 95 % intervals, and whether two methods differ on the same test images.

Accuracies and errors are in percent, differences in percentage points, tests two-sided unless asked otherwise. Two
methods are compared in pairs, on the same images and draws (McNemar, Psychometrika 12, 1947; Dietterich, Neural
Computation 10, 1998; Nadeau & Bengio, Machine Learning 52, 2003).
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

BLOCK = 2**22  # numbers that a block of resamples holds at once: 32 MB in float64
LARGEST = 1e150  # squares of larger numbers overflow: they do not count as finite
ROUNDING = 0.01  # percentage points by which two means of the same outcomes may differ if one was rounded

Alternative = Literal["two-sided", "less", "greater"]  # a small p says: a differs from b, is worse, is better


class Spread(NamedTuple):
    """Mean and sample standard deviation (ddof 1), in the values' unit.

    >>> evaluation.Spread(mean=22.1, sd=0.4).sd
    0.4
    """

    mean: float
    sd: float


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval; `kind` names the interval in words.

    >>> interval = evaluation.interval95_of_proportion(80, 100)
    >>> interval.estimate, round(interval.low, 1), round(interval.high, 1), interval.kind
    (80.0, 70.8, 87.3, '95 % Clopper-Pearson interval over 100 images')
    """

    estimate: float
    low: float
    high: float
    kind: str


@dataclass(frozen=True)
class PairedTest:
    """Two methods on the same images.

    >>> a = np.array([True, True, True, False])
    >>> b = np.array([True, False, False, False])
    >>> evaluation.mcnemar(a, b)
    PairedTest(difference=50.0, only_a=2, only_b=0, n_test=4, p_value=0.5)
    """

    difference: float  # a's accuracy minus b's: > 0 if a is better
    only_a: int  # images that only a gets right
    only_b: int  # images that only b gets right
    n_test: int
    p_value: float


@dataclass(frozen=True)
class DrawsTest:
    """Two methods on the same images, over the same draws of labels.

    >>> test = evaluation.paired_over_draws([100, 50, 75], [50, 50, 75], [75, 75], [58.33, 58.33])
    >>> round(test.difference.estimate, 2), test.se_draws
    (16.67, 0.0)
    """

    difference: Interval  # a's accuracy minus b's: > 0 if a is better
    se_images: float  # the part of its standard error that comes from the choice of test images
    se_draws: float  # the part that comes from the draws of labels
    t: float
    df: float
    p_value: float


class Agreement(NamedTuple):
    """How far two methods agree.

    share: percent of the images that both get right or both get wrong. kappa: Cohen's; NaN if neither method varies.

    >>> a = np.array([True, True, True, False])
    >>> b = np.array([True, False, False, False])
    >>> evaluation.agreement(a, b)
    Agreement(share=50.0, kappa=0.2)
    """

    share: float
    kappa: float


def spread(values: ArrayLike) -> Spread:
    """Return mean and sd (ddof 1) of `values` [draws >= 2]. Raises ValueError for another shape, NaN and infinity.

    >>> evaluation.spread([22.0, 23.0, 24.0])
    Spread(mean=23.0, sd=1.0)
    """
    found = _numbers("values", values)
    return Spread(float(found.mean()), float(found.std(ddof=1)))


def interval95_of_mean(values: ArrayLike) -> Interval:
    """Return Student's t interval of the mean of `values` [draws >= 2], in their unit. Raises ValueError as `spread`.

    It assumes independent draws. For overlapping subsets of one training set, it holds only for that set.

    >>> interval = evaluation.interval95_of_mean([22.0, 23.0, 24.0])
    >>> round(interval.low, 2), round(interval.high, 2)
    (20.52, 25.48)
    """
    (mean, sd), n = spread(values), np.size(values)
    half = float(stats.t.ppf(0.975, n - 1)) * sd / n**0.5
    return Interval(mean, mean - half, mean + half, f"95 % t interval over {n} draws")


def interval95_of_proportion(n_right: int, n_test: int) -> Interval:
    """Return the exact (Clopper-Pearson) interval of one classifier's accuracy in percent, over new test sets.

    n_right of n_test images are right. Raises ValueError unless 0 <= n_right <= n_test and n_test >= 1.

    >>> interval = evaluation.interval95_of_proportion(8401, 10_000)
    >>> interval.estimate, round(interval.low, 2), round(interval.high, 2)
    (84.01, 83.28, 84.72)
    """
    if not 0 <= n_right <= n_test or n_test < 1:
        raise ValueError(f"n_right must lie in 0..n_test, and n_test be at least 1, got {n_right} and {n_test}")
    bounds = stats.binomtest(int(n_right), int(n_test)).proportion_ci(0.95, method="exact")
    low, high = (100 * float(bound) for bound in bounds)
    return Interval(100 * n_right / n_test, low, high, f"95 % Clopper-Pearson interval over {n_test:,} images")


def mcnemar(
    right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], *, alternative: Alternative = "two-sided"
) -> PairedTest:
    """Do McNemar's exact test. right_a, right_b: bool [n >= 1], whether each image is right; else ValueError.

    >>> a = np.array([True, True, True, False])
    >>> b = np.array([True, False, False, False])
    >>> evaluation.mcnemar(a, b).p_value
    0.5
    """
    a, b = _outcomes(right_a, right_b, dims=(1,))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    coins = only_a + only_b  # like tosses of a fair coin if neither method is better
    p = float(stats.binomtest(only_a, coins, 0.5, alternative).pvalue) if coins else 1.0
    return PairedTest(100 * (only_a - only_b) / len(a), only_a, only_b, len(a), p)


def paired_bootstrap(
    right_a: NDArray[np.bool_], right_b: NDArray[np.bool_], *, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Return the percentile bootstrap of the difference in accuracy, a's minus b's, in percentage points.

    right_a, right_b: bool [n], or [draws, n] of the same draws and images. resamples: >= 100.
    Images are resampled, for both methods together. Arrays [draws, n] are also resampled by draws, independently of the
    images (Owen, Annals of Applied Statistics 1, 2007). That interval is too wide if chance acts on single cells, and
    too narrow with few draws. Raises ValueError for other arguments.

    >>> a = np.array([True, True, True, False])
    >>> b = np.array([True, False, False, False])
    >>> interval = evaluation.paired_bootstrap(a, b)
    >>> interval.estimate, interval.low, interval.high
    (50.0, 0.0, 100.0)
    """
    a, b = _outcomes(right_a, right_b, dims=(1, 2))
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100, got {resamples}")
    difference = np.atleast_2d(a.astype(np.int8) - b.astype(np.int8))
    draws, n = difference.shape
    patterns, count = np.unique(difference, axis=1, return_counts=True)  # [draws, P], [P]: images with equal outcomes
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


def paired_over_draws(
    images_a: ArrayLike,
    images_b: ArrayLike,
    draws_a: ArrayLike,
    draws_b: ArrayLike,
    *,
    overlap: float = 0.0,
    alternative: Alternative = "two-sided",
) -> DrawsTest:
    """Do a paired t test of two methods that were fitted to the same R draws and scored on the same n images.

    images_a, images_b: percent of the draws in which each image is right, [n >= 2]. draws_a, draws_b: percent of the
        images that each draw gets right, [R >= 2]. Both describe the same outcomes, so their means agree within 0.01.
    overlap: share of a draw's rows that another draw has too, in [0, 1): rows drawn / rows drawn from.

    The variance of the difference d is var_images(d) / n + var_draws(d) (1 / R + overlap / (1 - overlap)). The sum is
    Owen's; it counts the chance of single cells twice. The second term of the draws is Nadeau & Bengio's correction,
    because the effect of rows that draws share does not average out. It equals the delete-d jackknife of a pool of rows
    (Shao & Wu, Annals of Statistics 17, 1989), which overestimates on average (Efron & Stein, 1981). So the test rather
    misses a difference than reports a false one. Degrees of freedom are those of Welch and Satterthwaite. Raises
    ValueError for other shapes, NaN, infinity and means that disagree.

    >>> right_a = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])  # [draws, images]
    >>> right_b = np.array([[1, 0, 0, 0], [1, 0, 0, 0]])
    >>> both = [100 * right.mean(axis) for axis in (0, 1) for right in (right_a, right_b)]
    >>> evaluation.paired_over_draws(*both).difference.estimate
    37.5
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
    if alternative not in get_args(Alternative):
        raise ValueError(f"alternative must be one of {', '.join(get_args(Alternative))}, got {alternative!r}")
    pairs = [("images", images_a, images_b), ("draws", draws_a, draws_b)]
    over_images, over_draws = (_differences(*pair) for pair in pairs)
    mean, n, draws = float(over_images.mean()), len(over_images), len(over_draws)
    if abs(mean - over_draws.mean()) > 2 * ROUNDING:
        raise ValueError(f"images and draws must tell the same difference, got {mean:.4f} and {over_draws.mean():.4f}")
    of_images = float(over_images.var(ddof=1)) / n
    of_draws = float(over_draws.var(ddof=1)) * (1 / draws + overlap / (1 - overlap))
    variance = of_images + of_draws
    if variance > 1e-20:  # more than rounding errors of equal differences
        t, df = mean / variance**0.5, variance**2 / (of_images**2 / (n - 1) + of_draws**2 / (draws - 1))
    else:
        t, df = (0.0 if abs(mean) < ROUNDING else math.copysign(math.inf, mean)), float(n - 1)
    half = float(stats.t.ppf(0.975, df)) * variance**0.5
    tails = {"greater": stats.t.sf(t, df), "less": stats.t.cdf(t, df), "two-sided": 2 * stats.t.sf(abs(t), df)}
    kind = f"95 % t interval over {n:,} images and {draws} draws"
    return DrawsTest(
        Interval(mean, mean - half, mean + half, kind), of_images**0.5, of_draws**0.5, t, df, float(tails[alternative])
    )


def agreement(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> Agreement:
    """Measure how far two methods agree (Cohen, 1960). bool [n >= 1], whether each image is right; else ValueError.

    >>> a = np.array([True, True, True, False])
    >>> b = np.array([True, False, False, False])
    >>> evaluation.agreement(a, b).share
    50.0
    """
    a, b = _outcomes(right_a, right_b, dims=(1,))
    share, p, q = float((a == b).mean()), float(a.mean()), float(b.mean())
    chance = p * q + (1 - p) * (1 - q)
    return Agreement(100 * share, (share - chance) / (1 - chance) if chance < 1 else math.nan)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Correct `p_values` [k] for k tests, so that p bounds the chance of any false alarm among them (Holm, 1979).

    >>> evaluation.holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values must be numbers in [0, 1], got {p.tolist()}")
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def _differences(what: str, of_a: ArrayLike, of_b: ArrayLike) -> NDArray[np.float64]:
    a, b = _numbers(f"{what}_a", of_a), _numbers(f"{what}_b", of_b)
    if a.shape != b.shape:
        raise ValueError(f"{what}_a and {what}_b must be of the same {what}, got {len(a)} and {len(b)}")
    return a - b


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    given = np.asarray(values)
    found = given if np.iscomplexobj(given) else given.astype(np.float64)
    if found.ndim != 1 or len(found) < 2 or not (np.abs(found) < LARGEST).all() or np.iscomplexobj(found):
        raise ValueError(f"{name} must be at least two finite numbers, got {found.tolist()}")
    return found


def _outcomes(right_a: NDArray, right_b: NDArray, *, dims: tuple[int, ...]) -> tuple[NDArray, NDArray]:
    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.shape != b.shape or a.ndim not in dims or a.size == 0 or a.dtype != bool or b.dtype != bool:
        allowed = " or ".join("[n]" if d == 1 else "[draws, n]" for d in dims)
        got = f"{a.dtype} {list(a.shape)} and {b.dtype} {list(b.shape)}"
        raise ValueError(f"right_a and right_b must be bool {allowed} of one shape, not empty, got {got}")
    return a, b

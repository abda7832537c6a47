"""Spread, intervals and paired tests against closed forms, brute force and simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from evaluation import (
    Spread,
    interval95_of_mean,
    interval95_of_proportion,
    mcnemar,
    paired_bootstrap,
    paired_over_draws,
    spread,
)


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Two bool [n] with these counts."""
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def exact_p(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p by counting the fair coins' outcomes."""
    n, few = only_a + only_b, min(only_a, only_b)
    return float(min(Fraction(1), 2 * sum(Fraction(math.comb(n, k), 2**n) for k in range(few + 1))))


def test_spread_by_hand():
    assert spread([1, 2, 3, 6]) == Spread(mean=3.0, sd=pytest.approx(math.sqrt(14 / 3)))  # not the ddof 0 of 14 / 4
    mean, sd = spread(np.array([5.0, 5.0]))
    assert (mean, sd) == (5.0, 0.0)


def test_interval_of_a_mean_by_hand():
    found = interval95_of_mean([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)  # t of 2 degrees of freedom, as tables print it; the sd is 1
    assert (found.estimate, found.low, found.high) == pytest.approx((2.0, 2 - half, 2 + half), rel=1e-6)
    assert found.kind == "95 % t interval over 3 draws"
    values = np.random.default_rng(0).normal(22.0, 0.5, 10)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = interval95_of_mean(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_interval_of_a_proportion_has_the_tails_it_claims():
    found = interval95_of_proportion(7_979, 10_000)
    assert found.estimate == pytest.approx(79.79) and found.low < 79.79 < found.high
    assert stats.binom.sf(7_978, 10_000, found.low / 100) == pytest.approx(0.025)  # so many or more right
    assert stats.binom.cdf(7_979, 10_000, found.high / 100) == pytest.approx(0.025)  # so many or fewer
    assert found.kind == "95 % Clopper-Pearson interval over 10,000 images"
    none = interval95_of_proportion(0, 20)
    assert (none.low, none.high) == (0.0, pytest.approx(100 * (1 - 0.025 ** (1 / 20))))
    assert interval95_of_proportion(20, 20).high == 100.0


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (0, 6), (3, 12), (12, 3), (7, 7), (30, 55)])
def test_mcnemar_is_the_count_of_coins(only_a, only_b):
    found = mcnemar(*pairs(40, only_a, only_b, 25))
    n = 65 + only_a + only_b
    assert (found.only_a, found.only_b, found.n_test) == (only_a, only_b, n)
    assert found.difference == pytest.approx(100 * (only_a - only_b) / n)
    assert found.p_value == pytest.approx(exact_p(only_a, only_b))


def test_mcnemar_raises_few_false_alarms_and_sees_a_difference():
    rng = np.random.default_rng(0)
    n = 500
    easy = rng.random((2_000, n)) < 0.6  # images that both get right: the outcomes are correlated
    a, b = (easy | (rng.random(easy.shape) < 0.5) for _ in range(2))
    alarms = np.mean([mcnemar(*pair).p_value <= 0.05 for pair in zip(a, b, strict=True)])
    assert 0.02 <= alarms <= 0.06  # a test that never alarms is not one
    better = easy[:100] | (rng.random((100, n)) < 0.8)
    seen = np.mean([mcnemar(*pair).p_value <= 0.05 for pair in zip(better, b[:100], strict=True)])
    assert seen > 0.95  # about 80 images to 20


def test_images_on_which_both_agree_say_nothing():
    assert mcnemar(*pairs(0, 9, 2, 0)).p_value == mcnemar(*pairs(700, 9, 2, 300)).p_value


def brute_force(a: np.ndarray, b: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Quantiles of the differences of accuracies over resampled draws and images, in points, one resample a turn."""
    rng = np.random.default_rng(seed)
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    differences = []
    for _ in range(resamples):
        of = np.ix_(rng.integers(len(a), size=len(a)), rng.integers(a.shape[1], size=a.shape[1]))
        differences.append(100 * (a[of].mean() - b[of].mean()))
    return np.quantile(differences, [0.025, 0.975])


@pytest.mark.parametrize("draws", [None, 1, 6])
def test_bootstrap_is_that_of_indices(draws):
    rng = np.random.default_rng(1)
    shape = (300,) if draws is None else (draws, 300)
    skill = rng.random(300) + rng.normal(0, 0.15, (draws or 1, 1))
    a, b = ((rng.random(shape) < skill + better).reshape(shape) for better in (0.05, 0.0))
    found = paired_bootstrap(a, b, resamples=20_000)
    expected = brute_force(a, b, resamples=4_000, seed=2)
    assert found.estimate == pytest.approx(100 * (a.mean() - b.mean()))
    # a quantile of 4,000 resamples is known to about 0.04 sd; the interval is 3.9 sd wide
    assert (found.low, found.high) == pytest.approx(expected, abs=0.04 * (found.high - found.low))
    assert found.kind.endswith("over 300 images" if draws is None else f"over 300 images and {draws} draws")


def test_bootstrap_of_many_images_is_the_normal_interval():
    a, b = pairs(7_000, 900, 700, 1_400)
    found = paired_bootstrap(a, b)
    sd = 100 * math.sqrt((0.16 - 0.02**2) / 10_000)
    assert (found.low, found.high) == pytest.approx((2 - 1.96 * sd, 2 + 1.96 * sd), abs=0.05 * sd)


def test_bootstrap_is_the_same_by_blocks_and_another_with_another_seed(monkeypatch):
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 4, 200)) < 0.7
    whole = paired_bootstrap(a, b, resamples=2_000)
    assert paired_bootstrap(a, b, resamples=2_000) == whole
    assert paired_bootstrap(b, a, resamples=2_000).estimate == -whole.estimate
    assert paired_bootstrap(a, b, resamples=2_000, seed=1) != whole
    monkeypatch.setattr("evaluation.statistics.BLOCK", 1_000)  # some twenty resamples a block
    parts = paired_bootstrap(a, b, resamples=2_000)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.1 * (whole.high - whole.low))


def test_bootstrap_covers_what_it_claims():
    rng = np.random.default_rng(4)
    difference = 100 * (0.9 - 0.85)
    covered = []
    for seed in range(500):
        skill = rng.random(400) < 0.5  # half the images are easy for both
        a, b = (skill | (rng.random(400) < p) for p in (0.8, 0.7))
        found = paired_bootstrap(a, b, resamples=500, seed=seed)
        covered.append(found.low <= difference <= found.high)
    assert 0.92 <= np.mean(covered) <= 0.975  # 0.95, three standard errors of 500 trials


def test_bootstrap_of_draws_covers_what_that_of_images_misses():
    """Methods that trade places from draw to draw: images alone do not tell how uncertain their difference is."""
    rng = np.random.default_rng(5)
    both, images = [], []
    for seed in range(200):
        chance = 0.7 + rng.normal(0, 0.04, (2, 10, 1))  # of each method in each draw; no difference on average
        a, b = rng.random((2, 10, 300)) < chance
        found = paired_bootstrap(a, b, resamples=300, seed=seed)
        both.append(found.low <= 0 <= found.high)
        one = paired_bootstrap(a[0], b[0], resamples=300, seed=seed)
        images.append(one.low <= 0 <= one.high)
    assert np.mean(both) >= 0.9 and np.mean(images) < 0.85


def test_paired_over_draws_by_hand_and_against_scipy():
    found = paired_over_draws([20.0, 22.0, 24.0], [21.0, 24.0, 27.0])  # differences -1, -2, -3
    assert (found.difference.estimate, found.sd, found.n_draws) == pytest.approx((-2.0, 1.0, 3))
    assert found.t == pytest.approx(-2 * math.sqrt(3))
    assert found.p_value == pytest.approx(1 - math.sqrt(12 / 14))  # t of 2 degrees of freedom in closed form
    half = 4.302653 / math.sqrt(3)
    assert (found.difference.low, found.difference.high) == pytest.approx((-2 - half, -2 + half), rel=1e-6)
    rng = np.random.default_rng(6)
    a, b = rng.normal(22, 1, (2, 10))
    expected, found = stats.ttest_rel(a, b), paired_over_draws(a, b)
    assert (found.t, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert paired_over_draws(b, a).difference.estimate == pytest.approx(-found.difference.estimate)


RIGHT = np.ones(4, bool)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: spread([1.0]), r"values must be at least two finite numbers, one a draw, got \[1.0\]"),
        (lambda: spread([1.0, math.nan]), r"values must be at least two finite numbers"),
        (lambda: interval95_of_mean([[1.0, 2.0]]), r"values must be at least two finite numbers"),
        (lambda: interval95_of_proportion(11, 10), "n_right must lie in 0..n_test, .* got 11 and 10"),
        (lambda: interval95_of_proportion(-1, 10), "got -1 and 10"),
        (lambda: interval95_of_proportion(0, 0), "got 0 and 0"),
        (
            lambda: mcnemar(RIGHT, RIGHT[:3]),
            r"must be bool \[n\] of one shape, not empty, got bool \[4\] and bool \[3\]",
        ),
        (lambda: mcnemar(RIGHT, RIGHT.astype(int)), r"got bool \[4\] and int64 \[4\]"),
        (lambda: mcnemar(RIGHT[None], RIGHT[None]), r"must be bool \[n\] of one shape"),
        (lambda: mcnemar(RIGHT[:0], RIGHT[:0]), "not empty"),
        (lambda: paired_bootstrap(RIGHT, RIGHT[None]), r"must be bool \[n\] or \[draws, n\] of one shape"),
        (lambda: paired_bootstrap(RIGHT[None, None], RIGHT[None, None]), r"got bool \[1, 1, 4\]"),
        (lambda: paired_bootstrap(RIGHT, RIGHT, resamples=99), "resamples must be at least 100, got 99"),
        (lambda: paired_over_draws([1.0, 2.0], [1.0, 2.0, 3.0]), "must hold the same draws, got 2 and 3"),
        (lambda: paired_over_draws([1.0], [2.0]), r"errors_a must be at least two finite numbers"),
        (lambda: paired_over_draws([1.1, 2.2], [0.1, 1.2]), "the differences must vary over the draws, got 1 in each"),
        (lambda: paired_over_draws([0.0, 0.0], [0.0, 0.0]), "the differences must vary over the draws, got 0 in each"),
    ],
)
def test_what_cannot_be_judged_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()

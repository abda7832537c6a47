"""Spread, intervals and paired tests against closed forms, brute force and simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from evaluation import (
    Spread,
    agreement,
    holm,
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


def margins(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of bool [R, n] each: percent of the draws of each image, percent of the images of each draw."""
    return tuple(100 * right.mean(axis) for axis in (0, 1) for right in (a, b))


def test_paired_over_draws_by_hand():
    images = [100.0, 50.0, 100.0], [50.0, 50.0, 0.0]  # differences 50, 0, 100
    draws = [90.0, 90.0, 70.0], [40.0, 30.0, 30.0]  # differences 50, 60, 40
    found = paired_over_draws(*images, *draws, overlap=0.75)
    assert (found.se_images, found.se_draws) == pytest.approx((50 / math.sqrt(3), 10 * math.sqrt(1 / 3 + 3)))
    variance = 2500 / 3 + 1000 / 3
    assert found.t == pytest.approx(50 / math.sqrt(variance))
    assert found.df == pytest.approx(variance**2 / ((2500 / 3) ** 2 / 2 + (1000 / 3) ** 2 / 2))
    half = stats.t.ppf(0.975, found.df) * math.sqrt(variance)
    difference = found.difference
    assert (difference.low, difference.estimate, difference.high) == pytest.approx((50 - half, 50, 50 + half))
    assert difference.kind == "95 % t interval over 3 images and 3 draws"
    less, greater = (
        paired_over_draws(*images, *draws, overlap=0.75, alternative=side).p_value for side in ("less", "greater")
    )
    assert less + greater == pytest.approx(1) and found.p_value == pytest.approx(2 * greater)
    assert paired_over_draws(*images[::-1], *draws[::-1], overlap=0.75).t == pytest.approx(-found.t)


def test_paired_over_draws_is_welchs_where_images_alone_vary():
    rng = np.random.default_rng(6)
    a, b = 100 * rng.random((2, 200))
    found = paired_over_draws(a, b, [a.mean()] * 5, [b.mean()] * 5)
    expected = stats.ttest_rel(a, b)
    assert (found.t, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_methods_alike_on_every_image():
    one = [50.0, 100.0], [50.0, 100.0], [70.0, 80.0], [70.0, 80.0]
    assert (paired_over_draws(*one).p_value, paired_over_draws(*one).difference.high) == (1.0, 0.0)
    assert paired_over_draws(*one, alternative="less").p_value == 0.5
    better = [60.0, 60.0], [40.0, 40.0], [60.0, 60.0], [40.0, 40.0]
    assert (paired_over_draws(*better).p_value, paired_over_draws(*better).t) == (0.0, math.inf)


def simulated(rng: np.random.Generator, pairs: int, *, gap: float = 0.0, push: float = 0.5) -> np.ndarray:
    """bool [pairs, 2, R, n]: two methods on their own images and their own pool of 24 rows, of which each of 6 draws
    has 22. A row pushes all images one way and each image its own; what a draw gives is settled by its rows alone."""
    images, draws, pool, drawn = 100, 6, 24, 22
    skill = rng.normal(0.8, 1, (pairs, 1, images, 1)) + rng.normal(0, 0.7, (pairs, 2, images, 1))
    skill[:, 1] -= gap
    pushes = push * (rng.normal(size=(pairs, 2, 1, pool)) + rng.normal(size=(pairs, 2, images, pool)))
    left_out = rng.random((pairs, 1, draws, pool)).argsort(-1).argsort(-1) >= drawn
    return np.swapaxes(skill + pushes @ np.swapaxes(~left_out, -1, -2) / math.sqrt(drawn) > 0, -1, -2)


def alarms(outcomes: np.ndarray, overlap: float) -> float:
    """Share of the pairs of which the second is called worse at level 0.05."""
    p = [paired_over_draws(*margins(*pair), overlap=overlap, alternative="greater").p_value for pair in outcomes]
    return float(np.mean(np.array(p) <= 0.05))


def test_over_draws_that_overlap_there_are_no_more_alarms_than_stated():
    """And without the correction many more: the draws' spread hides what the rows that they share have done."""
    outcomes = simulated(np.random.default_rng(7), 2_000)
    assert 0.005 <= alarms(outcomes, 22 / 24) <= most_alarms(2_000)
    assert alarms(outcomes[:500], 0.0) > 0.15
    worse = simulated(np.random.default_rng(8), 200, gap=1.0, push=0.1)  # 74 % to 44 %, on 100 images
    assert alarms(worse, 22 / 24) > 0.95


def test_between_halves_of_the_draws_of_one_method_there_are_no_more_alarms_than_stated():
    """Halves differ by the luck of whole draws: of a test over images alone that is more alarms than it states."""
    rng, pairs = np.random.default_rng(9), 2_000
    luck = rng.normal(0, 0.3, (pairs, 2, 20, 1))
    outcomes = rng.normal(1, 1, (pairs, 1, 1, 100)) + luck + rng.normal(0, 0.5, (pairs, 2, 20, 100)) > 0
    assert 0.01 <= alarms(outcomes, 0.0) <= most_alarms(pairs)
    images = 100 * outcomes.mean(2)
    alone = stats.ttest_rel(images[:, 0], images[:, 1], axis=1, alternative="greater").pvalue
    assert np.mean(alone <= 0.05) > 0.1


def most_alarms(pairs: int) -> float:
    """So many a test of level 0.05 stays below, but once in a thousand times."""
    return float(stats.binom.ppf(0.999, pairs, 0.05)) / pairs


def test_the_gate_of_all_labels_keeps_its_level_and_sees_a_difference():
    rng, pairs = np.random.default_rng(10), 2_000
    skill = rng.normal(1, 1, (pairs, 400))  # images that are hard for all
    a, b, worse = (skill - gap + rng.normal(0, 0.7, skill.shape) > 0 for gap in (0, 0, 0.5))

    def share(others: np.ndarray) -> float:
        p = [mcnemar(x, y, alternative="greater").p_value for x, y in zip(a, others, strict=True)]
        return float(np.mean(np.array(p) <= 0.05))

    assert 0.02 <= share(b) <= most_alarms(pairs) and share(worse) > 0.9


def test_one_sided_mcnemar_counts_one_tail():
    a, b = pairs(40, 12, 3, 25)
    coins = [math.comb(15, k) / 2**15 for k in range(16)]
    assert mcnemar(a, b, alternative="greater").p_value == pytest.approx(sum(coins[12:]))
    assert mcnemar(a, b, alternative="less").p_value == pytest.approx(sum(coins[:13]))
    assert mcnemar(b, a, alternative="less").p_value == pytest.approx(sum(coins[12:]))
    assert mcnemar(a, a, alternative="greater").p_value == 1.0


def test_agreement_is_cohens_kappa():
    a, b = pairs(20, 10, 5, 15)  # agreement 0.7; by chance 0.6 * 0.5 + 0.4 * 0.5
    found = agreement(a, b)
    assert (found.share, found.kappa) == pytest.approx((70.0, 0.4))
    assert agreement(a, a) == (100.0, 1.0) and agreement(a, ~a).kappa == pytest.approx(-0.923, abs=0.001)
    assert math.isnan(agreement(RIGHT, RIGHT).kappa)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0] and holm([0.2]).tolist() == [0.2]


def test_holm_keeps_the_chance_of_any_false_alarm():
    p = np.random.default_rng(11).random((2_000, 10))
    assert np.mean([holm(row).min() <= 0.05 for row in p]) <= most_alarms(2_000) < np.mean(p.min(1) <= 0.05)


RIGHT, TWO = np.ones(4, bool), [1.0, 2.0]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: spread([1.0]), r"values must be at least two finite numbers, got \[1.0\]"),
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
        (lambda: paired_over_draws([1.0, 2.0], [1.0], TWO, TWO), "images_b must be at least two finite numbers"),
        (lambda: paired_over_draws(TWO, TWO, TWO, [1.0, 2.0, 3.0]), "must be of the same draws, got 2 and 3"),
        (
            lambda: paired_over_draws(TWO, TWO, TWO, [2.0, 3.0]),
            r"must tell the same difference, got 0.0000 and -1.0000",
        ),
        (lambda: paired_over_draws(TWO, TWO, TWO, TWO, overlap=1.0), r"overlap must lie in \[0, 1\), got 1.0"),
        (lambda: agreement(RIGHT, RIGHT[:3]), "must be bool"),
        (lambda: holm([0.5, 1.5]), r"must be numbers in \[0, 1\], got \[0.5, 1.5\]"),
    ],
)
def test_what_cannot_be_judged_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize("values", [[1e308, 1e308], [1e308, -1e308], [1, math.inf], [1 + 2j, 3]])
def test_numbers_whose_squares_overflow_are_refused(values: list) -> None:
    with pytest.raises(ValueError, match="at least two finite numbers"):
        spread(values)


def test_an_unknown_alternative_is_refused() -> None:
    with pytest.raises(ValueError, match="one of two-sided, less, greater"):
        paired_over_draws([1, 2], [1, 2], [1, 2], [1, 2], alternative="other")  # type: ignore[arg-type]

"""The regression of inside against outside is scikit-learn's, and finds the unit that tells."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import evaluation

RNG = np.random.default_rng(0)
INSIDE = np.arange(120) % 2 == 0
UNITS = RNG.normal(size=(120, 6)).astype(np.float32)
UNITS[:, 2] += 4 * INSIDE
UNITS[:, 4] -= 4 * INSIDE
IMAGES = np.arange(120) // 10


def test_it_is_scikit_learns_and_names_the_units():
    found = evaluation.presence(UNITS, INSIDE, IMAGES)
    theirs = LogisticRegression(max_iter=10_000).fit(UNITS.astype(np.float64), INSIDE)
    assert np.array_equal(found.weights, theirs.coef_[0])
    assert (found.weights.argmax(), found.weights.argmin()) == (2, 4)
    assert (found.inside, found.outside) == (60, 60)
    assert found.accuracy_percent > 95 and found.held_out_percent > 90


def test_images_left_out_tell_what_was_learnt_by_heart():
    noise = RNG.normal(size=(40, 200))
    found = evaluation.presence(noise, INSIDE[:40], IMAGES[:40])
    assert found.accuracy_percent == 100 and found.held_out_percent < 80
    assert np.isnan(evaluation.presence(noise, INSIDE[:40], np.zeros(40, int)).held_out_percent)


def test_both_kinds_are_needed():
    with pytest.raises(ValueError, match="inside and outside, got 120 and 0"):
        evaluation.presence(UNITS, np.ones(120, bool), IMAGES)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_units_beyond_the_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"finite numbers \[P, K\] below 1e\+100"):
        evaluation.presence(np.full((6, 2), value), np.arange(6) % 2 == 0, np.arange(6))

"""The stratified hold-out: exact size, class shares, determinism, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import stratified_holdout


@given(counts=st.lists(st.integers(2, 60), min_size=1, max_size=6), data=st.data())
def test_exact_size_disjoint_cover_and_shares(counts, data):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    size = data.draw(st.integers(1, sum(counts) // 2))
    fit, held = stratified_holdout(labels, size, seed=3)
    assert len(held) == size
    assert fit.dtype == held.dtype == np.int64
    assert (np.diff(fit) > 0).all() and (np.diff(held) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, held])), np.arange(len(labels)))
    exact = np.array(counts) * size / len(labels)
    share = np.bincount(labels[held], minlength=len(counts))
    assert (np.abs(share - exact) < 1).all()


def test_largest_remainder_decides_the_odd_row():
    labels = np.repeat(["a", "b", "c"], [5, 3, 2])  # shares of 5 rows: 2.5, 1.5, 1.0
    _, held = stratified_holdout(labels, 5, seed=0)
    assert [int((labels[held] == c).sum()) for c in "abc"] == [3, 1, 1]


def test_same_seed_same_rows_another_seed_others():
    labels = np.arange(1000) % 10
    a, b = (stratified_holdout(labels, 200, seed=7)[1] for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, stratified_holdout(labels, 200, seed=8)[1])


@pytest.mark.parametrize(
    ("labels", "size", "message"),
    [
        (np.zeros((4, 2)), 1, "one-dimensional"),
        (np.arange(10) % 2, 10, "from 1 to 9"),
        (np.arange(10) % 2, 0, "from 1 to 9"),
        (np.array([0] * 9 + [1]), 9, "every row of class 1"),
    ],
)
def test_refusals_name_what_is_allowed(labels, size, message):
    with pytest.raises(ValueError, match=message):
        stratified_holdout(labels, size, seed=0)

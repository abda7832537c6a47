"""Draws of few labels: what is drawn, and every draw's fits beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

import evaluation.draws as draws_module
from evaluation import label_draws, score_draws

LABELS = np.repeat([0, 1, 2], [5, 9, 30])


def test_balanced_draws_hold_each_class_alike_and_differ() -> None:
    draws = label_draws(LABELS, 20, seed=0, per_class=4)
    assert draws.shape == (20, 12) and draws.dtype == np.int64
    assert all(np.bincount(LABELS[rows]).tolist() == [4, 4, 4] for rows in draws)
    assert all((np.diff(rows) > 0).all() for rows in draws)  # sorted, none twice
    assert len(np.unique(draws, axis=0)) > 15
    np.testing.assert_array_equal(draws, label_draws(LABELS, 20, seed=0, per_class=4))
    assert (draws != label_draws(LABELS, 20, seed=1, per_class=4)).any()


def test_unbalanced_draws_take_every_row_alike() -> None:
    draws = label_draws(LABELS, 3_000, seed=0, size=11)
    share = np.bincount(draws.ravel(), minlength=44) / 3_000
    assert abs(share - 11 / 44).max() < 0.04  # sd 0.008


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"per_class": 6}, "per_class must be at most 5, the labels of class 0, got 6"),
        ({"size": 45}, "size must be at most 44, the number of labels, got 45"),
        ({}, "one of per_class"),
        ({"per_class": 1, "size": 1}, "one of per_class"),
        ({"size": 0}, "one of per_class"),
    ],
)
def test_impossible_draws_are_refused(options: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        label_draws(LABELS, 2, seed=0, **options)


@pytest.mark.parametrize("together", [1, 3, 100])  # draws hold two fits each: groups end within, and at, the last
def test_every_draw_and_C_is_what_LinearSVC_says(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws_module, "TOGETHER", together)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    X = (rng.normal(size=(240, 30)) + 0.6 * np.eye(3)[y].repeat(10, axis=1)).astype(np.float32)
    draws, Cs = label_draws(y[:160], 4, seed=0, per_class=15), [0.1, 0.003]  # in no order
    right, gap = score_draws(X[:160], y[:160], draws, Cs, X[160:], y[160:], tol=1e-8)
    assert right.shape == (4, 2, 80) and gap < 1e-8
    assert 0.5 < right.mean() < 1
    for rows, found in zip(draws, right, strict=True):
        for C, answers in zip(Cs, found, strict=True):
            svc = LinearSVC(C=C, tol=1e-8, max_iter=100_000).fit(X[rows].astype(np.float64), y[rows])
            np.testing.assert_array_equal(answers, svc.predict(X[160:]) == y[160:])


def test_features_that_are_not_finite_are_refused() -> None:
    X = np.ones((4, 2), np.float32)
    with pytest.raises(ValueError, match="row 1 has NaN"):
        score_draws(X, np.arange(4) % 2, np.array([[0, 1]]), [1.0], np.array([[0, 0], [np.nan, 0]]), np.zeros(2))


@pytest.mark.parametrize("draw", [[0, 99], [-1, 0], [0.5, 1.5], []])
def test_draws_that_name_no_rows_are_refused(draw: list) -> None:
    X, y = np.eye(6), np.arange(6) % 2
    with pytest.raises(ValueError, match="a draw must hold"):
        score_draws(X, y, np.array([draw]), [1.0], X, y)
    with pytest.raises(ValueError, match="equally wide"):
        score_draws(X, y, np.array([[0, 1, 2, 3]]), [1.0], X[:, :2], y)


def test_a_process_may_score_no_rows() -> None:
    X, y = np.eye(4, dtype=np.float32)[np.arange(40) % 4], np.arange(40) % 4
    right, _ = score_draws(X, y, label_draws(y, 3, seed=0, per_class=5), [0.1, 1.0], X[:0], y[:0])
    assert right.shape == (3, 2, 0)

"""C is chosen on held-out training rows and on nothing else."""

import numpy as np
import pytest

import evaluation.selection as selection_module
from evaluation import DEFAULT_GRID, L2SVM, fit_selected, select_C, stratified_holdout


def noisy(n: int = 600, D: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    X = rng.standard_normal((n, D)) + np.eye(3, D)[y]
    return X, y


def test_every_score_is_that_of_a_fit_on_the_other_rows() -> None:
    X, y = noisy()
    fit, held = stratified_holdout(y, 150, seed=0)
    selection = select_C(X, y, held, (1e-4, 1e-2, 1.0), tol=1e-8)
    assert len(selection.grid) >= 3
    for entry in selection.grid:
        alone = L2SVM(entry["C"], tol=1e-8).fit(X[fit], y[fit])
        assert entry["accuracy"] == pytest.approx(alone.score(X[held], y[held]))
    best = max(entry["accuracy"] for entry in selection.grid)
    smallest = min(entry["C"] for entry in selection.grid if entry["accuracy"] == best)
    assert selection.C == smallest


def test_the_held_out_rows_do_not_shape_the_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = noisy()
    monkeypatch.setattr(selection_module, "MAX_BEYOND", 0)
    _, held = stratified_holdout(y, 150, seed=0)
    changed = X.copy()
    changed[held] = np.random.default_rng(1).standard_normal((150, X.shape[1]))
    one, other = (select_C(data, y, held, (1e-2,), tol=1e-10) for data in (X, changed))
    np.testing.assert_allclose(one.solution.weights, other.solution.weights, atol=1e-4)
    assert one.grid[0]["accuracy"] > other.grid[0]["accuracy"] + 0.1  # they are what is scored


def test_the_grid_grows_past_an_edge_that_is_best() -> None:
    X, y = noisy()
    _, held = stratified_holdout(y, 150, seed=0)
    selection = select_C(X, y, held, (30.0, 90.0))  # far too large for data as noisy as this
    tried = [entry["C"] for entry in selection.grid]
    assert len(tried) > 2 and tried == sorted(tried) and selection.C < 30


def test_final_fit_is_that_of_all_rows() -> None:
    X, y = noisy()
    _, held = stratified_holdout(y, 150, seed=0)
    selection = select_C(X, y, held)
    assert {entry["C"] for entry in selection.grid} >= set(DEFAULT_GRID) and len(DEFAULT_GRID) >= 6
    warm, cold = fit_selected(X, y, selection, tol=1e-9), L2SVM(selection.C, tol=1e-9).fit(X, y)
    np.testing.assert_allclose(warm.coef_, cold.coef_, atol=1e-5)
    assert warm.C == selection.C and warm.score(X, y) == cold.score(X, y)
    with pytest.raises(ValueError, match="must be those of the selection"):
        fit_selected(X[:-1], y[:-1], selection)


@pytest.mark.parametrize(
    ("held", "text"),
    [
        (np.array([], int), "must hold row indices"),
        (np.array([0, 0]), "distinct row indices from 0 to 599"),
        (np.array([600]), "distinct row indices from 0 to 599"),
        (np.array([0.5]), "must hold row indices"),
    ],
)
def test_bad_holdouts(held: np.ndarray, text: str) -> None:
    X, y = noisy()
    with pytest.raises(ValueError, match=text):
        select_C(X, y, held)


def test_a_holdout_may_not_take_a_whole_class() -> None:
    X, y = noisy()
    with pytest.raises(ValueError, match="must leave rows of every class"):
        select_C(X, y, np.flatnonzero(y == 2))


def test_a_C_far_beyond_the_grid_is_found() -> None:
    """Classes told apart by small features beside large ones want a large C, as those of one narrow layer do."""
    y = np.arange(600) % 3
    X = np.random.default_rng(0).standard_normal((600, 6)) + np.hstack([2 * np.eye(3)[y], np.full((600, 3), 3)])
    X[:, :3] *= 0.03
    _, held = stratified_holdout(y, 150, seed=0)
    selection = select_C(X, y, held)
    assert 3**5 < selection.C / DEFAULT_GRID[-1] < selection.grid[-1]["C"] / DEFAULT_GRID[-1]  # no edge
    assert max(entry["accuracy"] for entry in selection.grid) > 0.8 > 0.6 > selection.grid[5]["accuracy"]

"""C is chosen on held-out training rows and on nothing else."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import evaluation.selection as selection_module
from evaluation import DEFAULT_GRID, L2SVM, Selection, fit_selected, rows, select_C, stratified_holdout, subspace
from evaluation.problem import Solution

RUNS = Path(__file__).parents[2] / "results" / "runs"
HELD = 10000
TOL = 1e-3


def noisy(n: int = 600, D: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    X = rng.standard_normal((n, D)) + np.eye(3, D)[y]
    return X, y


def solved_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small sets solved as large ones are: by conjugate gradients beyond a few directions."""
    monkeypatch.setattr(rows, "FEW_ROWS", 0)
    for name, value in (("FULL_COST", 0), ("SAMPLE", 300), ("LEADING", 5), ("RANK", 10)):
        monkeypatch.setattr(subspace, name, value)


def test_every_score_is_that_of_a_fit_on_the_other_rows() -> None:
    X, y = noisy()
    fit, held = stratified_holdout(y, 150, seed=0)
    selection = select_C(X, y, held, (1e-4, 1e-2, 1.0), tol=1e-8)
    assert len(selection.grid) >= 3 and not selection.skipped
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


class Fits:
    """Stands in for `newton`: fits whose accuracy on the hold-out is that of a curve, and which notes them.

    curve: C -> accuracy. rough: the same for rough fits, if other. gap: of these fits.
    """

    def __init__(self, curve: dict[float, float], rough: dict[float, float] | None = None, gap: float = 0.01) -> None:
        self.curve, self.rough, self.gap = curve, curve | (rough or {}), gap
        self.calls: list[tuple[float, bool]] = []  # C, and whether the fit was a rough one

    def newton(self, problem, C, *, tol, max_iter, start=None):
        yield
        at = min(self.curve, key=lambda c: abs(c / C - 1))
        assert at == pytest.approx(C), f"{C} is not on the curve"
        rough = max_iter == selection_module.ROUGH
        self.calls.append((at, rough))
        accuracy = (self.rough if rough else self.curve)[at]
        right = torch.arange(problem.rows.n) < round(accuracy * problem.rows.n)
        scores = torch.where(right, problem.signs(), -problem.signs())
        one = torch.ones(1)
        return Solution(problem.signs()[:, :2], scores, one, one * (self.gap if rough else TOL / 2), one, passes=1)

    def select(self, monkeypatch: pytest.MonkeyPatch, Cs: Iterable[float] = DEFAULT_GRID) -> Selection:
        """Choose C; all rows are held out but two."""
        X, y = np.zeros((HELD + 2, 1), np.float32), np.arange(HELD + 2) % 2
        monkeypatch.setattr(selection_module, "newton", self.newton)
        return select_C(X, y, np.arange(HELD), tuple(Cs), tol=TOL)


def test_larger_values_are_skipped_after_a_clearly_worse_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits({1e-5: 0.70, 3e-5: 0.73, 1e-4: 0.75, 2e-4: 0.748, 5e-4: 0.745, 1e-3: 0.9})
    selection = fits.select(monkeypatch)
    assert selection.C == 1e-4 and selection.skipped == (1e-3,)
    assert [entry["C"] for entry in selection.grid] == [1e-5, 3e-5, 1e-4, 2e-4, 5e-4]
    assert fits.calls == [(C, True) for C in DEFAULT_GRID[:5]] + [(1e-4, False), (2e-4, False)]
    assert [entry["rough"] for entry in selection.grid] == [True, True, False, False, True]
    assert [entry["passes"] for entry in selection.grid] == [1, 1, 2, 2, 1]


def test_only_close_values_are_fitted_twice_and_the_second_fits_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = {1e-5: 0.70, 3e-5: 0.73, 1e-4: 0.748, 2e-4: 0.75, 5e-4: 0.74}
    fits = Fits(curve, rough={1e-4: 0.752})
    assert fits.select(monkeypatch).C == 2e-4
    assert [C for C, rough in fits.calls if not rough] == [1e-4, 2e-4]


def test_a_rough_fit_that_is_exact_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits({1e-5: 0.70, 3e-5: 0.73, 1e-4: 0.75, 2e-4: 0.74}, gap=TOL / 2)
    assert fits.select(monkeypatch).C == 1e-4 and all(rough for _, rough in fits.calls)


def test_the_walk_goes_on_when_the_second_fits_undo_a_clear_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits({3e-5: 0.70, 1e-4: 0.740, 2e-4: 0.738, 5e-4: 0.75, 1e-3: 0.74}, rough={1e-4: 0.75})
    assert fits.select(monkeypatch, (3e-5, 1e-4, 2e-4, 5e-4, 1e-3)).C == 5e-4


def test_two_worse_in_a_row_end_the_walk_only_after_a_clear_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    falls = {1e-4: 0.75, 2e-4: 0.749, 5e-4: 0.748, 1e-3: 0.76, 3e-3: 0.7}
    fits = Fits({3e-5: 0.70} | falls)
    assert fits.select(monkeypatch, (3e-5, 1e-4, 2e-4, 5e-4, 1e-3)).C == 1e-4 and max(fits.calls)[0] == 5e-4
    fits = Fits({3e-5: 0.748} | falls)
    assert fits.select(monkeypatch, (3e-5, 1e-4, 2e-4, 5e-4, 1e-3)).C == 1e-3


@pytest.mark.parametrize("dip", [0.003, 0.004])
def test_a_dip_within_one_standard_error_is_walked_through(monkeypatch: pytest.MonkeyPatch, dip: float) -> None:
    fits = Fits({1e-5: 0.70, 3e-5: 0.75 - dip, 1e-4: 0.75, 2e-4: 0.75 - dip, 5e-4: 0.751, 1e-3: 0.74})
    assert fits.select(monkeypatch).C == 5e-4


@pytest.mark.parametrize(
    ("Cs", "curve", "C"),
    [
        ((1.0,), {1 / 3: 0.7, 1.0: 0.8, 3.0: 0.7}, 1.0),  # one value: both neighbours are tried
        ((1.0, 3.0), {1 / 9: 0.7, 1 / 3: 0.9, 1.0: 0.8, 3.0: 0.7}, 1 / 3),
        ((1.0, 3.0), {1.0: 0.7, 3.0: 0.8, 9.0: 0.9, 27.0: 0.7}, 9.0),
        ((1.0, 3.0), {1.0: 0.7, 3.0: 0.8, 9.0: 0.8}, 3.0),  # among equals, the smallest
        ((1.0, 2.0, 4.0, 8.0), {1 / 3: 0.7, 1.0: 0.8, 2.0: 0.8, 4.0: 0.8, 8.0: 0.8}, 1.0),  # a plateau is walked
        ((1.0, 2.0), {1 / 9: 0.8, 1 / 3: 0.8, 1.0: 0.8, 2.0: 0.8}, 1 / 9),  # and ends below the grid
        ((1.0, 2.0), {3.0**-i: 0.8 + 0.01 * (i // 2) for i in range(9)} | {2.0: 0.8}, 3.0**-8),  # while it rises
        ((1.0, 2.0), {1.0: 1.0, 2.0: 1.0, 1 / 3: 0.99}, 1.0),
    ],
)
def test_edges(monkeypatch: pytest.MonkeyPatch, Cs: tuple, curve: dict[float, float], C: float) -> None:
    fits = Fits(curve)
    selection = fits.select(monkeypatch, Cs)
    assert selection.C == pytest.approx(C) and not selection.skipped
    assert {at for at, _ in fits.calls} == set(curve)


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_a_fit_that_cannot_reach_tol_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch, max_iter: int) -> None:
    X, y = noisy()
    _, held = stratified_holdout(y, 150, seed=0)
    solved_by_steps(monkeypatch)
    selection = select_C(X, y, held, (1e-5, 1e-4), tol=1e-30, max_iter=max_iter)
    assert not next(entry["rough"] for entry in selection.grid if entry["C"] == selection.C)


EXHAUSTIVE = (
    "2026-11-27"  # up to then every value of a grid was fitted exactly; later curves have rough values, and gaps
)


def recorded() -> list[tuple[str, float, dict[float, float]]]:
    """Return (name, chosen C, C -> accuracy) of the exhaustive choices on a hold-out of 10,000 CIFAR-10 images."""
    found = []
    for line in (RUNS / "cifar10.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["protocol"] == "cifar10/full" and "grid" in record["selection"] and record["started"] < EXHAUSTIVE:
            grid = record["selection"]["grid"]
            found.append((record["method"], record["selection"]["C"], {t["C"]: t["accuracy"] for t in grid}))
    for line in (RUNS / "ablation.jsonl").read_text().splitlines():
        if (record := json.loads(line))["started"] < EXHAUSTIVE:
            for row in record["solver"]["variants"]:
                found.append((f"{row['kind']} {row['variant']}", row["C"], dict(row["tried"])))
    return found


@pytest.mark.parametrize("moved", [0.0, 0.001, -0.001])
def test_recorded_choices_are_made_again(monkeypatch: pytest.MonkeyPatch, moved: float) -> None:
    """Also if rough fits move the accuracies, up and down in turn, by what they were seen to."""
    choices = recorded()
    assert len(choices) >= 30
    skipped = 0
    for name, C, curve in choices:
        rough = {c: a + moved * (-1) ** i for i, (c, a) in enumerate(sorted(curve.items()))}
        selection = Fits(curve, rough).select(monkeypatch)
        assert selection.C == pytest.approx(C), name
        skipped += bool(selection.skipped)
    assert skipped > len(choices) / 3


@pytest.mark.parametrize("columns", [slice(0, 64), slice(0, 24), slice(20, 44)])
def test_the_choice_is_that_of_exact_fits_of_every_value(monkeypatch: pytest.MonkeyPatch, columns: slice) -> None:
    """On scikit-learn's digits, with noise."""
    solved_by_steps(monkeypatch)
    X, y = load_digits(return_X_y=True)
    X = X[:, columns] + np.random.default_rng(0).normal(0, 4, X[:, columns].shape)
    fit, held = stratified_holdout(y, 600, seed=0)
    grid = tuple(10.0**i for i in range(-8, 1))
    chosen = select_C(X, y, held, grid)
    exact = {C: L2SVM(C, tol=1e-6).fit(X[fit], y[fit]).score(X[held], y[held]) for C in grid}
    assert chosen.C == max(grid, key=lambda C: exact[C])
    assert any(entry["rough"] for entry in chosen.grid) or not chosen.skipped

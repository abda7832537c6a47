"""The solver against scikit-learn's LinearSVC, against its own bound, and where features lie on disk."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from evaluation import (
    L2SVM,
    fit_selected,
    l2svm_path,
    label_draws,
    newton,
    rows,
    score_draws,
    select_C,
    stratified_holdout,
    subspace,
)
from evaluation.l2svm import run
from evaluation.posing import pose
from evaluation.subspace import damped_cholesky

SHAPES = {  # rows, columns, classes, C, weights of the classes, largest feature scale
    "tall, 2 classes": (400, 20, 2, 1.0, None, 1),
    "tall, 10 classes": (600, 30, 10, 1e-2, None, 1),
    "wide, 2 classes": (100, 500, 2, 10.0, None, 1),
    "wide, 10 classes": (150, 400, 10, 1e-3, None, 1),
    "imbalanced": (800, 25, 2, 10.0, [0.97], 1),
    "smallest C": (500, 40, 10, 1e-5, None, 1),
    "unscaled": (500, 30, 10, 1e-4, None, 1000),
    "unscaled, large C": (400, 12, 2, 10.0, None, 30),
    "square": (200, 200, 3, 0.1, None, 1),
}


def problem(n: int, D: int, classes: int, weights: list | None, scale: float) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(
        n,
        D,
        n_informative=min(10, D),
        n_redundant=0,
        n_classes=classes,
        n_clusters_per_class=1,
        weights=weights,
        random_state=0,
    )
    return X * np.geomspace(1 / scale, scale, D), y


def objectives(model: LinearSVC | L2SVM, X: np.ndarray, y: np.ndarray, C: float) -> np.ndarray:
    """Written down from the definition: float64, one per problem."""
    targets = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
    values = []
    for target, w, b in zip(targets, model.coef_.astype(float), model.intercept_.astype(float), strict=True):
        slack = np.maximum(0, 1 - np.where(y == target, 1, -1) * (X @ w + b))
        values.append(0.5 * (w @ w + b * b) + C * (slack**2).sum())
    return np.array(values)


@pytest.mark.parametrize("name", SHAPES)
def test_objective_and_predictions_equal_linearsvc(name: str) -> None:
    n, D, classes, C, weights, scale = SHAPES[name]
    X, y = problem(n, D, classes, weights, scale)
    theirs = LinearSVC(C=C, dual=n < D, tol=1e-10, max_iter=200_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X, y)
    ours = L2SVM(C).fit(X, y)
    assert ours.coef_.shape == theirs.coef_.shape and ours.intercept_.shape == theirs.intercept_.shape
    assert np.all(objectives(ours, X, y, C) <= objectives(theirs, X, y, C) * (1 + 1e-4))
    assert np.mean(ours.predict(X) == theirs.predict(X)) >= 0.995


def test_reported_objective_and_gap_are_true() -> None:
    X, y = problem(600, 30, 4, None, 1)
    best = objectives(L2SVM(0.1, tol=1e-12).fit(X, y), X, y, 0.1)
    for tol in (1e-1, 1e-3, 1e-6):
        model = L2SVM(0.1, tol=tol).fit(X, y)
        value = objectives(model, X, y, 0.1)
        np.testing.assert_allclose(model.objective_, value, rtol=1e-9)
        assert np.all(model.duality_gap_ <= tol)
        assert np.all(value - best <= model.duality_gap_ * value + 1e-9)  # never further off than it says


def test_check_estimator() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(L2SVM(), on_fail=None)
    failed = [r["check_name"] for r in results if r["status"] == "failed"]
    assert not failed and sum(r["status"] == "passed" for r in results) > 30


@pytest.fixture
def features(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Float32 features like a network's, positive mean and a decaying spectrum, and solved as the large ones are:
    in float32, by conjugate gradients, with a subspace from a sample of rows."""
    monkeypatch.setattr(rows, "SMALL_BYTES", 0)
    monkeypatch.setattr(rows, "FEW_ROWS", 0)
    for name, value in {"FULL_COST": 0, "SAMPLE": 200, "RANK": 40, "LEADING": 20}.items():
        monkeypatch.setattr(subspace, name, value)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 1200)
    latent = rng.standard_normal((1200, 60)) + 1.5 * np.eye(5, 60)[y]
    X = latent @ (rng.standard_normal((60, 300)) / np.arange(1, 61)[:, None]) + 0.3 * rng.standard_normal((1200, 300))
    return (X + 1).astype(np.float32), y


def test_iterative_solve_reaches_its_gap_on_a_memory_map(features: tuple, tmp_path: Path) -> None:
    X, y = features
    stored = np.memmap(tmp_path / "X", np.float32, "w+", shape=X.shape)
    stored[:] = X
    model = L2SVM(1e-3).fit(np.memmap(tmp_path / "X", np.float32, "r", shape=X.shape), y)
    assert model.duality_gap_.max() <= 1e-4 and model.coef_.dtype == np.float32
    direct = L2SVM(1e-3).fit(X, y)
    np.testing.assert_array_equal(model.coef_, direct.coef_)  # the same bits wherever X lies, and again
    np.testing.assert_allclose(model.objective_, objectives(model, X.astype(float), y, 1e-3), rtol=1e-5)
    exact = LinearSVC(C=1e-3, dual=False, tol=1e-10, max_iter=10_000).fit(X.astype(float), y)
    assert np.all(model.objective_ <= objectives(exact, X.astype(float), y, 1e-3) * (1 + 1e-4))


def test_all_ways_of_solving_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = problem(200, 100, 4, None, 1)
    monkeypatch.setattr(subspace, "SAMPLE", 50)
    ways = {"all directions": (1e10, 0), "rows": (0, 2500), "passes": (0, 0)}
    for C in (1e-3, 0.1):
        found = []
        for full_cost, few_rows in ways.values():
            monkeypatch.setattr(subspace, "FULL_COST", full_cost)
            monkeypatch.setattr(rows, "FEW_ROWS", few_rows)
            posed, _ = pose(X, y, None, device=None)
            found.append((posed.space, run(newton.newton(posed, C, tol=1e-8, max_iter=100))))
        spaces, solutions = zip(*found, strict=True)
        assert isinstance(spaces[1], subspace.RowKernel)
        assert [spaces[0].complete, spaces[2].complete] == [True, False]
        for solution in solutions:
            assert solution.gap.max() <= 1e-8
            torch.testing.assert_close(solution.objective, solutions[0].objective, rtol=2e-8, atol=0)
            torch.testing.assert_close(solution.weights, solutions[0].weights, rtol=1e-2, atol=1e-4)


def test_few_rows_in_float32_are_certified_or_solved_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(60, 300)) + 100).astype(np.float32)  # a large mean: products differ in their last digits
    y = rng.integers(0, 3, 60)
    monkeypatch.setattr(rows, "SMALL_BYTES", 0)
    wide = X.astype(np.float64)
    for C, in_float32 in ((1e-6, True), (10.0, False)):
        model, exact = L2SVM(C, tol=1e-6).fit(X, y), L2SVM(C, tol=1e-8).fit(wide, y)
        assert model.duality_gap_.max() <= 1e-6
        assert np.all(objectives(model, wide, y, C) <= exact.objective_ * (1 + 1e-5))
        posed, _ = pose(X, y, None, device=None)
        passes = run_count(newton.newton(posed, C, tol=1e-6, max_iter=100))
        assert (passes == 1) == in_float32


def run_count(steps: Iterator) -> int:
    """How many times a solver went over X."""
    return sum(1 for _ in steps)


def test_near_separability_the_passes_still_reach_their_gap(features: tuple) -> None:
    X, y = features
    model = L2SVM(1.0, tol=1e-3).fit(X[:200], y[:200])  # fewer rows than columns: every margin can be met
    assert model.duality_gap_.max() <= 1e-3 and model.score(X[:200], y[:200]) == 1


def test_path_equals_separate_fits(features: tuple) -> None:
    X, y = features
    for C, warm in zip((1e-4, 1e-3), l2svm_path(X, y, (1e-4, 1e-3)), strict=True):
        cold = L2SVM(C).fit(X, y)
        np.testing.assert_allclose(warm.objective_, cold.objective_, rtol=2e-4)
        assert np.mean(warm.predict(X) == cold.predict(X)) > 0.995


def test_rows_of_weight_zero_take_no_part() -> None:
    X, y = problem(500, 30, 3, None, 1)
    weight = np.ones(500)
    weight[::5] = 0
    kept = weight > 0
    masked, alone = L2SVM(0.1, tol=1e-9).fit(X, y, weight), L2SVM(0.1, tol=1e-9).fit(X[kept], y[kept])
    np.testing.assert_allclose(masked.coef_, alone.coef_, atol=1e-5)
    doubled = L2SVM(0.1, tol=1e-9).fit(X, y, weight * 2)
    np.testing.assert_allclose(doubled.coef_, L2SVM(0.2, tol=1e-9).fit(X[kept], y[kept]).coef_, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"C": 0.0}, "C must be a positive, finite number, got 0.0"),
        ({"C": -1}, "C must be a positive"),
        ({"tol": 0}, "tol must be a positive"),
        ({"max_iter": 0}, "max_iter must be a whole number"),
        ({"device": "abacus"}, "device must be 'cpu' or a 'cuda' device that is there, got 'abacus'"),
        ({"device": "meta"}, "device must be 'cpu' or a 'cuda' device that is there, got 'meta'"),
        ({"device": 3.5}, "device must be 'cpu' or a 'cuda' device that is there, got 3.5"),
        ({"C": 10**400}, "C must be a positive, finite number"),
    ],
)
def test_options_out_of_range(change: dict, text: str) -> None:
    X, y = problem(50, 5, 2, None, 1)
    with pytest.raises(ValueError, match=text):
        L2SVM(**change).fit(X, y)


def test_bad_data_is_named() -> None:
    X, y = problem(50, 5, 2, None, 1)
    with pytest.raises(ValueError, match="at least two classes, got one class only"):
        L2SVM().fit(X, np.zeros(50))
    X[17, 2] = np.nan
    with pytest.raises(ValueError, match="feature row 17 has NaN"):
        L2SVM().fit(X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        L2SVM().fit(X[:10], y)


def test_falling_short_warns(features: tuple) -> None:
    X, y = features
    with pytest.warns(ConvergenceWarning, match="above tol"):
        model = L2SVM(10.0, tol=1e-12, max_iter=1).fit(X, y)
    assert model.duality_gap_.max() > 1e-12 and model.n_iter_.max() == 1


def answers(X: np.ndarray | torch.Tensor, y: np.ndarray) -> list[np.ndarray]:
    """What everything that takes X says of it."""
    _, held = stratified_holdout(y, 200, seed=0)
    svm, chosen = L2SVM(1e-3).fit(X, y), select_C(X, y, held, (1e-4, 1e-3))
    found = [svm.coef_, svm.intercept_, svm.decision_function(X[::7]), svm.predict(X[:50])]
    found += [path.coef_ for path in l2svm_path(X, y, (1e-4, 1e-3))]
    found += [np.array([entry["accuracy"] for entry in chosen.grid]), fit_selected(X, y, chosen).coef_]
    right, _ = score_draws(X, y, label_draws(y, 2, seed=0, per_class=20), (1e-3,), X[:100], y[:100])
    return [*found, right]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("kind", ["memory map", "tensor"])
def test_X_of_any_kind_and_type_gives_the_same_bits(features: tuple, dtype: type, kind: str, tmp_path: Path) -> None:
    """float16 is computed in float32, as the float32 of the same values is; nothing makes float64 of it."""
    X, y = features
    X = X.astype(dtype)
    X.tofile(tmp_path / "X")
    given = torch.from_numpy(X) if kind == "tensor" else np.memmap(tmp_path / "X", dtype, "r", shape=X.shape)
    for found, expected in zip(answers(given, y), answers(X.astype(np.float32), y), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_X_is_not_copied_on_its_way_to_the_solver(features: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = features
    seen = []
    real = rows.Rows.__init__

    def spied(self, given, **options):
        seen.append(given)
        real(self, given, **options)

    monkeypatch.setattr(rows.Rows, "__init__", spied)
    for given in (X.astype(np.float16), torch.from_numpy(X).half()):
        svm = L2SVM(1e-3).fit(given, y)
        svm.predict(given)
        list(l2svm_path(given, y, (1e-3,)))
        select_C(given, y, np.arange(100), (1e-3,))
        if isinstance(given, torch.Tensor):
            assert all(x is given for x in seen[-4:])
        else:
            assert all(np.shares_memory(x, given) for x in seen[-4:])
        assert len(seen) >= 4


@pytest.mark.parametrize(
    ("X", "text"),
    [
        (torch.zeros(50, 4).to_sparse(), "X must be a dense tensor that has data, got torch.sparse_coo"),
        (torch.zeros(50, 4, device="meta"), "X must be a dense tensor that has data, got torch.strided on meta"),
        (torch.zeros(50), r"X must be float16, float32 or float64 \[n, D\], got torch.float32 \[50\]"),
        (torch.zeros(50, 3, dtype=torch.int64), "got torch.int64"),
        (torch.zeros(50, 0), r"got torch.float32 \[50, 0\]"),
        (torch.zeros(49, 3), "inconsistent numbers of samples"),
        (torch.full((50, 3), torch.nan, dtype=torch.float16), "feature row 0 has NaN"),
    ],
)
def test_unfit_tensors_are_named(X: torch.Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        L2SVM().fit(X, np.arange(50) % 2)


def test_a_tensor_of_another_width_is_not_scored() -> None:
    svm = L2SVM().fit(torch.randn(50, 3), np.arange(50) % 2)
    with pytest.raises(ValueError, match="X has 4 features, but L2SVM is expecting 3 features"):
        svm.predict(torch.randn(5, 4))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(300, 20), (60, 150)])
@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 1e3, 1e5, 1e8, 1e12, 1e30, 1e200])
@pytest.mark.parametrize("C", [5e-324, 1e-300, 1e-3, 1e8, 1e308])
def test_any_scale_is_solved_or_refused_with_the_range(dtype: type, shape: tuple, scale: float, C: float) -> None:
    """Warnings are errors here: no overflow, no factorisation that fails, no fit that falls short."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, shape[0])
    with np.errstate(over="ignore"):
        X = ((rng.standard_normal(shape) + 2 * rng.standard_normal((3, shape[1]))[y]) * scale).astype(dtype)
    if not np.isfinite(X).all():
        return  # beyond the type
    square = 1 + float(np.square(X.astype(np.longdouble)).sum(1).mean())
    if C * square > 1e12:
        with pytest.raises(ValueError, match="must be at most 1e\\+12, or rounding decides"):
            L2SVM(C).fit(X, y)
        return
    svm = L2SVM(C, tol=1e-2).fit(X, y)
    assert np.isfinite(svm.objective_).all() and (svm.duality_gap_ <= 1e-2).all()


def test_a_matrix_that_rounding_made_indefinite_has_a_factor_near_it() -> None:
    rows = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    H = 1e12 * rows.T @ rows
    H.diagonal().sub_(1e-2)
    factor = damped_cholesky(H)
    torch.testing.assert_close(factor @ factor.T, H, rtol=0, atol=1e-6 * float(H.diagonal().mean()))
    H.diagonal().add_(1e13)
    assert torch.equal(damped_cholesky(H), torch.linalg.cholesky(H))


def test_a_fit_that_rounding_holds_ends_long_before_max_iter() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 150)), rng.integers(0, 2, 60)
    with pytest.warns(ConvergenceWarning, match="after [345]\\d iterations"):
        L2SVM(1e9, tol=1e-30, max_iter=10_000).fit(X, y)

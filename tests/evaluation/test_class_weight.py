"""L2SVM's class_weight against LinearSVC's, by every way of solving; sparse X."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.svm import LinearSVC

from evaluation import L2SVM, l2svm, l2svm_path, rows, subspace

WEIGHTS = ("balanced", {0: 0.1, 1: 5.0}, {1: 0.0})
WAYS = {"all directions": (1e10, 0), "rows": (0, 2500), "passes": (0, 0)}


def problem(K: int, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.minimum(rng.geometric(0.5, n) - 1, K - 1)  # each class half as large as the one before
    return rng.standard_normal((n, 60)) + np.eye(K, 60)[y], y


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    full_cost, few_rows = WAYS[request.param]
    monkeypatch.setattr(subspace, "FULL_COST", full_cost)
    monkeypatch.setattr(rows, "FEW_ROWS", few_rows)
    for name, value in {"SAMPLE": 200, "RANK": 30, "LEADING": 15}.items():
        monkeypatch.setattr(subspace, name, value)
    return request.param


@pytest.mark.parametrize(("K", "class_weight"), list(product((2, 4), WEIGHTS)))
def test_weights_and_intercepts_equal_linearsvc(way: str, K: int, class_weight: object) -> None:
    X, y = problem(K)
    if (K, class_weight) == (2, {1: 0.0}):
        class_weight = {1: 0.01}  # LinearSVC puts no weight on either class
    theirs = LinearSVC(C=0.1, dual=False, tol=1e-9, max_iter=100_000, class_weight=class_weight).fit(X, y)
    ours = L2SVM(0.1, tol=1e-12, class_weight=class_weight).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-6)
    (path,) = l2svm_path(X, y, [0.1], tol=1e-12, class_weight=class_weight)
    np.testing.assert_array_equal(path.coef_, ours.coef_)


@pytest.mark.parametrize("kind", [np.float16, np.float32, torch.float32, torch.float16])
def test_the_gap_bounds_the_objective_in_every_type(kind: type | torch.dtype, way: str, monkeypatch) -> None:
    X, y = problem(4)
    given = torch.from_numpy(X).to(kind) if isinstance(kind, torch.dtype) else X.astype(kind)
    exact = np.asarray(given, np.float64)
    best = L2SVM(0.1, tol=1e-12, class_weight="balanced").fit(exact, y).objective_
    monkeypatch.setattr(rows, "SMALL_BYTES", 0)
    svm = L2SVM(0.1, tol=1e-3, class_weight="balanced").fit(given, y)
    assert svm.coef_.dtype == np.float32 and (svm.duality_gap_ <= 1e-3).all()
    factor = len(y) / (4 * np.bincount(y))
    for c in range(4):  # written down from the definition
        weight, sign = np.where(y == c, factor[c], 1.0), np.where(y == c, 1, -1)
        slack = np.maximum(0, 1 - sign * (exact @ svm.coef_[c] + svm.intercept_[c]))
        value = 0.5 * (np.square(svm.coef_[c]).sum() + svm.intercept_[c] ** 2) + 0.1 * (weight * slack**2).sum()
        np.testing.assert_allclose(svm.objective_[c], value, rtol=1e-4)
    assert (svm.objective_ * (1 - svm.duality_gap_) <= best * (1 + 1e-6)).all()


def test_weights_of_one_change_nothing_and_rows_keep_theirs() -> None:
    X, y = problem(3)
    weight = np.random.default_rng(1).random(len(y))
    plain = L2SVM(0.1).fit(X, y, weight)
    np.testing.assert_array_equal(L2SVM(0.1, class_weight={0: 1.0}).fit(X, y, weight).coef_, plain.coef_)
    twice = L2SVM(0.1, tol=1e-10, class_weight={0: 2.0, 1: 2.0}).fit(X[y < 2], y[y < 2], weight[y < 2])
    same = L2SVM(0.2, tol=1e-10).fit(X[y < 2], y[y < 2], weight[y < 2])
    np.testing.assert_allclose(twice.coef_, same.coef_, atol=1e-6)


@pytest.mark.parametrize(
    ("class_weight", "text"),
    [
        ({9: 1.0}, r"The classes, .* are not in class_weight"),
        ({0: -1.0}, "class_weight must hold finite numbers >= 0"),
        ({0: np.inf}, "class_weight must hold finite numbers >= 0"),
        ({0: 0.0, 1: 0.0}, "must be positive for some row, got zero for all"),
        ("heavy", "class_weight"),
    ],
)
def test_unfit_class_weights_are_named(class_weight: object, text: str) -> None:
    X, y = problem(2)
    with pytest.raises(ValueError, match=text):
        L2SVM(class_weight=class_weight).fit(X, y)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
def test_sparse_X_is_converted_with_a_warning_of_its_size(make: type) -> None:
    X, y = problem(3)
    X[X < 0.5] = 0
    X = X.astype(np.float32)
    dense, said = L2SVM(0.1).fit(X, y), r"sparse X \[600, 60\] is converted to a dense array of 0.1 MB"
    with pytest.warns(UserWarning, match=said) as caught:
        svm = L2SVM(0.1).fit(make(X), y)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(svm.coef_, dense.coef_)
    for name in ("predict", "decision_function"):
        with pytest.warns(UserWarning, match=said):
            found = getattr(svm, name)(make(X))
        np.testing.assert_array_equal(found, getattr(dense, name)(X))


def test_a_sparse_X_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = problem(2)
    svm = L2SVM().fit(X, y)
    monkeypatch.setattr(l2svm, "DENSE_BYTES", X.nbytes - 1)
    for call in (lambda: L2SVM().fit(sparse.csr_array(X), y), lambda: svm.predict(sparse.csr_array(X))):
        with pytest.raises(ValueError, match=r"sparse X \[600, 60\] would take 0.0 GB as a dense array.*TruncatedSVD"):
            call()

"""L2SVM: scikit-learn's LinearSVC objective, solved on float32 features without a copy of them.

min 1/2 |(w, b)|^2 + C sum_i s_i max(0, 1 - y_i (w x_i + b))^2 for each class against the rest. The DCGAN paper fits
this on discriminator features (section 5), and LinearSVC minimises it (squared hinge, L2 penalty, intercept_scaling 1,
so the intercept is penalised). LinearSVC holds X seven times over; this module never copies it.
"""

import math
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from numbers import Integral, Real
from typing import Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_X_y, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data
from torch import Tensor

from evaluation.newton import newton
from evaluation.problem import Problem, Solution
from evaluation.rows import Features, Rows
from evaluation.subspace import find_space

Progress = Callable[..., Iterable]  # as tqdm: progress(iterable, total=, desc=, unit=)
# Features of these types are taken as they are; others are converted to the first.
DTYPES = [np.float64, np.float32, np.float16]
# Largest C times the mean squared length of a row [x 1]. Beyond it no duality gap of 1e-4 can be shown in float64: the
# rounding of scores, 2e-16, times 2C is then as large as the weights.
STRENGTH = 1e12
T = TypeVar("T")


class L2SVM(ClassifierMixin, BaseEstimator):
    """One-vs-rest linear SVM with squared hinge loss and penalised intercept.

    Args:
        C: weight of the loss, > 0.
        tol: relative duality gap to reach, > 0: the objective is then within this share of its minimum.
        max_iter: largest number of Newton iterations; a ConvergenceWarning tells if they did not reach tol.
        device: where the linear algebra runs, "cpu" or "cuda"; by default the CPU, or where X is if it is a tensor. On
            a GPU, X stays there if it fits, else it is streamed.

    Attributes:
        classes_: [K], sorted. Two classes make one problem (k = 1), the second against the first; more make k = K.
        coef_, intercept_: [k, D] and [k], float64 for small or float64 X, else float32.
        objective_, duality_gap_: float64 [k]; the gap is relative to the objective.
        n_iter_: int64 [k], Newton iterations.
        n_features_in_: D.
    """

    def __init__(
        self, C: float = 1.0, *, tol: float = 1e-4, max_iter: int = 100, device: torch.device | str | None = None
    ) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.device = device

    def fit(self, X: Features, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Fit float16, float32 or float64 X [n, D] with labels y [n].

        X: an array, memory map or tensor, on any device. Arrays of other types are converted.
        sample_weight: [n], >= 0; a row of weight 0 takes no part.
        The objective is the one above, in the scale of X as given.
        Raises ValueError for what cannot be fitted: features that are not finite, fewer than two classes, C <= 0, or
        a C times the mean squared length of a row beyond 1e12.
        """
        check_options([self.C], tol=self.tol, max_iter=self.max_iter)
        X, y = check_fit(X, y, self)
        problem, classes = pose(X, y, sample_weight, [self.C], device=self.device)
        return self._adopt(classes, problem, run(newton(problem, self.C, tol=self.tol, max_iter=self.max_iter)))

    def decision_function(self, X: Features) -> np.ndarray:
        """Score X [n, D], as for fit, without copying it: [n, K], or [n] for two classes (positive for the second)."""
        check_is_fitted(self)
        X = _check_scored(X, self)
        rows = Rows(X, device=self.device)
        rows.check_finite()
        W = torch.from_numpy(np.column_stack([self.coef_, self.intercept_])).to(rows.device)
        scores = rows.scores(W).cpu().numpy()
        return scores[0] if len(scores) == 1 else scores.T

    def predict(self, X: Features) -> np.ndarray:
        """Return the class of the highest score, [n], for each row of X [n, D]."""
        scores = np.atleast_2d(self.decision_function(X).T)
        return self.classes_[winners(scores)]

    def _adopt(self, classes: np.ndarray, problem: Problem, solution: Solution) -> Self:
        """Set the attributes from a solution; warn when it falls short of tol."""
        weights = solution.weights.to(problem.rows.dtype).cpu().numpy()
        self.classes_ = classes
        self.n_features_in_ = weights.shape[1] - 1
        self.coef_, self.intercept_ = weights[:, :-1].copy(), weights[:, -1].copy()
        self.objective_ = solution.objective.cpu().numpy()
        self.duality_gap_ = solution.gap.cpu().numpy()
        self.n_iter_ = solution.n_iter.cpu().numpy()
        worst = self.duality_gap_.max()
        if not worst <= self.tol:
            warnings.warn(
                f"L2SVM(C={self.C:g}) ended at a relative duality gap of {worst:.1e}, above tol={self.tol:g}, after "
                f"{self.n_iter_.max()} iterations; raise max_iter or tol, or scale the features",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self


def l2svm_path(
    X: Features,
    y: np.ndarray,
    Cs: Sequence[float],
    *,
    sample_weight: np.ndarray | None = None,
    tol: float = 1e-4,
    max_iter: int = 100,
    device: torch.device | str | None = None,
) -> Iterator[L2SVM]:
    """Yield an L2SVM fitted for each of Cs, in this order. They share the set-up, and each starts at the one before.

    Arguments and errors are those of L2SVM.fit. Ascending Cs take the fewest passes.
    """
    check_options(Cs, tol=tol, max_iter=max_iter)
    X, y = check_fit(X, y)
    problem, classes = pose(X, y, sample_weight, Cs, device=device)
    solution = None
    for C in Cs:
        solution = run(newton(problem, C, tol=tol, max_iter=max_iter, start=solution))
        yield L2SVM(C, tol=tol, max_iter=max_iter, device=device)._adopt(classes, problem, solution)


def check_fit(X: Features, y: np.ndarray, svm: L2SVM | None = None) -> tuple[Features, np.ndarray]:
    """Return X and y as they can be fitted, X without a copy if its type is one of DTYPES. Raises ValueError if unfit.

    svm: is told the number and the names of the features, as scikit-learn does.
    """
    if not isinstance(X, Tensor):
        how = {"dtype": DTYPES, "ensure_all_finite": False}
        return check_X_y(X, y, **how) if svm is None else validate_data(svm, X, y, **how)
    _check_tensor(X)
    y = column_or_1d(y, warn=True)
    check_consistent_length(X, y)
    return X, y


def _check_scored(X: Features, svm: L2SVM) -> Features:
    """Return X as it can be scored. Raises ValueError if it cannot."""
    if not isinstance(X, Tensor):
        return validate_data(svm, X, dtype=DTYPES, ensure_all_finite=False, reset=False)
    _check_tensor(X)
    if X.shape[1] != svm.n_features_in_:
        raise ValueError(f"X has {X.shape[1]} features, but L2SVM is expecting {svm.n_features_in_} features as input")
    return X


def _check_tensor(X: Tensor) -> None:
    """Raise ValueError unless it is a matrix that can be fitted: nothing is converted where a GPU's memory is short."""
    if X.layout != torch.strided or X.is_meta:
        raise ValueError(f"X must be a dense tensor that has data, got {X.layout} on {X.device}")
    if X.ndim != 2 or 0 in X.shape or X.dtype not in (torch.float16, torch.float32, torch.float64):
        raise ValueError(f"X must be float16, float32 or float64 [n, D], got {X.dtype} {list(X.shape)}")


def pose(
    X: Features,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    Cs: Sequence[float] = (),
    *,
    device: torch.device | str | None,
) -> tuple[Problem, np.ndarray]:
    """Return (the one-vs-rest problems over X, the sorted classes [K]).

    Raises ValueError for unfit rows and labels, and for one of Cs that is too large for the rows (see STRENGTH).
    """
    check_classification_targets(y)
    classes, class_index = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels must hold at least two classes, got one class only: {classes.tolist()}")
    weight = _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
    if not weight.any():
        raise ValueError("sample_weight must be positive for some row, got zero for all")
    rows = Rows(X, device=device)
    square = rows.check_finite()
    largest_C = STRENGTH / (square * float(weight.max()))
    if unfit := [C for C in Cs if C > largest_C]:
        fix = f", or take C near {1 / square:.0e}" if square < math.inf else ""
        raise ValueError(
            f"C times the mean squared length of a row must be at most {STRENGTH:.0e}, or rounding decides; got C = "
            f"{unfit[0]:g} and {square:.2g}: scale the features{fix}"
        )
    targets = np.arange(len(classes)) if len(classes) > 2 else np.array([1])
    signs = torch.from_numpy(np.where(class_index == targets[:, None], 1.0, -1.0)).to(rows.device)
    s = torch.from_numpy(weight).to(rows.device)
    return Problem(rows, signs, s, find_space(rows, s), largest_C), classes


def winners(scores: np.ndarray) -> np.ndarray:
    """Return the index of the class that wins each row, int64 [n], by scores [k, n] of the one-vs-rest problems."""
    return scores.argmax(0) if len(scores) > 1 else (scores[0] > 0).astype(np.int64)


def check_options(Cs: Sequence[float], *, tol: float, max_iter: int) -> None:
    """Raise ValueError unless every option is in its range."""
    for name, value in [*(("C", C) for C in Cs), ("tol", tol)]:
        if not isinstance(value, Real) or not 0 < value <= sys.float_info.max:  # larger whole numbers are no float64
            raise ValueError(f"{name} must be a positive, finite number, got {value!r}")
    if not isinstance(max_iter, Integral) or max_iter < 1:
        raise ValueError(f"max_iter must be a whole number, at least 1, got {max_iter!r}")


def run(
    steps: Generator[None, None, T], *, progress: Progress | None = None, total: int | None = None, **labels: str
) -> T:
    """Run a generator to its end and return its value; `progress`, if given, shows its steps."""
    result: list[T] = []

    def kept() -> Iterator[None]:
        result.append((yield from steps))

    for _ in kept() if progress is None else progress(kept(), total=total, **labels):
        pass
    return result[0]

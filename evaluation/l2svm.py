"""L2SVM: scikit-learn's LinearSVC objective, solved on float32 features without a copy of them.

min 1/2 |(w, b)|^2 + C sum_i s_i max(0, 1 - y_i (w x_i + b))^2 for each class against the rest. The DCGAN paper fits
this on discriminator features (section 5), and LinearSVC minimises it (squared hinge, L2 penalty, intercept_scaling 1,
so the intercept is penalised). LinearSVC holds X seven times over; this module never copies it, unless X is sparse.
"""

import math
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, Self, TypeVar

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_X_y, column_or_1d
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
from torch import Tensor

from evaluation.newton import newton
from evaluation.posing import ClassWeight, pose
from evaluation.problem import Problem, Solution
from evaluation.processes import ALONE, Processes
from evaluation.rows import Features, Rows

Progress = Callable[..., Iterable]  # as tqdm: progress(iterable, total=, desc=, unit=)
# Features of these types are taken as they are; others are converted to the first.
DTYPES = [np.float64, np.float32, np.float16]
DENSE_BYTES = 2**32  # of a dense array: a sparse X that would take more is refused
T = TypeVar("T")


class L2SVM(ClassifierMixin, BaseEstimator):
    """One-vs-rest linear SVM with squared hinge loss and penalised intercept.

    Args:
        C: weight of the loss, > 0.
        tol: relative duality gap to reach, > 0: the objective is then within this share of its minimum.
        max_iter: largest number of Newton iterations; a ConvergenceWarning tells if they did not reach tol.
        device: where the linear algebra runs, "cpu" or "cuda"; by default the CPU, or where X is if it is a tensor. On
            a GPU, X stays there if it fits, else it is streamed.
        sharded: the rows given to fit are this process's part of all rows, which the processes of torch.distributed's
            default group hold in their order; every process then has the whole fit. predict is about the rows given.
            Without torch.distributed, it changes nothing.
        class_weight: as LinearSVC's. Rows of class c get C * class_weight[c]; classes that are left out have weight 1.
            "balanced" is n / (K * the rows of the class). With more than two classes, the rows of the rest keep C.

    Attributes:
        classes_: [K], sorted. Two classes make one problem (k = 1), the second against the first; more make k = K.
        coef_, intercept_: [k, D] and [k], float64 for small or float64 X, else float32.
        objective_, duality_gap_: float64 [k]; the gap is relative to the objective.
        n_iter_: int64 [k], Newton iterations.
        n_features_in_: D.

    >>> X, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 4
    >>> svm = evaluation.L2SVM(C=1.0, class_weight="balanced").fit(X, y)
    >>> svm.predict(X[:5]), bool(svm.duality_gap_.max() <= svm.tol)
    (array([0, 1, 2, 3, 0]), True)
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        tol: float = 1e-4,
        max_iter: int = 100,
        device: torch.device | str | None = None,
        class_weight: ClassWeight = None,
        sharded: bool = False,
    ) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.device = device
        self.sharded = sharded
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Features, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Fit float16, float32 or float64 X [n, D] with labels y [n].

        X: an array, memory map or tensor, on any device. Arrays of other types are converted. A sparse X of scipy is
        converted to a dense array, with a warning that says its size.
        sample_weight: [n], >= 0; a row of weight 0 takes no part.
        The objective is the one above, in the scale of X as given.
        Raises ValueError for what cannot be fitted: features that are not finite, fewer than two classes, C <= 0, a
        class_weight of an unknown class, a C times the mean squared length of a row beyond 1e12, or a sparse X that
        takes more than 4 GiB as a dense array.
        """
        processes = Processes(self.sharded)
        check_options([self.C], tol=self.tol, max_iter=self.max_iter, processes=processes)
        X, y = check_fit(X, y, self, processes)
        how: Any = {"device": self.device, "class_weight": self.class_weight, "sharded": self.sharded}
        problem, classes = pose(X, y, sample_weight, [self.C], **how)
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
    class_weight: ClassWeight = None,
    sharded: bool = False,
) -> Iterator[L2SVM]:
    """Yield an L2SVM fitted for each of Cs, in this order. They share the set-up, and each starts at the one before.

    Arguments and errors are those of L2SVM and L2SVM.fit. Ascending Cs take the fewest passes.

    >>> X, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 4
    >>> [round(float(svm.objective_[0]), 2) for svm in evaluation.l2svm_path(X, y, [0.01, 0.1])]
    [0.3, 1.09]
    """
    processes = Processes(sharded)
    check_options(Cs, tol=tol, max_iter=max_iter, processes=processes)
    X, y = check_fit(X, y, processes=processes)
    how: Any = {"device": device, "class_weight": class_weight, "sharded": sharded}
    problem, classes = pose(X, y, sample_weight, Cs, **how)
    solution = None
    for C in Cs:
        solution = run(newton(problem, C, tol=tol, max_iter=max_iter, start=solution))
        svm = L2SVM(C, tol=tol, max_iter=max_iter, **how)
        yield svm._adopt(classes, problem, solution)


def check_fit(
    X: Features, y: np.ndarray, svm: L2SVM | None = None, processes: Processes = ALONE
) -> tuple[Features, np.ndarray]:
    """Return X and y as they can be fitted, X without a copy if its type is one of DTYPES. Raises ValueError if unfit.

    svm: is told the number and the names of the features, as scikit-learn does.
    processes: those that hold the rows; some of them may have none. What is unfit in one of them is unfit in all.
    """
    X, y = processes.together(lambda: _checked(X, y, svm, processes.count > 1))
    shapes = processes.gathered((X.shape[1], str(X.dtype).removeprefix("torch.")))
    if len(set(shapes)) > 1:
        raise ValueError(f"every process must have features of one width and type, got {shapes}")
    return X, y


def _checked(X: Features, y: np.ndarray, svm: L2SVM | None, sharded: bool) -> tuple[Features, np.ndarray]:
    shape: Sequence[int] = getattr(X, "shape", ())
    if sharded and len(shape) == 2 and shape[0] == 0 < shape[1] and np.shape(y) == (0,):
        if svm is not None:
            svm.n_features_in_ = shape[1]
        if not isinstance(X, Tensor):
            X = np.asarray(_dense(X, 7))
            X = X if X.dtype in DTYPES else X.astype(DTYPES[0])
        return X, np.asarray(y)
    if not isinstance(X, Tensor):
        X, how = _dense(X, 7), {"dtype": DTYPES, "ensure_all_finite": False}
        return check_X_y(X, y, **how) if svm is None else validate_data(svm, X, y, **how)
    _check_tensor(X)
    y = column_or_1d(y, warn=True)
    check_consistent_length(X, y)
    return X, y


def _check_scored(X: Features, svm: L2SVM) -> Features:
    """Return X as it can be scored. Raises ValueError if it cannot."""
    if not isinstance(X, Tensor):
        return validate_data(svm, _dense(X, 4), dtype=DTYPES, ensure_all_finite=False, reset=False)
    _check_tensor(X)
    if X.shape[1] != svm.n_features_in_:
        raise ValueError(f"X has {X.shape[1]} features, but L2SVM is expecting {svm.n_features_in_} features as input")
    return X


def _dense(X: Any, callers: int) -> Any:
    """Return X, as a dense array if it is sparse. Warns of the array's size, and raises ValueError if it is too large.

    Features of networks are dense, and so are the solver's products. callers: from here to the user's own code.
    """
    if not sparse.issparse(X):
        return X
    size, what = math.prod(X.shape) * X.dtype.itemsize, f"sparse X {list(X.shape)}"
    if size > DENSE_BYTES:
        fix = "fit LinearSVC, which takes sparse X, or fewer columns (TruncatedSVD)"
        raise ValueError(
            f"{what} would take {size / 1e9:.1f} GB as a dense array, {DENSE_BYTES / 1e9:.1f} at most; {fix}"
        )
    warnings.warn(f"{what} is converted to a dense array of {size / 1e6:.1f} MB", UserWarning, stacklevel=callers)
    return X.toarray(order="C")


def _check_tensor(X: Tensor) -> None:
    """Raise ValueError unless it is a matrix that can be fitted: nothing is converted where a GPU's memory is short."""
    if X.layout != torch.strided or X.is_meta:
        raise ValueError(f"X must be a dense tensor that has data, got {X.layout} on {X.device}")
    if X.ndim != 2 or 0 in X.shape or X.dtype not in (torch.float16, torch.float32, torch.float64):
        raise ValueError(f"X must be float16, float32 or float64 [n, D], got {X.dtype} {list(X.shape)}")


def winners(scores: np.ndarray) -> np.ndarray:
    """Return the index of the class that wins each row, int64 [n], by scores [k, n] of the one-vs-rest problems."""
    return scores.argmax(0) if len(scores) > 1 else (scores[0] > 0).astype(np.int64)


def check_options(Cs: Sequence[float], *, tol: float, max_iter: int, processes: Processes = ALONE) -> None:
    """Raise ValueError, in every process, unless every option is in its range, and the same in all processes."""
    processes.together(lambda: _check_ranges(Cs, tol, max_iter))
    asked = processes.gathered(([*map(float, Cs)], float(tol), int(max_iter)))
    if any(other != asked[0] for other in asked):
        raise ValueError(f"C, tol and max_iter must be the same in every process, got {asked}")


def _check_ranges(Cs: Sequence[float], tol: float, max_iter: int) -> None:
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

"""Few labels: L2-SVMs on many small draws of labelled rows, all scored on the same rows.

The DCGAN paper's SVHN protocol (section 5.2 and the authors' code) chooses C by the mean error over 10 draws of 1,000
labels, then scores 100 fresh draws. A draw has few rows, so its problem is solved through the rows' inner products, for
every class and C.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.l2svm import L2SVM, Progress, l2svm_path, winners
from evaluation.processes import Processes
from evaluation.rows import Features, Rows
from evaluation.splits import check_rows

TOGETHER = 10  # at least so many fits are scored in one pass over the scored rows


def label_draws(
    labels: np.ndarray, draws: int, *, seed: int, per_class: int | None = None, size: int | None = None
) -> NDArray[np.int64]:
    """Make `draws` independent draws of rows without replacement: indices int64 [draws, n], each draw sorted.

    labels: [N]. A draw has `per_class` rows of every class, or `size` rows of any class.
    Raises ValueError unless exactly one of the two is given, and when there are too few rows.

    >>> evaluation.label_draws(np.arange(8) % 2, 2, seed=0, per_class=2)
    array([[0, 4, 5, 7],
           [1, 2, 5, 6]])
    """
    labels = np.asarray(labels)
    asked = [n for n in (per_class, size) if n is not None]
    if labels.ndim != 1 or len(asked) != 1 or min(draws, *asked) < 1:
        raise ValueError("label_draws takes labels [N], draws >= 1 and one of per_class >= 1 and size >= 1")
    classes, counts = np.unique(labels, return_counts=True)
    if per_class is not None and per_class > counts.min():
        few = classes[counts.argmin()]
        raise ValueError(f"per_class must be at most {counts.min()}, the labels of class {few}, got {per_class}")
    if size is not None and size > len(labels):
        raise ValueError(f"size must be at most {len(labels)}, the number of labels, got {size}")
    rng = np.random.default_rng(seed)

    def one() -> np.ndarray:
        if size is not None:
            return rng.permutation(len(labels))[:size]
        return np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:per_class] for c in classes])

    return np.stack([np.sort(one()) for _ in range(draws)])


def score_draws(
    X: Features,
    y: np.ndarray,
    draws: NDArray[np.int64],
    Cs: Sequence[float],
    X_scored: Features,
    y_scored: np.ndarray,
    *,
    tol: float = 1e-4,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    sharded: bool = False,
) -> tuple[NDArray[np.bool_], float]:
    """Fit every draw for every C, and score every fit on the same rows.

    X: [N, D], as for L2SVM.fit, y: [N]; draws: int64 [R, n], rows of X; X_scored: [m, D], like X, y_scored: [m].
    tol: relative duality gap of each fit.
    sharded: X, y and the scored rows are this process's part, as for L2SVM. Draws then are of the rows of all
    processes, in their order, and m counts the rows scored here.
    Returns (right, gap): bool [R, len(Cs), m], whether each scored row got its label, and the largest duality gap.
    Raises ValueError as L2SVM.fit does.

    >>> X, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 4
    >>> draws = evaluation.label_draws(y, 3, seed=0, per_class=5)
    >>> right, gap = evaluation.score_draws(X, y, draws, [0.1, 1.0], X[:8], y[:8])
    >>> right.shape, float(right.mean())
    ((3, 2, 8), 1.0)
    """
    processes = Processes(sharded)
    lengths = processes.gathered(len(X))
    first = sum(lengths[: processes.rank])
    y, y_scored = np.asarray(y), np.asarray(y_scored)

    def checked() -> Rows:
        for draw in draws:
            check_rows("a draw", draw, sum(lengths))
        if X.shape[1:] != X_scored.shape[1:]:
            raise ValueError(f"X and X_scored must be equally wide, got {list(X.shape)} and {list(X_scored.shape)}")
        if (len(y), len(y_scored)) != (len(X), len(X_scored)):
            raise ValueError(f"every row of X and X_scored must have one label, got {len(y)} and {len(y_scored)}")
        if not len(Cs):
            raise ValueError("Cs must hold at least one value, got none")
        scored = Rows(X_scored, device=device)
        scored.check_finite()
        return scored

    scored = processes.together(checked)
    if len(set(processes.gathered(np.asarray(draws).tobytes()))) > 1:
        raise ValueError("draws must be the same in every process")
    right = np.zeros((len(draws), len(Cs), len(y_scored)), np.bool_)
    order = np.argsort(Cs)  # ascending values take the fewest steps
    gap = 0.0
    shown = draws if progress is None else progress(draws, total=len(draws), desc="draws of labels", unit="draw")
    fitted: list[tuple[int, int, L2SVM]] = []
    for r, rows in enumerate(shown):
        mine = rows[(rows >= first) & (rows < first + len(X))] - first
        path = l2svm_path(X[mine], y[mine], [Cs[i] for i in order], tol=tol, device=device, sharded=sharded)
        fitted += [(r, i, svm) for i, svm in zip(order, path, strict=True)]
        if len(fitted) < TOGETHER and r < len(draws) - 1:
            continue
        for (q, i, svm), predicted in zip(fitted, _predictions([svm for *_, svm in fitted], scored), strict=True):
            right[q, i] = predicted == y_scored
            gap = max(gap, float(svm.duality_gap_.max()))
        fitted.clear()
    return right, gap


def _predictions(svms: Sequence[L2SVM], rows: Rows) -> list[np.ndarray]:
    """Predict the labels of the rows by every SVM, in one pass over the rows."""
    weights = [np.column_stack([svm.coef_, svm.intercept_]) for svm in svms]
    scores = rows.scores(torch.from_numpy(np.concatenate(weights)).to(rows.device)).cpu().numpy()
    return [
        svm.classes_[winners(part)]
        for svm, part in zip(svms, np.split(scores, np.cumsum([len(w) for w in weights])[:-1]), strict=True)
    ]

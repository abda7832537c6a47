"""Classify features: choose C on training rows, score the test rows once, and say which of them were right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

import evaluation
from experiments.measure.labelled_images import rows_digest
from experiments.measure.protocols import FewLabels, Protocol
from experiments.run.context import Run
from experiments.run.progress import Progress, silent
from experiments.run.torchrun import gathered, processes

FOLDS = 5
ROWS = 1024  # rows standardised at once
TOL = 1e-3  # of the fit of all rows where some of them chose C: the accuracy of DCGAN features does not change below it


@dataclass(frozen=True)
class Split:
    """Features [N, D] and [m, D], labels [N] and [m]. holdout: the training rows on which C is chosen, ascending.

    choice: the training rows that choose C, those held out among them, ascending; None for all.
    Features are float32 or float16, in memory, on disk, or tensors on the device where they are classified.
    rows, tested: under torchrun, which rows X and X_test are; labels and hold-out are those of all processes.
    """

    X: np.ndarray | Tensor
    y: np.ndarray
    X_test: np.ndarray | Tensor
    y_test: np.ndarray
    holdout: NDArray[np.int64]
    choice: NDArray[np.int64] | None = None
    rows: slice = field(default_factory=lambda: slice(None))
    tested: slice = field(default_factory=lambda: slice(None))

    def own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of the training rows (ascending) that are among X, as indices into it."""
        start, stop, _ = self.rows.indices(len(self.y))
        return rows[(rows >= start) & (rows < stop)] - start


@dataclass(frozen=True)
class Answer:
    """What a classification found.

    right: bool [R, m], which test rows were right, for each draw of labels. drawn: int64 [R, n], the labelled rows of
    each draw. selection and solver say, for the record, how C was chosen and how the solver ended. top5: bool [m], for
    which test rows the true class was among the best five; None for draws.
    """

    right: NDArray[np.bool_]
    drawn: NDArray[np.int64]
    selection: dict[str, Any]
    solver: dict[str, Any] = field(default_factory=dict)
    top5: NDArray[np.bool_] | None = None


def score_neighbours(
    X: np.ndarray | Tensor,
    y: np.ndarray,
    draws: NDArray[np.int64],
    ks: Sequence[int],
    X_scored: np.ndarray | Tensor,
    y_scored: np.ndarray,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> tuple[NDArray[np.bool_], float]:
    """Score draws like `evaluation.score_draws`, but by the k nearest rows of a draw (Euclidean distance).

    The second value, the duality gap, is 0.
    """

    def on_device(rows: np.ndarray | Tensor) -> Tensor:
        return (rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))).to(device, torch.float32)

    queries = on_device(X_scored)
    right = np.zeros((len(draws), len(ks), len(y_scored)), np.bool_)
    for r, rows in enumerate(progress(draws, total=len(draws), desc="draws of labels", unit="draw")):
        references = on_device(X[rows])
        for i, k in enumerate(ks):
            right[r, i] = evaluation.knn_predict(queries, references, y[rows], k=k) == y_scored
    return right, 0.0


@dataclass(frozen=True)
class Classifier:
    """A classifier of features."""

    name: str  # in the method column
    setting: str  # the name of the setting that is chosen
    score: Callable[..., tuple[NDArray[np.bool_], float]]  # fits and scores draws, as evaluation.score_draws
    grid: tuple[float, ...] = ()  # values of the setting; the protocol's if empty


CLASSIFIER = {
    "l2-svm": Classifier("L2-SVM", "C", evaluation.score_draws),
    "k-nn": Classifier("k-nn", "k", score_neighbours, (1, 3, 5, 9, 15, 25)),
}


def standardised(X: np.ndarray, X_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised copies, float32: minus the training rows' mean, divided by sqrt(their variance + 0.01).

    This is what Coates & Ng's demo does.
    """
    blocks = lambda: (np.asarray(X[i : i + ROWS], np.float32) for i in range(0, len(X), ROWS))  # noqa: E731
    mean, square = (sum(f(x).sum(0, dtype=np.float64) for x in blocks()) / len(X) for f in (np.asarray, np.square))
    scale = 1 / np.sqrt(square - mean**2 + 0.01)
    out = np.empty(X.shape, np.float32), np.empty(X_test.shape, np.float32)
    for whole, to in zip((X, X_test), out, strict=True):
        for i in range(0, len(whole), ROWS):
            to[i : i + ROWS] = (whole[i : i + ROWS] - mean) * scale
    return out


def all_labels(split: Split, grid: tuple[float, ...], run: Run) -> Answer:
    """Choose C on the held-out rows, then fit all rows once."""
    how: dict[str, Any] = {"device": run.device, "progress": run.progress}
    X, y, held = _chosen_rows(split)
    chosen = evaluation.select_C(X, y, held, grid, **how, **_sharded())
    for entry in chosen.grid:
        run.say(f"C {entry['C']:g}: {100 * entry['accuracy']:.2f} % of {len(split.holdout):,} held-out training images")
    if chosen.skipped:
        run.say(f"C {', '.join(f'{C:g}' for C in chosen.skipped)}: not tried, the accuracy had clearly fallen before")
    if split.choice is None:
        svm = evaluation.fit_selected(X, y, chosen, **how)
    else:
        run.say(f"fitting all {len(split.y):,} training images with C {chosen.C:g}")
        svm = evaluation.L2SVM(chosen.C, tol=TOL, device=run.device, **_sharded()).fit(split.X, split.y[split.rows])
    solver = {
        "C": svm.C,
        "tol": svm.tol,
        "n_iter": np.asarray(svm.n_iter_).tolist(),
        "objective": np.asarray(svm.objective_).tolist(),
        "duality_gap": np.asarray(svm.duality_gap_).tolist(),
    }
    selection = {
        "C": chosen.C,
        "holdout": len(split.holdout),
        "grid": list(chosen.grid),
        "skipped": list(chosen.skipped),
    }
    if split.choice is not None:
        selection["rows"] = len(split.choice)
    y_test = split.y_test[split.tested]
    scores = svm.decision_function(split.X_test) if len(y_test) else np.empty((0, max(2, len(svm.classes_))))
    right, among = (gathered(found) for found in among_best(scores, svm.classes_, y_test))
    return Answer(right[None], np.arange(len(split.y))[None], selection, solver, among)


def _chosen_rows(split: Split) -> tuple[np.ndarray | Tensor, np.ndarray, NDArray[np.int64]]:
    """Return this process's features and labels of the rows that choose C, and the held-out ones among them."""
    y, held = split.y[split.rows], split.own(split.holdout)
    if split.choice is None:
        return split.X, y, held
    rows = split.own(split.choice)
    X = split.X[torch.from_numpy(rows).to(split.X.device)] if isinstance(split.X, Tensor) else split.X[rows]
    return X, y[rows], np.searchsorted(rows, held)


def among_best(
    scores: np.ndarray, classes: np.ndarray, truth: np.ndarray
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether the true class has the highest score, and whether it is among the five highest: bool [m] each.

    scores: of m rows, [m, K], or [m] for two classes (positive for the second). classes: [K], sorted. truth: [m]; a
    label that is no class is never right. Among equal scores the first class counts as the highest.
    """
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    column = np.minimum(np.searchsorted(classes, truth), len(classes) - 1)
    own = np.take_along_axis(scores, column[:, None], axis=1)
    before = (scores > own) | ((scores == own) & (np.arange(len(classes)) < column[:, None]))
    rank = np.where(classes[column] == truth, before.sum(1), len(classes))
    return rank == 0, rank < 5


def few_labels(
    split: Split,
    grid: tuple[float, ...],
    few: FewLabels,
    seed: int,
    run: Run,
    classifier: Classifier = CLASSIFIER["l2-svm"],
) -> Answer:
    """Choose the classifier's setting, then score fresh draws once.

    The setting is chosen by draws that are scored on held-out rows, or by cross-validation if `few.select` is 0.
    """
    y, setting = split.y, classifier.setting
    pool = np.setdiff1d(np.arange(len(y)), split.holdout)
    how: dict[str, Any] = {"device": run.device, "progress": run.progress}

    def drawn(draws: int, seed: int) -> NDArray[np.int64]:
        return pool[evaluation.label_draws(y[pool], draws, seed=seed, per_class=few.per_class, size=few.size)]

    def score(draws: NDArray[np.int64], grid: Sequence[float], held: NDArray[np.int64] | None, **how: Any) -> Any:
        """Score draws on held-out training rows, or on the test rows."""
        own = y[split.rows]
        scored = (split.X_test, split.y_test[split.tested])
        if held is not None:
            scored = (split.X[split.own(held)], own[split.own(held)])
        right, gap = classifier.score(split.X, own, draws, grid, *scored, **how, **_sharded())
        return gathered(right, axis=2), gap

    if few.select:
        right, gap = score(drawn(few.select, seed), grid, split.holdout, **how)
        scores = right.mean(2)  # [draws, values]
    else:
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(y, y)
        parts = [score(fit[None], grid, held, device=run.device) for fit, held in folds]
        scores, gap = np.stack([part[0].mean((0, 2)) for part in parts]), max(part[1] for part in parts)
    means = scores.mean(0)
    best = min(value for value, mean in zip(grid, means, strict=True) if mean == means.max())
    tried = [
        {setting: value, "accuracy": float(mean), "sd": float(sd)}
        for value, mean, sd in zip(grid, means, scores.std(0, ddof=1), strict=True)
    ]
    where = f"{few.select} draws" if few.select else f"{FOLDS} folds"
    for entry in tried:
        run.say(f"{setting} {entry[setting]:g}: {100 * entry['accuracy']:.2f} % on training images left out, {where}")
    fresh = drawn(few.score, seed + 1)
    right, last_gap = score(fresh, [best], None, **how)
    selection = {setting: best, "holdout": len(split.holdout), "scored on": where, "grid": tried}
    return Answer(right[:, 0], fresh, selection, {setting: best, "duality_gap": max(gap, last_gap)})


def _sharded() -> dict[str, Any]:
    """Return the option of solvers whose rows several processes share; none for a single process."""
    return {"sharded": True} if processes() > 1 else {}


def scored(right: np.ndarray, rules: Protocol) -> dict[str, Any]:
    """Return a figure's value, error bar over draws and number of test images, from what was right: bool [R, m]."""
    accuracy = 100 * right.mean(1)
    percent = accuracy if rules.metric == "accuracy_percent" else 100 - accuracy
    figure = {"value": float(percent.mean()), "n_test": right.shape[1]}
    if len(right) > 1:
        sd = float(percent.std(ddof=1))
        figure |= {"error_bar": 1.96 * sd if rules.bar == "1.96sd" else sd, "error_bar_kind": rules.bar}
    return figure


def outcomes(drawn: np.ndarray, right: np.ndarray, y_test: np.ndarray) -> dict[str, Any]:
    """Return what paired tests compare: the labels used, and which test images were right, in hexadecimal.

    drawn: int64 [R, n], the labelled rows of each draw. right: bool [R, m]. y_test: [m].
    One fit gives `right`, a bit for each image. R <= 255 draws give `right_draws`, a byte for each image, the number of
    draws that got it right. They also give `accuracy_percent`, one value for each draw, and `class_accuracy_percent`,
    one list for each draw, with the classes in ascending order.
    """
    labels = {"labels": rows_digest(drawn)}
    if len(right) == 1:
        return labels | {"right": np.packbits(right[0]).tobytes().hex()}
    by_class = np.stack([right[:, y_test == c].mean(1) for c in np.unique(y_test)], axis=1)
    return labels | {
        "right_draws": right.sum(0).astype(np.uint8).tobytes().hex(),
        "accuracy_percent": (100 * right.mean(1)).round(4).tolist(),
        "class_accuracy_percent": (100 * by_class).round(2).tolist(),
    }

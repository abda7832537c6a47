"""The L2-SVM's problems as they are posed: classes and weights of the rows, and the C that rounding allows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

from evaluation.problem import Problem
from evaluation.processes import Processes
from evaluation.rows import Features, Rows
from evaluation.subspace import find_space

# Largest C times the mean squared length of a row [x 1]. Beyond it no duality gap of 1e-4 can be shown in float64: the
# rounding of scores, 2e-16, times 2C is then as large as the weights.
STRENGTH = 1e12
ClassWeight = Mapping[Any, float] | Literal["balanced"] | None


def pose(
    X: Features,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    Cs: Sequence[float] = (),
    *,
    device: torch.device | str | None,
    class_weight: ClassWeight = None,
    sharded: bool = False,
) -> tuple[Problem, np.ndarray]:
    """Return (the one-vs-rest problems over X, the sorted classes [K]).

    Raises ValueError for unfit rows and labels, and for one of Cs that is too large for the rows (see STRENGTH).
    """
    processes = Processes(sharded)
    classes, weight = processes.together(lambda: _classes_and_weight(y, sample_weight, processes.count > 1))
    seen = [part for part in processes.gathered(classes) if len(part)] or [classes]  # of no rows the type says nothing
    classes = np.unique(np.concatenate(seen))
    if len(classes) < 2:
        raise ValueError(f"labels must hold at least two classes, got one class only: {classes.tolist()}")
    class_index = np.searchsorted(classes, y)
    mass = np.sum(processes.gathered(np.bincount(class_index, weight, minlength=len(classes))), 0)
    factor = None if class_weight is None else _class_factors(class_weight, classes, mass)
    if factor is not None and len(classes) == 2:
        mass, weight, factor = mass * factor, weight * factor[class_index], None
    _check_some_weight(mass, factor)
    heaviest = weight if factor is None else weight * np.maximum(1, factor[class_index])
    largest = max(processes.gathered(float(heaviest.max(initial=0))))
    rows = Rows(X, device=device, sharded=sharded)
    square = rows.check_finite()
    largest_C = STRENGTH / (square * largest)
    if unfit := [C for C in Cs if C > largest_C]:
        fix = f", or take C near {1 / square:.0e}" if square < math.inf else ""
        raise ValueError(
            f"C times the mean squared length of a row must be at most {STRENGTH:.0e}, or rounding decides; got C = "
            f"{unfit[0]:g} and {square:.2g}: scale the features{fix}"
        )
    targets = torch.arange(len(classes)) if len(classes) > 2 else torch.tensor([1])
    labels = torch.from_numpy(class_index.astype(np.int64)).to(rows.device)
    s = drawn = torch.from_numpy(weight).to(rows.device)
    positive = None if factor is None else torch.from_numpy(factor).to(rows.device)
    if positive is not None:  # rows are sampled by their mean weight over the problems
        drawn = s * (1 + (positive[labels] - 1) / len(classes))
    space = find_space(rows, drawn, len(targets))
    return Problem(rows, labels, targets.to(rows.device), s, space, positive, largest_C, processes), classes


def _classes_and_weight(
    y: np.ndarray, sample_weight: np.ndarray | None, sharded: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of these rows and the rows' weights, float64 [n]; all may be zero if they are sharded."""
    if not len(y):
        return y[:0], np.ones(0)
    check_classification_targets(y)
    if sharded and sample_weight is not None and np.shape(sample_weight) == y.shape and not np.any(sample_weight):
        return np.unique(y), np.zeros(len(y))
    return np.unique(y), _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)


def _class_factors(class_weight: ClassWeight, classes: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return by how much rows of each class are weighted, float64 [K]. mass: the weight of the rows of each class.

    In the problem of a class against the rest, only the rows of that class are weighted, as in LIBLINEAR.
    """
    if isinstance(class_weight, str) and class_weight == "balanced":
        factor = np.divide(mass.sum() / len(classes), mass, out=np.zeros(len(classes)), where=mass > 0)
    else:
        factor = compute_class_weight(class_weight, classes=classes, y=classes)
    if not (np.isfinite(factor) & (factor >= 0)).all():
        raise ValueError(f"class_weight must hold finite numbers >= 0, got {class_weight!r}")
    return factor


def _check_some_weight(mass: np.ndarray, factor: np.ndarray | None) -> None:
    """Raise ValueError if all rows of a problem weigh nothing. mass: the weight of the rows of each class, [K]."""
    weights = mass.sum() if factor is None else mass.sum() - mass + factor * mass
    if not np.all(weights > 0):
        raise ValueError("sample_weight must be positive for some row, got zero for all")

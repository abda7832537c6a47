"""Which units tell that an object is present: logistic regression of inside against outside (paper section 6.3.1)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 1e100  # the regression squares larger units beyond float64


@dataclass(frozen=True)
class Presence:
    """What the regression found.

    >>> found = evaluation.presence(np.array([[0.0], [1.0], [8.0], [9.0]]), np.arange(4) > 1, np.arange(4) % 2)
    >>> found.inside, found.accuracy_percent, found.held_out_percent
    (2, 100.0, 100.0)
    """

    weights: NDArray[np.float64]  # [K], one for each unit
    inside: int  # number of positions inside that were fitted
    outside: int
    accuracy_percent: float  # on these positions
    held_out_percent: float  # on images left out, in up to 5 folds; nan for one image, or a fold without one kind


def presence(units: NDArray[np.floating], inside: NDArray[np.bool_], images: NDArray[np.int64]) -> Presence:
    """Fit scikit-learn's logistic regression, at its defaults, to tell positions inside from those outside.

    units: [P, K], activations at P positions. inside: bool [P], with both values in it. images: int64 [P], the image of
    each position. Raises ValueError when all positions are inside, or all outside, and for units that are not finite.

    >>> units = np.array([[0.0, 5.0], [1.0, 5.0], [8.0, 5.0], [9.0, 5.0]])  # the first tells inside from outside
    >>> weights = evaluation.presence(units, np.arange(4) > 1, np.arange(4) % 2).weights
    >>> bool(weights[0] > 0.5), bool(abs(weights[1]) < 1e-3)
    (True, True)
    """
    from sklearn.linear_model import LogisticRegression  # imported here because it takes a second
    from sklearn.model_selection import GroupKFold, cross_val_predict

    if inside.all() or not inside.any():
        raise ValueError(f"need positions inside and outside, got {int(inside.sum())} and {int((~inside).sum())}")
    X = np.asarray(units, np.float64)
    if X.ndim != 2 or not (np.abs(X) < LARGEST).all():
        raise ValueError(f"units must be finite numbers [P, K] below {LARGEST:g}, got {X.dtype} {list(X.shape)}")
    regression = LogisticRegression(max_iter=10_000)  # the default of 100 may not be enough
    fitted = regression.fit(X, inside)
    held_out, parts = float("nan"), min(5, len(np.unique(images)))
    accuracy, weights = 100 * float(fitted.score(X, inside)), fitted.coef_[0].copy()
    if parts > 1:
        splits = list(GroupKFold(parts).split(X, inside, images))
        if all(np.unique(inside[fit]).size == 2 for fit, _ in splits):
            held_out = 100 * float(np.mean(cross_val_predict(regression, X, inside, cv=splits) == inside))
    return Presence(weights, int(inside.sum()), int((~inside).sum()), accuracy, held_out)

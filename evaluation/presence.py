"""Which units tell that something is there: logistic regression of inside against outside (paper section 6.3.1)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Presence:
    """The regression's answer."""

    weights: NDArray[np.float64]  # [K], of the units
    inside: int  # positions fitted
    outside: int
    accuracy_percent: float  # on these positions
    held_out_percent: float  # on images left out of the fit, in up to 5 parts; nan where there is one image


def presence(units: NDArray[np.floating], inside: NDArray[np.bool_], images: NDArray[np.int64]) -> Presence:
    """Fits scikit-learn's logistic regression, at its defaults, to tell positions inside from those outside.

    units: [P, K], activations at P positions. inside: bool [P], of both kinds. images: int64 [P], which image each
    position is of. Raises ValueError where one kind is missing.
    """
    from sklearn.linear_model import LogisticRegression  # here: the import takes a second
    from sklearn.model_selection import GroupKFold, cross_val_predict

    if inside.all() or not inside.any():
        raise ValueError(f"need positions inside and outside, got {int(inside.sum())} and {int((~inside).sum())}")
    X = np.asarray(units, np.float64)
    regression = LogisticRegression(max_iter=10_000)  # the default of 100 need not be enough
    fitted = regression.fit(X, inside)
    held_out, parts = float("nan"), min(5, len(np.unique(images)))
    accuracy, weights = 100 * float(fitted.score(X, inside)), fitted.coef_[0].copy()
    if parts > 1:
        splits = list(GroupKFold(parts).split(X, inside, images))
        if all(np.unique(inside[fit]).size == 2 for fit, _ in splits):
            held_out = 100 * float(np.mean(cross_val_predict(regression, X, inside, cv=splits) == inside))
    return Presence(weights, int(inside.sum()), int((~inside).sum()), accuracy, held_out)

"""What is found about X once and shared by every class, every C and every set of row weights.

Few rows: their inner products, with which any of the problems is solved exactly (`RowKernel`). Otherwise a few
directions in weight space that carry most of the curvature (`Subspace`). The Hessian of a problem is
I + 2C [X 1]' S [X 1] over its active rows; DCGAN features are unscaled and far from zero-mean, so that one
eigenvalue of [X 1]'[X 1] is 40 times the next and a few hundred are large, and plain conjugate gradients spend
their passes on these. Newton steps among the leading directions cost no pass over X; the others, known from a
sample of rows, help to precondition the full step.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.rows import Rows

FEW_ROWS = 2500  # up to here the rows' inner products solve the problem; beyond, so many are the sample
FULL_COST = 1e10  # n (D + 1)^2 up to which all directions are leading ones, and the solution is exact
RANK = 768  # directions kept, else
LEADING = 256  # of these, in which every class has its own exact Hessian
TAIL_SHARE = 0.5  # of `Subspace.tail`, taken as the curvature beyond the subspace


@dataclass(frozen=True)
class RowKernel:
    """Inner products of the rows of [X 1]: float64 [n, n]."""

    products: Tensor


@dataclass(frozen=True)
class Subspace:
    """Orthonormal directions in weight space, the leading ones first.

    leading: [h, D + 1].
    coordinates: [n, h], the rows of [X 1] along `leading`.
    others: [r - h, D + 1], further directions.
    curvature: float64 [r - h], the mean square of a row's coordinate along each of `others`.
    tail: the same along a direction beyond all of these, at most.
    """

    leading: Tensor
    coordinates: Tensor
    others: Tensor
    curvature: Tensor
    tail: float


def explore(X: np.ndarray) -> None: ...

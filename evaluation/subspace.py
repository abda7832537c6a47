"""What is found about X once and then shared by every class, every C and every set of row weights.

For few rows it is their inner products, with which any of the problems is solved exactly (`RowKernel`). Otherwise it is
a few directions in weight space that carry most of the curvature (`Subspace`). The Hessian of a problem is
I + 2C [X 1]' S [X 1] over its active rows. DCGAN features are unscaled and far from zero-mean, so one eigenvalue of
[X 1]'[X 1] is 40 times the next, and a few hundred are large. Plain conjugate gradients would spend their passes on
these. Newton steps along the leading directions cost no pass over X. The other directions, known from a sample of rows,
help to precondition the full step.
"""

import math
from dataclasses import dataclass

import scipy.linalg
import torch
from torch import Tensor

from evaluation.rows import COLUMNS, Rows

SAMPLE = 2500  # directions are taken from a sample of so many rows, or from all rows if there are fewer
FULL_COST = 1e10  # up to this n (D + 1)^2 all directions are leading ones, and the solution is exact
RANK = 512  # otherwise, so many directions are kept
LEADING = 256  # at most so many of them are leading ones, along which every class has its own exact Hessian
ACTIVE = 0.25  # share of the rows that are active, over the iterations
READING = 128  # a pass takes as long for one problem as the products of so many take: 20 from memory, 100 from a disk


@dataclass(frozen=True)
class RowKernel:
    """Inner products of the rows of [X 1] of all processes: float64 [N, N]."""

    products: Tensor


@dataclass(frozen=True)
class Subspace:
    """Orthonormal directions in weight space, the leading ones first.

    leading: [h, D + 1].
    coordinates: [n, h], this process's rows of [X 1] along `leading`.
    others: [r - h, D + 1], further directions.
    curvature: float64 [r - h], the mean square of a row's coordinate along each of `others`.
    tail: the largest mean square along a direction beyond all of these.
    """

    leading: Tensor
    coordinates: Tensor
    others: Tensor
    curvature: Tensor
    tail: float

    @property
    def complete(self) -> bool:
        """Whether the leading directions are all there are."""
        return self.leading.shape[0] == self.leading.shape[1]


def find_space(rows: Rows, sample_weight: Tensor, problems: int) -> RowKernel | Subspace:
    """Find what suits the shape of X and the number of problems. Only rows with a positive weight are sampled.

    sample_weight: float64 [n], of this process's rows.
    """
    if rows.width <= rows.total and rows.total * rows.width**2 <= FULL_COST:
        return _all_directions(rows)
    if rows.few:
        return RowKernel(_inner_products(rows, torch.arange(rows.total)))
    return _sampled(rows, sample_weight, leading_directions(rows.width, problems))


def leading_directions(width: int, problems: int) -> int:
    """Return along how many directions to take exact Hessians, so that one costs about as much as a pass over X.

    For each row, all problems' Hessians along h directions take 2 h^2 operations a problem for which the row is active,
    and a pass takes 4 (D + 1), but no less than reading the row does.
    """
    return min(LEADING, math.ceil(math.sqrt(2 * width * max(1, READING / problems) / ACTIVE)))


def _all_directions(rows: Rows) -> Subspace:
    leading = torch.eye(rows.width, dtype=rows.dtype, device=rows.device)
    none = torch.zeros(0, dtype=torch.float64, device=rows.device)
    return Subspace(leading, _coordinates(rows, leading), leading[:0], none, tail=0.0)


def _sampled(rows: Rows, sample_weight: Tensor, h: int) -> Subspace:
    index, weight = _sample(rows, sample_weight)
    root = weight.sqrt()[:, None].to(rows.dtype)
    products = _inner_products(rows, index, root).div_(weight.sum())
    squares, V = _eigenvectors(rows, products)  # of the mean square
    del products
    r = int((squares > 1e-7 * squares[0]).sum())  # float32 cannot tell smaller ones from 0
    tail = float(squares[min(r, RANK) :].max()) if min(r, RANK) < len(squares) else 0.0
    r = min(r, RANK)
    basis = _orthonormal(rows, index, V[:, :r].mul_(root / (squares[:r] * weight.sum()).sqrt().to(rows.dtype)))
    return Subspace(basis[:h], _coordinates(rows, basis[:h]), basis[h:], squares[h:r], max(tail, 0.0))


def _sample(rows: Rows, sample_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Draw rows of positive weight from those of all processes: their indices, int64 [m] ascending, and weights [m]."""
    mine = torch.nonzero(sample_weight)[:, 0].cpu()
    parts = rows.processes.gathered((mine + rows.first, sample_weight.cpu()[mine]))
    index, weight = (torch.cat(both) for both in zip(*parts, strict=True))
    drawn = torch.randperm(len(index), generator=torch.Generator().manual_seed(0))[:SAMPLE]  # not the global generator
    drawn = drawn.sort().values
    return index[drawn], weight[drawn].to(rows.device)


def _inner_products(rows: Rows, index: Tensor, root: Tensor | None = None) -> Tensor:
    """Return the inner products of chosen rows of [X 1], times `root` [m, 1] if given: float64 [m, m].

    The processes share the work, by columns.
    """
    products = torch.zeros(len(index), len(index), dtype=torch.float64, device=rows.device)
    for number, (_, S) in enumerate(rows.chosen(index)):
        if number % rows.processes.count == rows.processes.rank:
            S = S if root is None else S * root
            products += S @ S.T
    return rows.processes.sum(products)


def _eigenvectors(rows: Rows, products: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues, float64 [r + 1] descending, and eigenvectors [m, r + 1] of products [m, m].

    r is RANK, if there are so many. The first process finds them for all, which keeps their signs the same.
    """
    m = len(products)
    r = min(RANK + 1, m)
    if rows.device.type == "cuda":
        squares, V = torch.linalg.eigh(products)
        squares, V = squares[-r:], V[:, -r:].to(rows.dtype)
    elif rows.processes.rank == 0:
        values, vectors = scipy.linalg.eigh(
            products.numpy(), subset_by_index=[m - r, m - 1], driver="evr", overwrite_a=True, check_finite=False
        )
        squares, V = torch.from_numpy(values), torch.from_numpy(vectors).to(rows.dtype)
    else:
        squares, V = products.new_zeros(r), torch.zeros(m, r, dtype=rows.dtype)
    return rows.processes.agreed(squares.flip(0)), rows.processes.agreed(V.flip(1))


def _orthonormal(rows: Rows, index: Tensor, V: Tensor) -> Tensor:
    """Return the combinations V' S of chosen rows S of [X 1], made orthonormal in order: [r, D + 1].

    They nearly are, so their own inner products are well conditioned, and two rounds of Cholesky's factor suffice
    (CholeskyQR2, Yamamoto et al. 2015). Memory beyond the result is that of a block of columns.
    """
    basis = torch.zeros(V.shape[1], rows.width, dtype=rows.dtype, device=rows.device)
    for number, (columns, S) in enumerate(rows.chosen(index)):
        if number % rows.processes.count == rows.processes.rank:
            basis[:, columns] = V.T @ S
    basis = rows.processes.sum(basis)
    for _ in range(2):
        products = torch.zeros(len(basis), len(basis), dtype=torch.float64, device=rows.device)
        for part in basis.split(COLUMNS, 1):
            part = part.double()
            products += part @ part.T
        factor = damped_cholesky(products)
        for part in basis.split(COLUMNS, 1):
            part.copy_(torch.linalg.solve_triangular(factor, part.double(), upper=False))
    return basis


def _coordinates(rows: Rows, leading: Tensor) -> Tensor:
    """Return the coordinates [n, h] of this process's rows of [X 1] along the leading directions, in one pass."""
    coordinates = torch.empty(rows.n, len(leading), dtype=rows.dtype, device=rows.device)
    for where, x in rows.blocks():
        coordinates[where] = x @ leading[:, :-1].T + leading[:, -1]
    return coordinates


def to_basis(v: Tensor, basis: Tensor) -> Tensor:
    """Return the coordinates float64 [m, r] of vectors [m, D + 1] along a basis [r, D + 1]."""
    return (v.to(basis.dtype) @ basis.T).double()


def from_basis(coordinates: Tensor, basis: Tensor) -> Tensor:
    """Return the vectors, float64 [m, D + 1], that have these coordinates [m, r]."""
    return (coordinates.to(basis.dtype) @ basis).double()


def damped_cholesky(H: Tensor) -> Tensor:
    """Return the Cholesky factor of a positive definite float64 [m, m] that rounding may have made indefinite.

    If so, the diagonal is raised by a share of its mean, by no more than needed within a factor of 100.
    """
    factor, failed = torch.linalg.cholesky_ex(H)
    mean = H.diagonal().mean()
    for power in range(-15, 2, 2):
        if not failed:
            break
        damped = H.clone()
        damped.diagonal().add_(10.0**power * mean)
        factor, failed = torch.linalg.cholesky_ex(damped)
    return factor

"""What is found about X once and then shared by every class, every C and every set of row weights.

For few rows it is their inner products, with which any of the problems is solved exactly (`RowKernel`). Otherwise it is
a few directions in weight space that carry most of the curvature (`Subspace`). The Hessian of a problem is
I + 2C [X 1]' S [X 1] over its active rows. DCGAN features are unscaled and far from zero-mean, so one eigenvalue of
[X 1]'[X 1] is 40 times the next, and a few hundred are large. Plain conjugate gradients would spend their passes on
these. Newton steps along the leading directions cost no pass over X. The other directions, known from a sample of rows,
help to precondition the full step.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.rows import Rows

SAMPLE = 2500  # directions are taken from a sample of so many rows, or from all rows if there are fewer
FULL_COST = 1e10  # up to this n (D + 1)^2 all directions are leading ones, and the solution is exact
RANK = 512  # otherwise, so many directions are kept
LEADING = 256  # so many of them are leading ones, along which every class has its own exact Hessian
TAIL_SHARE = 0.5  # this share of `Subspace.tail` is taken as the curvature beyond the subspace


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


def find_space(rows: Rows, sample_weight: Tensor) -> RowKernel | Subspace:
    """Find what suits the shape of X. If rows are sampled, only rows with a positive weight are drawn.

    sample_weight: float64 [n], or [k, n] for k problems, whose mean then counts.
    """
    sample_weight = sample_weight if sample_weight.ndim == 1 else sample_weight.mean(0)
    if rows.width <= rows.n and rows.n * rows.width**2 <= FULL_COST:
        return _all_directions(rows)
    return _kernel(rows) if rows.few else _sampled(rows, sample_weight)


def _kernel(rows: Rows) -> RowKernel:
    products = torch.empty(rows.n, rows.n, dtype=torch.float64, device=rows.device)
    for across, x in rows.blocks():
        for down, z in rows.blocks():
            products[down, across] = (z @ x.T).double() + 1
            if down == across:
                break
            products[across, down] = products[down, across].T
    return RowKernel(products)


def _all_directions(rows: Rows) -> Subspace:
    leading = torch.eye(rows.width, dtype=rows.dtype, device=rows.device)
    none = torch.zeros(0, dtype=torch.float64, device=rows.device)
    return Subspace(leading, rows.take(torch.arange(rows.n)), leading[:0], none, tail=0.0)


def _sampled(rows: Rows, sample_weight: Tensor) -> Subspace:
    weighted = torch.nonzero(sample_weight)[:, 0].cpu()
    order = torch.randperm(len(weighted), generator=torch.Generator().manual_seed(0))  # not the global generator
    index = weighted[order[:SAMPLE]].sort().values
    weight = sample_weight[index.to(rows.device)]
    sample = rows.take(index).mul_(weight.sqrt()[:, None])
    squares, V = torch.linalg.eigh((sample @ sample.T).double() / weight.sum())
    squares, V = squares.flip(0), V.flip(1)  # descending
    r = min(RANK, int((squares > 1e-7 * squares[0]).sum()))  # float32 cannot tell smaller ones from 0
    basis = torch.linalg.qr(sample.T @ V[:, :r].to(rows.dtype))[0].T.contiguous()
    leading, others = basis[:LEADING], basis[LEADING:]
    coordinates = torch.cat([x @ leading[:, :-1].T + leading[:, -1] for _, x in rows.blocks()])
    tail = float(squares[r:].max()) if r < len(squares) else 0.0
    return Subspace(leading, coordinates, others, squares[LEADING:r], max(tail, 0.0))


def to_basis(v: Tensor, basis: Tensor) -> Tensor:
    """Return the coordinates float64 [m, r] of vectors [m, D + 1] along a basis [r, D + 1]."""
    return (v.to(basis.dtype) @ basis.T).double()


def from_basis(coordinates: Tensor, basis: Tensor) -> Tensor:
    """Return the vectors, float64 [m, D + 1], that have these coordinates [m, r]."""
    return (coordinates.to(basis.dtype) @ basis).double()


def inverse_hessian(space: Subspace, C: float, active: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return approximate inverse Hessians: a function of vectors [m, D + 1] and of the problem of each [m].

    They are exact along the leading directions. Along the others, and beyond, active rows count as a fair sample of all
    rows.

    active: float64 [u, n], the weights of each problem's active rows, zero elsewhere.
    """
    solve_leading = leading_inverse_hessian(space, C, active)
    mass = 2 * C * active.sum(1, keepdim=True)  # [u, 1]
    beyond = 1 + TAIL_SHARE * mass * space.tail
    others = 1 / (1 + mass * space.curvature).clamp(min=beyond) - 1 / beyond  # [u, r - h]

    def precondition(v: Tensor, which: Tensor) -> Tensor:
        a = to_basis(v, space.leading)
        out = v / beyond[which]
        out += from_basis(solve_leading(a, which) - a / beyond[which], space.leading)
        out += from_basis(others[which] * to_basis(v, space.others), space.others)
        return out

    return precondition


def leading_inverse_hessian(space: Subspace, C: float, active: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return exact inverse Hessians along the leading directions, as `inverse_hessian` does, for vectors [m, h]."""
    factors = []
    for weight in active:
        index = torch.nonzero(weight)[:, 0]
        Z = space.coordinates[index]
        H = ((2 * C * weight[index, None]).to(Z.dtype) * Z).T @ Z
        H.diagonal().add_(1)
        factors.append(damped_cholesky(H.double()))

    def solve(v: Tensor, which: Tensor) -> Tensor:
        return torch.stack(
            [torch.cholesky_solve(a[:, None], factors[c])[:, 0] for a, c in zip(v, which.tolist(), strict=True)]
        )

    return solve


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

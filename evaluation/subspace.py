"""A few directions that carry most of the curvature, found once and shared by every class and every C.

The Hessian of a one-vs-rest problem is I + 2C [X 1]' S [X 1] over its active rows. DCGAN features are
unscaled and far from zero-mean: one eigenvalue of [X 1]'[X 1] is 40 times the next, a few hundred are large,
and plain conjugate gradients spend their passes on these. Here they are found from a sample of rows, after
which Newton steps among the leading ones cost no pass over X, and the rest precondition the full step.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.rows import Rows

# Measured on 20,000 x 4,096 and 50,000 x 12,288 DCGAN features: twice these ranks save few passes more
SAMPLE = 2500  # rows from which directions are taken
RANK = 768  # directions kept
LEADING = 256  # of these, in which every class has its own exact Hessian
TAIL_SHARE = 0.5  # of `Subspace.tail`, taken as the curvature beyond the subspace
EXACT_COST = 2e9  # n r^2 up to which all r = min(n, D + 1) directions are kept and the solve is exact


@dataclass(frozen=True)
class Subspace:
    """Orthonormal directions in weight space, the leading ones first.

    Attributes:
        leading: [h, D + 1].
        coordinates: [n, h], the rows of [X 1] along `leading`.
        kernel: [n, n] inner products of `coordinates` where that is the smaller way to solve, else None.
        other: [r - h, D + 1], further directions.
        curvature: float64 [r - h], mean square of a row along each of `other`.
        tail: the same along a direction beyond all of these, at most; 0 where nothing is beyond.
    """

    leading: Tensor
    coordinates: Tensor
    kernel: Tensor | None
    other: Tensor
    curvature: Tensor
    tail: float


def find_subspace(rows: Rows, sample_weight: Tensor) -> Subspace:
    """All directions where min(n, D + 1) is small, else the leading ones of a sample of rows with weight.

    sample_weight: float64 [n], not negative, not all zero.
    """
    r = min(rows.n, rows.width)
    return _whole(rows) if rows.n * r**2 <= EXACT_COST else _sampled(rows, sample_weight)


def _whole(rows: Rows) -> Subspace:
    X1 = rows.take(torch.arange(rows.n))
    none = X1.new_zeros(0, rows.width), torch.zeros(0, dtype=torch.float64, device=rows.device)
    if rows.width <= rows.n:
        basis = torch.eye(rows.width, dtype=rows.dtype, device=rows.device)
        return Subspace(basis, X1, None, *none, tail=0.0)
    Q, R = torch.linalg.qr(X1.T)
    return Subspace(Q.T.contiguous(), R.T.contiguous(), R.T @ R, *none, tail=0.0)


def _sampled(rows: Rows, sample_weight: Tensor) -> Subspace:
    weighted = torch.nonzero(sample_weight)[:, 0].cpu()
    order = torch.randperm(len(weighted), generator=torch.Generator().manual_seed(0))  # its own generator
    index = weighted[order[:SAMPLE]].sort().values
    sample = rows.take(index) * sample_weight[index.to(rows.device)].sqrt()[:, None].to(rows.dtype)
    squares, V = torch.linalg.eigh((sample @ sample.T).double() / sample_weight[index.to(rows.device)].sum())
    squares, V = squares.flip(0), V.flip(1)  # descending
    r = min(RANK, int((squares > 1e-7 * squares[0]).sum()))  # float32 cannot tell smaller ones from nothing
    basis = torch.linalg.qr(sample.T @ V[:, :r].to(rows.dtype))[0].T.contiguous()
    coordinates = rows.scores(basis[:LEADING]).T.to(rows.dtype).contiguous()
    tail = float(squares[r]) if r < len(squares) else 0.0
    return Subspace(basis[:LEADING], coordinates, None, basis[LEADING:], squares[LEADING:r], max(tail, 0.0))


def inverse_hessian(subspace: Subspace, C: float, active: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Approximate inverse Hessian: (vectors [m, D + 1], which problems [m]) -> [m, D + 1].

    Exact along the leading directions; along the others and beyond them the active rows are taken for a
    fair sample of all rows.
    """
    solve = leading_inverse_hessian(subspace, C, active)
    mass = 2 * C * active.sum(1, keepdim=True)  # [u, 1]
    beyond = 1 + TAIL_SHARE * mass * subspace.tail
    other = 1 / (1 + mass * subspace.curvature).clamp(min=beyond) - 1 / beyond  # [u, r - h]

    def precondition(v: Tensor, which: Tensor) -> Tensor:
        a = to_basis(v, subspace.leading)
        leading = from_basis(solve(a, which) - a / beyond[which], subspace.leading)
        return v / beyond[which] + leading + from_basis(other[which] * to_basis(v, subspace.other), subspace.other)

    return precondition


def leading_inverse_hessian(subspace: Subspace, C: float, active: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Exact inverse Hessian along the leading directions, one per problem.

    active: float64 [u, n], the weights of active rows, zero elsewhere.
    The returned function takes float64 vectors [m, h] and, for each, which problem [m].
    """
    Z, h = subspace.coordinates, subspace.coordinates.shape[1]
    factors, reaches = [], []
    for weight in active:
        index = torch.nonzero(weight)[:, 0]
        root = (2 * C * weight[index]).sqrt().to(Z.dtype)
        if subspace.kernel is not None and len(index) < h:  # (I + B'B)^-1 = I - B' (I + B B')^-1 B
            H = root[:, None] * subspace.kernel[index][:, index] * root
            reaches.append(root[:, None] * Z[index])
        else:
            B = root[:, None] * Z[index]
            H = B.T @ B
            reaches.append(None)
        H.diagonal().add_(1)
        factors.append(torch.linalg.cholesky(H.double()))

    def solve(v: Tensor, which: Tensor) -> Tensor:
        out = torch.empty_like(v)
        for i, c in enumerate(which.tolist()):
            B = reaches[c]
            if B is None:
                out[i] = torch.cholesky_solve(v[i][:, None], factors[c])[:, 0]
            else:
                inner = torch.cholesky_solve((B @ v[i].to(Z.dtype)).double()[:, None], factors[c])[:, 0]
                out[i] = v[i] - (B.T @ inner.to(Z.dtype)).double()
        return out

    return solve


def to_basis(v: Tensor, basis: Tensor) -> Tensor:
    """Coordinates float64 [m, r] of vectors [m, D + 1] along a basis [r, D + 1]."""
    return (v.to(basis.dtype) @ basis.T).double()


def from_basis(coordinates: Tensor, basis: Tensor) -> Tensor:
    """The vectors, float64 [m, D + 1], that have these coordinates [m, r]."""
    return (coordinates.to(basis.dtype) @ basis).double()

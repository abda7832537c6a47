"""Approximate inverse Hessians of the problems, by which conjugate gradients are preconditioned.

They are exact along the leading directions of the subspace. Along its other directions, and beyond, active rows count
as a fair sample of all rows.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from evaluation.problem import Problem, active
from evaluation.subspace import Subspace, damped_cholesky, from_basis, to_basis

LONG = 8  # parts are so many times as long as others: few of their rows are active, and short ones take as long
TAIL_SHARE = 0.5  # this share of `Subspace.tail` is taken as the curvature beyond the subspace

Solve = Callable[[Tensor, Tensor], Tensor]  # of vectors [m, .] and of the place of each one's problem, int64 [m]


def inverse_hessian(problem: Problem, C: float, scores: Tensor, which: Tensor) -> Solve:
    """Return approximate inverse Hessians of some of the problems, for vectors [m, D + 1].

    scores: float64 [k, n], from which the active rows are known. which: int64 [u].
    """
    space = problem.space
    assert isinstance(space, Subspace)
    hessians, mass = _leading_hessians(problem, C, scores, which)
    factors = _factors(hessians)
    beyond = 1 + TAIL_SHARE * mass * space.tail
    others = 1 / (1 + mass * space.curvature).clamp(min=beyond) - 1 / beyond  # [u, r - h]

    def precondition(v: Tensor, place: Tensor) -> Tensor:
        a = to_basis(v, space.leading)
        out = v / beyond[place]
        out += from_basis(_solve(factors, a, place) - a / beyond[place], space.leading)
        out += from_basis(others[place] * to_basis(v, space.others), space.others)
        return out

    return precondition


def leading_inverse(problem: Problem, C: float, scores: Tensor, which: Tensor) -> Solve:
    """Return exact inverse Hessians along the leading directions, as `inverse_hessian` does, for vectors [m, h]."""
    factors = _factors(_leading_hessians(problem, C, scores, which)[0])
    return lambda v, place: _solve(factors, v, place)


def _leading_hessians(problem: Problem, C: float, scores: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Hessians along the leading directions, float64 [u, h, h], and 2C times the active weight, [u, 1]."""
    space = problem.space
    assert isinstance(space, Subspace)
    h = len(space.leading)
    hessians = torch.zeros(len(which), h, h, dtype=torch.float64, device=scores.device)
    mass = torch.zeros(len(which), 1, dtype=torch.float64, device=scores.device)
    for rows in problem.parts(h // LONG):
        for part in torch.arange(len(which), device=which.device).split(h):
            Z, some = space.coordinates[rows], which[part]
            weights = active(problem, scores[some, rows], some, rows).mul_(2 * C)
            mass[part] += weights.sum(1, keepdim=True)
            if torch.equal(weights, weights[:1].expand_as(weights)):  # so it is at first, when all rows are active
                hessians[part] += _weighted_products(Z, weights[0])
                continue
            for place, weight in zip(part.tolist(), weights, strict=True):
                hessians[place] += _weighted_products(Z, weight)
    problem.processes.sum(hessians)
    hessians.diagonal(dim1=1, dim2=2).add_(1)
    return hessians, problem.processes.sum(mass)


def _weighted_products(Z: Tensor, weight: Tensor) -> Tensor:
    """Return Z' S Z [h, h] for rows Z [m, h] of weights [m], most of which may be zero."""
    index = torch.nonzero(weight)[:, 0]
    chosen = Z[index]
    return (weight[index, None].to(Z.dtype) * chosen).T @ chosen


def _factors(hessians: Tensor) -> list[Tensor]:
    return [damped_cholesky(H) for H in hessians]


def _solve(factors: list[Tensor], v: Tensor, place: Tensor) -> Tensor:
    return torch.stack(
        [torch.cholesky_solve(a[:, None], factors[p])[:, 0] for a, p in zip(v, place.tolist(), strict=True)]
    )

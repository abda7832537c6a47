"""Semismooth Newton for the L2-SVM problems, all classes in one batch: two methods with one signature.

Each is a generator that yields after every pass over X and returns a Solution. It stops at a relative duality gap of
`tol`, or after `max_iter` Newton iterations. `start` is a solution over the same rows for another C or other row
weights; by default it is zero. Work goes on only for problems that are not solved yet.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from evaluation.problem import Problem, Solution, evaluate, line_search, slack
from evaluation.rows import Rows
from evaluation.subspace import (
    RowKernel,
    Subspace,
    damped_cholesky,
    find_space,
    from_basis,
    inverse_hessian,
    leading_inverse_hessian,
    to_basis,
)

FREE_TOL = 0.01  # free steps, which cost no pass over X, are taken until the gap is this share of tol
EXACT_TOL = 1e-6  # the same share if free steps solve the whole problem, because the last ones converge at once
FREE_STEPS = 20  # largest number of free steps in a row
FORCING = 0.3  # a Newton system is solved until the preconditioned residual falls to this; 0.1 takes more passes
FORCING_SHORT = 0.03  # the same once a step was cut short; with a larger value steps go on being cut
FLOOR = 0.25  # a Newton system is also solved well enough when the gap that it leaves is this share of tol
SHORT = 0.5  # a step is cut short below this length (a Newton step has 1): inactive rows then decided its length
MAX_CG = 100
PATIENCE = 30  # a problem is given up after so many iterations that lower neither its gap nor its objective


def newton(
    problem: Problem, C: float, *, tol: float, max_iter: int, start: Solution | None = None
) -> Generator[None, None, Solution]:
    """Solve by the method that suits the problem's space."""
    method = newton_by_rows if isinstance(problem.space, RowKernel) else newton_in_steps
    return method(problem, C, tol=tol, max_iter=max_iter, start=start)


def newton_by_rows(
    problem: Problem, C: float, *, tol: float, max_iter: int, start: Solution | None = None
) -> Generator[None, None, Solution]:
    """Solve problems of few rows by the rows' inner products.

    If X is float32, the products are taken in float32 first, and in float64 if that does not reach `tol`.
    """
    solve = partial(_by_products, C=C, tol=tol, max_iter=max_iter, start=start)
    if problem.rows.dtype != torch.float64:
        with suppress(torch.linalg.LinAlgError):  # for a large C, rounding can make the products indefinite
            solution = solve(problem, factor=torch.linalg.cholesky)
            yield
            if bool((solution.gap <= tol).all()):
                return solution
        rows = Rows(problem.rows.X, device=problem.rows.device, double=True)
        problem = replace(problem, rows=rows, space=find_space(rows, problem.sample_weight))
    solution = solve(problem, factor=damped_cholesky)
    yield
    return solution


def _by_products(
    problem: Problem,
    *,
    C: float,
    tol: float,
    max_iter: int,
    start: Solution | None,
    factor: Callable[[Tensor], Tensor],
) -> Solution:
    """Solve for beta, where w = beta [X 1]; each step is exact (Chapelle, Neural Computation 19, 2007, section 2.3)."""
    assert isinstance(problem.space, RowKernel)
    K, s, signs = problem.space.products, problem.sample_weight, problem.signs
    beta, scores = torch.zeros_like(signs), torch.zeros_like(signs)
    n_iter = torch.zeros(len(signs), dtype=torch.int64, device=K.device)
    unsolved = torch.arange(len(signs), device=K.device)
    active = (slack(problem, scores if start is None else start.scores) > 0) & (s > 0)
    progress = _Progress(signs)
    for _ in range(max_iter):
        n_iter[unsolved] += 1
        target = torch.zeros_like(signs[unsolved])
        patterns, which = (active * s)[unsolved].unique(dim=0, return_inverse=True)  # at first, often one
        for p, weight in enumerate(patterns):
            index, mine = torch.nonzero(weight)[:, 0], torch.nonzero(which == p)[:, 0]
            system = K[index][:, index]
            system.diagonal().add_(1 / (2 * C * weight[index]))
            solved = torch.cholesky_solve(signs[unsolved[mine]][:, index].T, factor(system))
            target[mine[:, None], index] = solved.T
        step = target - beta[unsolved]
        along = step @ K
        w_step, step_step = (beta[unsolved] * along).sum(1), (step * along).sum(1)
        t = line_search(problem, C, unsolved, scores[unsolved], along, w_step, step_step)[:, None]
        beta[unsolved] += t * step
        scores[unsolved] += t * along

        xi = slack(problem, scores)
        active = (xi > 0) & (s > 0)
        residual = beta - 2 * C * s * signs * xi  # the gradient is residual [X 1]
        objective = 0.5 * (beta * scores).sum(1) + C * (s * xi.square()).sum(1)
        gap = 0.5 * (residual * (residual @ K)).sum(1) / objective
        unsolved = torch.nonzero((gap > FREE_TOL * tol) & progress.goes_on(gap, objective))[:, 0]
        if not len(unsolved):
            break
    weights = problem.rows.back(beta)
    scores, _, objective, gap = evaluate(problem, C, weights)  # exact, despite rounding in the products
    return Solution(weights, scores, objective, gap, n_iter, passes=2)


def newton_in_steps(
    problem: Problem, C: float, *, tol: float, max_iter: int, start: Solution | None = None
) -> Generator[None, None, Solution]:
    """Solve problems of many rows: free steps within the subspace, then one step by conjugate gradients, and so on.

    Free steps need no pass over X; each iteration of conjugate gradients needs one. Near separability (C large for the
    data) steps are cut short, because rows outside the active set come into play. Free steps then do harm, because each
    one changes the active rows. A problem whose step was cut short takes none from then on.
    """
    assert isinstance(problem.space, Subspace)
    k, device = len(problem.signs), problem.rows.device
    weights = torch.zeros(k, problem.rows.width, dtype=torch.float64, device=device)
    scores = torch.zeros_like(problem.signs)
    if start is not None:
        weights, scores = start.weights.clone(), start.scores.clone()
    n_iter = torch.zeros(k, dtype=torch.int64, device=device)
    unsolved = torch.arange(k, device=device)
    cut = torch.zeros(k, dtype=torch.bool, device=device)
    free_tol = tol * (EXACT_TOL if problem.space.complete else FREE_TOL)
    passes, progress = 0, _Progress(problem.signs)
    while True:
        n_iter[unsolved] += 1
        weights += _free_steps(problem, C, weights, scores, unsolved[~cut[unsolved]], free_tol)
        scores, gradient, objective, gap = evaluate(problem, C, weights)
        passes += 1
        yield
        unsolved = torch.nonzero((gap > tol) & progress.goes_on(gap, objective))[:, 0]
        if not len(unsolved) or n_iter.max() == max_iter:
            return Solution(weights, scores, objective, gap, n_iter, passes)
        forcing = torch.where(cut[unsolved], FORCING_SHORT, FORCING)
        enough = 2 * FLOOR * tol * objective[unsolved]
        step, along, cg_passes = yield from _full_step(problem, C, scores, gradient, unsolved, forcing, enough)
        passes += cg_passes
        w = weights[unsolved]
        w_step, step_step = (w * step).sum(1), step.square().sum(1)
        t = line_search(problem, C, unsolved, scores[unsolved], along, w_step, step_step)[:, None]
        weights[unsolved] += t * step
        scores[unsolved] += t * along
        cut[unsolved] |= t[:, 0] < SHORT


def _free_steps(problem: Problem, C: float, weights: Tensor, scores: Tensor, unsolved: Tensor, tol: float) -> Tensor:
    """Return the move [k, D + 1] along the leading directions that minimises P, by exact Newton steps, without X."""
    space = problem.space
    assert isinstance(space, Subspace)
    Z = space.coordinates
    origin, square = to_basis(weights, space.leading), weights.square().sum(1)  # [k, h], [k]
    move, scores = torch.zeros_like(origin), scores.clone()
    for _ in range(FREE_STEPS):
        s, a, m = problem.row_weight(unsolved), origin[unsolved], move[unsolved]
        xi = slack(problem, scores[unsolved], unsolved)
        gradient = a + m - 2 * C * ((s * problem.signs[unsolved] * xi).to(Z.dtype) @ Z).double()
        objective = 0.5 * (square[unsolved] + (m * (2 * a + m)).sum(1)) + C * (s * xi.square()).sum(1)
        still = 0.5 * gradient.square().sum(1) > tol * objective
        unsolved, xi, m, gradient = unsolved[still], xi[still], m[still], gradient[still]
        if not len(unsolved):
            break
        solve = leading_inverse_hessian(space, C, (xi > 0) * (s if s.ndim == 1 else s[still]))
        step = -solve(gradient, torch.arange(len(unsolved), device=Z.device))
        along = (step.to(Z.dtype) @ Z.T).double()
        w_step, step_step = ((origin[unsolved] + m) * step).sum(1), step.square().sum(1)
        t = line_search(problem, C, unsolved, scores[unsolved], along, w_step, step_step)[:, None]
        move[unsolved] += t * step
        scores[unsolved] += t * along
    return from_basis(move, space.leading)


def _full_step(
    problem: Problem, C: float, scores: Tensor, gradient: Tensor, unsolved: Tensor, forcing: Tensor, enough: Tensor
) -> Generator[None, None, tuple[Tensor, Tensor, int]]:
    """Solve H step = -gradient for the unsolved problems by preconditioned conjugate gradients.

    forcing: float64 [u], the preconditioned norm of the residual, relative to the first one, at which to stop.
    enough: float64 [u], the squared norm of the residual at which to stop.
    Returns (step [u, D + 1], its products with the rows [u, n], passes); yields after every pass.
    """
    assert isinstance(problem.space, Subspace)
    active = (slack(problem, scores[unsolved], unsolved) > 0) * problem.row_weight(unsolved)  # [u, n]
    precondition = inverse_hessian(problem.space, C, active)
    residual = -gradient[unsolved]
    step, along = torch.zeros_like(residual), torch.zeros_like(active)
    live = torch.arange(len(unsolved), device=residual.device)
    z = precondition(residual, live)
    direction, rz = z.clone(), (residual * z).sum(1)
    target = forcing**2 * rz
    passes = 0
    while len(live) and passes < MAX_CG:
        p = direction[live]
        ahead, curved = problem.rows.there_and_back(p, partial(_weighted, 2 * C * active[live]))
        passes += 1
        yield
        curved += p
        length = (rz[live] / (p * curved).sum(1))[:, None]
        step[live] += length * p
        along[live] += length * ahead
        residual[live] -= length * curved
        z = precondition(residual[live], live)
        rz_next = (residual[live] * z).sum(1)
        direction[live] = z + (rz_next / rz[live])[:, None] * p
        rz[live] = rz_next
        live = live[(rz_next > target[live]) & (residual[live].square().sum(1) > enough[live])]
    return step, along, passes


class _Progress:
    """Tells problems that still get better from those that rounding keeps where they are."""

    def __init__(self, signs: Tensor) -> None:
        self._gap, self._objective = (torch.full_like(signs[:, 0], torch.inf) for _ in range(2))
        self._still = torch.zeros_like(self._gap)  # iterations without progress

    def goes_on(self, gap: Tensor, objective: Tensor) -> Tensor:
        """Return which problems to go on with, bool [k], from the gap and the objective after an iteration."""
        better = (gap < 0.9 * self._gap) | (objective < (1 - 1e-6) * self._objective)
        self._still = torch.where(better, 0, self._still + 1)
        self._gap, self._objective = self._gap.minimum(gap), self._objective.minimum(objective)
        return self._still < PATIENCE


def _weighted(weight: Tensor, scores: Tensor, rows: slice) -> Tensor:
    return weight[:, rows] * scores

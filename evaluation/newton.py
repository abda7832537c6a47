"""Semismooth Newton for the L2-SVM problems, all classes in one batch: two methods with one signature.

Each is a generator that yields after every pass over X and returns a Solution. It stops at a relative duality gap of
`tol`, or after `max_iter` Newton iterations. `start` is a solution over the same rows for another C or other row
weights; by default it is zero. Work goes on only for problems that are not solved yet.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from evaluation.hessians import inverse_hessian, leading_inverse
from evaluation.problem import Problem, Solution, active, evaluate, line_search, slack
from evaluation.processes import ALONE, Processes
from evaluation.rows import Rows
from evaluation.subspace import RowKernel, Subspace, damped_cholesky, find_space, from_basis, to_basis

FREE_TOL = 0.01  # free steps, which cost no pass over X, are taken until the gap is this share of tol
EXACT_TOL = 1e-6  # the same share if free steps solve the whole problem, because the last ones converge at once
FREE_STEPS = 20  # largest number of free steps in a row
FORCING = 0.3  # a Newton system is solved until the preconditioned residual falls to this; 0.1 takes more passes
FORCING_SHORT = 0.03  # the same once a step was cut short; with a larger value steps go on being cut
FLOOR = 0.25  # a Newton system is also solved well enough when the gap that it leaves is this share of tol
SHORT = 0.5  # a step is cut short below this length (a Newton step has 1): inactive rows then decided its length
MAX_CG = 100
STATE_BYTES = 2**32  # of the vectors of all problems that are solved at once; more problems are solved in groups
PATIENCE = 30  # a problem is given up after so many iterations that lower neither its gap nor its objective


def newton(
    problem: Problem, C: float, *, tol: float, max_iter: int, start: Solution | None = None
) -> Generator[None, None, Solution]:
    """Solve by the method that suits the problem's space, in as few groups of problems as memory allows."""
    method = newton_by_rows if isinstance(problem.space, RowKernel) else newton_in_steps
    groups = torch.arange(len(problem.targets), device=problem.targets.device).split(_together(problem))
    parts = []
    for which in groups:
        begin = None if start is None else start.some(which)
        some = problem if len(groups) == 1 else problem.some(which)
        parts.append((yield from method(some, C, tol=tol, max_iter=max_iter, start=begin)))
    return parts[0] if len(parts) == 1 else Solution.joined(parts)


def _together(problem: Problem) -> int:
    """Return how many problems are solved at once: the same number in every process."""
    rows, space = problem.rows, problem.space
    each = 8 * (4 * -(-rows.total // rows.processes.count) + 8 * rows.width)
    if isinstance(space, Subspace):
        each += 16 * len(space.leading) ** 2
    return max(1, STATE_BYTES // each)


def newton_by_rows(
    problem: Problem, C: float, *, tol: float, max_iter: int, start: Solution | None = None
) -> Generator[None, None, Solution]:
    """Solve problems of few rows by the rows' inner products; every process does so for the rows of all.

    If X is float32, the products are taken in float32 first, and in float64 if that does not reach `tol`.
    """
    if problem.rows.dtype != torch.float64:
        with suppress(torch.linalg.LinAlgError):  # for a large C, rounding can make the products indefinite
            solution = _by_products(problem, C, tol, max_iter, start, torch.linalg.cholesky)
            yield
            if bool((solution.gap <= tol).all()):
                return solution
        rows = Rows(problem.rows.X, device=problem.rows.device, double=True, sharded=problem.processes.count > 1)
        problem = replace(problem, rows=rows, space=find_space(rows, problem.sample_weight, len(problem.targets)))
    solution = _by_products(problem, C, tol, max_iter, start, damped_cholesky)
    yield
    return solution


def _by_products(
    problem: Problem,
    C: float,
    tol: float,
    max_iter: int,
    start: Solution | None,
    factor: Callable[[Tensor], Tensor],
) -> Solution:
    """Solve for beta, where w = beta [X 1]; each step is exact (Chapelle, Neural Computation 19, 2007, section 2.3)."""
    assert isinstance(problem.space, RowKernel)
    K, processes, device = problem.space.products, problem.processes, problem.rows.device
    whole = _of_all_processes(problem)
    s, signs = whole.weights().expand(len(problem.targets), -1), whole.signs()
    beta, scores = torch.zeros_like(signs), torch.zeros_like(signs)
    n_iter = torch.zeros(len(signs), dtype=torch.int64, device=device)
    unsolved = torch.arange(len(signs), device=device)
    before = scores if start is None else _joined(processes, start.scores, 1)
    weight = active(whole, before)
    progress = _Progress(len(signs), device)
    for _ in range(max_iter):
        n_iter[unsolved] += 1
        target = torch.zeros_like(signs[unsolved])
        patterns, which = weight[unsolved].unique(dim=0, return_inverse=True)  # at first, often one
        for p, pattern in enumerate(patterns):
            index, mine = torch.nonzero(pattern)[:, 0], torch.nonzero(which == p)[:, 0]
            system = K[index][:, index]
            system.diagonal().add_(1 / (2 * C * pattern[index]))
            solved = torch.cholesky_solve(signs[unsolved[mine]][:, index].T, factor(system))
            target[mine[:, None], index] = solved.T
        step = target - beta[unsolved]
        along = step @ K
        w_step, step_step = (beta[unsolved] * along).sum(1), (step * along).sum(1)
        t = line_search(whole, C, unsolved, scores, along, w_step, step_step)[:, None]
        beta[unsolved] += t * step
        scores[unsolved] += t * along

        xi = slack(whole, scores)
        weight = active(whole, scores)
        residual = beta - 2 * C * s * signs * xi  # the gradient is residual [X 1]
        objective = 0.5 * (beta * scores).sum(1) + C * (s * xi.square()).sum(1)
        gap = 0.5 * (residual * (residual @ K)).sum(1) / objective
        unsolved = torch.nonzero((gap > FREE_TOL * tol) & progress.goes_on(gap, objective))[:, 0]
        if not len(unsolved):
            break
    first = problem.rows.first
    weights = problem.rows.back(beta[:, first : first + problem.rows.n])
    scores, _, objective, gap = evaluate(problem, C, weights)  # exact, despite rounding in the products
    return Solution(weights, scores, objective, gap, n_iter, passes=2)


def _of_all_processes(problem: Problem) -> Problem:
    """Return the problems with the labels and weights of the rows of all processes, for one process alone."""
    labels, weight = (_joined(problem.processes, x, 0) for x in (problem.labels, problem.sample_weight))
    return replace(problem, labels=labels, sample_weight=weight, processes=ALONE)


def _joined(processes: Processes, values: Tensor, dim: int) -> Tensor:
    """Return the values of all processes joined. They travel by the CPU: another process's GPU may not be here."""
    return torch.cat([part.to(values.device) for part in processes.gathered(values.cpu())], dim)


def newton_in_steps(
    problem: Problem, C: float, *, tol: float, max_iter: int, start: Solution | None = None
) -> Generator[None, None, Solution]:
    """Solve problems of many rows: free steps within the subspace, then one step by conjugate gradients, and so on.

    Free steps need no pass over X; each iteration of conjugate gradients needs one. Near separability (C large for the
    data) steps are cut short, because rows outside the active set come into play. Free steps then do harm, because each
    one changes the active rows. A problem whose step was cut short takes none from then on.
    """
    assert isinstance(problem.space, Subspace)
    k, device = len(problem.targets), problem.rows.device
    weights = torch.zeros(k, problem.rows.width, dtype=torch.float64, device=device)
    scores = torch.zeros(k, problem.rows.n, dtype=torch.float64, device=device)
    if start is not None:
        weights, scores = start.weights.clone(), start.scores.clone()
    n_iter = torch.zeros(k, dtype=torch.int64, device=device)
    unsolved = torch.arange(k, device=device)
    cut = torch.zeros(k, dtype=torch.bool, device=device)
    free_tol = tol * (EXACT_TOL if problem.space.complete else FREE_TOL)
    passes, progress = 0, _Progress(k, device)
    while True:
        n_iter[unsolved] += 1
        weights += _free_steps(problem, C, weights, scores, unsolved[~cut[unsolved]], free_tol)
        scores, gradient, objective, gap = evaluate(problem, C, weights, scores=scores)
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
        t = line_search(problem, C, unsolved, scores, along, w_step, step_step)
        weights[unsolved] += t[:, None] * step
        _add_scaled(scores, unsolved, t, along)
        cut[unsolved] |= t < SHORT


def _free_steps(problem: Problem, C: float, weights: Tensor, scores: Tensor, unsolved: Tensor, tol: float) -> Tensor:
    """Return the move [k, D + 1] along the leading directions that minimises P, by exact Newton steps, without X.

    scores: float64 [k, n]; they move along.
    """
    space = problem.space
    assert isinstance(space, Subspace)
    origin, square = to_basis(weights, space.leading), weights.square().sum(1)  # [k, h], [k]
    move = torch.zeros_like(origin)
    for _ in range(FREE_STEPS):
        a, m = origin[unsolved], move[unsolved]
        slope, loss = _loss_along(problem, C, scores, unsolved)
        gradient = a + m - slope
        objective = 0.5 * (square[unsolved] + (m * (2 * a + m)).sum(1)) + loss
        still = problem.processes.agreed(0.5 * gradient.square().sum(1) > tol * objective)
        unsolved, m, gradient = unsolved[still], m[still], gradient[still]
        if not len(unsolved):
            break
        solve = leading_inverse(problem, C, scores, unsolved)
        step = -solve(gradient, torch.arange(len(unsolved), device=gradient.device))
        along = (step.to(space.coordinates.dtype) @ space.coordinates.T).double()
        w_step, step_step = ((origin[unsolved] + m) * step).sum(1), step.square().sum(1)
        t = line_search(problem, C, unsolved, scores, along, w_step, step_step)
        move[unsolved] += t[:, None] * step
        _add_scaled(scores, unsolved, t, along)
    return from_basis(move, space.leading)


def _loss_along(problem: Problem, C: float, scores: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Return minus the loss's gradient along the leading directions, float64 [u, h], and the loss, float64 [u]."""
    space = problem.space
    assert isinstance(space, Subspace)
    sums = torch.zeros(len(which), len(space.leading) + 1, dtype=torch.float64, device=scores.device)
    for rows in problem.parts(len(which)):
        signs, Z = problem.signs(which, rows), space.coordinates[rows]
        xi = (1 - signs * scores[which, rows]).clamp_(min=0)
        weighted = C * problem.weights(which, rows) * xi
        sums[:, -1] += (weighted * xi).sum(1)
        sums[:, :-1] += (2 * weighted.mul_(signs)).to(Z.dtype) @ Z
    sums = problem.processes.sum(sums)
    return sums[:, :-1], sums[:, -1]


def _full_step(
    problem: Problem, C: float, scores: Tensor, gradient: Tensor, unsolved: Tensor, forcing: Tensor, enough: Tensor
) -> Generator[None, None, tuple[Tensor, Tensor, int]]:
    """Solve H step = -gradient for the unsolved problems by preconditioned conjugate gradients.

    forcing: float64 [u], the preconditioned norm of the residual, relative to the first one, at which to stop.
    enough: float64 [u], the squared norm of the residual at which to stop.
    Returns (step [u, D + 1], its products with the rows [u, n], passes); yields after every pass.
    """
    precondition = inverse_hessian(problem, C, scores, unsolved)
    residual = -gradient[unsolved]
    step, along = torch.zeros_like(residual), scores.new_zeros(len(unsolved), scores.shape[1])
    live = torch.arange(len(unsolved), device=residual.device)
    z = precondition(residual, live)
    direction, rz = z.clone(), (residual * z).sum(1)
    target = forcing**2 * rz
    passes = 0
    ahead: Tensor | None = None

    def curvature(ahead: Tensor, rows: slice) -> Tensor:
        which = unsolved[live]
        return active(problem, scores[which, rows], which, rows).mul_(2 * C).mul_(ahead)

    while len(live) and passes < MAX_CG:
        p = direction[live]
        place = None if ahead is None else ahead[: len(live)]  # the same memory in every iteration
        ahead, curved = problem.rows.there_and_back(p, curvature, scores=place)
        passes += 1
        yield
        curved += p
        length = rz[live] / (p * curved).sum(1)
        step[live] += length[:, None] * p
        _add_scaled(along, live, length, ahead)
        residual[live] -= length[:, None] * curved
        z = precondition(residual[live], live)
        rz_next = (residual[live] * z).sum(1)
        direction[live] = z + (rz_next / rz[live])[:, None] * p
        rz[live] = rz_next
        goes_on = (rz_next > target[live]) & (residual[live].square().sum(1) > enough[live])
        live = live[problem.processes.agreed(goes_on)]
    return step, along, passes


def _add_scaled(total: Tensor, which: Tensor, factor: Tensor, values: Tensor) -> None:
    """Add factor [u] times values [u, n] to rows `which` of total [k, n], row by row: no further memory is used."""
    for place, times, row in zip(which.tolist(), factor.tolist(), values, strict=True):
        total[place].add_(row, alpha=times)


class _Progress:
    """Tells problems that still get better from those that rounding keeps where they are."""

    def __init__(self, problems: int, device: torch.device) -> None:
        self._gap = torch.full((problems,), torch.inf, dtype=torch.float64, device=device)
        self._objective = self._gap.clone()
        self._still = torch.zeros_like(self._gap)  # iterations without progress

    def goes_on(self, gap: Tensor, objective: Tensor) -> Tensor:
        """Return which problems to go on with, bool [k], from the gap and the objective after an iteration."""
        better = (gap < 0.9 * self._gap) | (objective < (1 - 1e-6) * self._objective)
        self._still = torch.where(better, 0, self._still + 1)
        self._gap, self._objective = self._gap.minimum(gap), self._objective.minimum(objective)
        return self._still < PATIENCE

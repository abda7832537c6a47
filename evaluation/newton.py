"""Semismooth Newton for the one-vs-rest L2-SVM problems, all classes in one batch.

Problem c, for signs y of class c, row weights s and w that ends in the intercept (Fan et al., LIBLINEAR, 2008,
equation 3 with -s 2 and -B 1, which is scikit-learn's LinearSVC):

    min_w P(w) = 1/2 |w|^2 + C sum_i s_i xi_i^2,        xi_i = max(0, 1 - y_i [x_i 1] w)

    gradient g = w - 2C sum_i s_i xi_i y_i [x_i 1]
    Hessian  H = I + 2C sum_{xi_i > 0} s_i [x_i 1]'[x_i 1]

The dual point alpha_i = 2C s_i xi_i is feasible, and putting it into the dual leaves a gap of exactly
1/2 |g|^2: a bound on P(w) - min P that costs nothing beyond the gradient.

One iteration: exact Newton steps inside the subspace (no pass over X), one pass for scores and gradient, then
a Newton step from conjugate gradients (one pass each) preconditioned by the subspace. Both kinds of step end
in an exact line search: along a line P is piecewise quadratic in numbers already at hand.
"""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from evaluation.rows import Rows
from evaluation.subspace import Subspace, from_basis, inverse_hessian, leading_inverse_hessian, to_basis

FORCING = 0.3  # a Newton system is solved until the preconditioned residual falls to this: 0.1 costs more passes
FLOOR = 0.25  # ... or until the gap it would leave is this share of the one asked for
MAX_CG = 50


@dataclass(frozen=True)
class Problem:
    """k one-vs-rest problems over the same rows.

    signs: float64 [k, n], +1 for the class and -1 for the rest.
    sample_weight: float64 [n], not negative.
    """

    rows: Rows
    signs: Tensor
    sample_weight: Tensor
    subspace: Subspace


@dataclass(frozen=True)
class Solution:
    """Where the iteration ended.

    weights: float64 [k, D + 1], intercepts last.
    scores: float64 [k, n], the weights' products with every row, those of weight zero too.
    objective, gap: float64 [k]; the gap is relative to the objective.
    n_iter: int64 [k], Newton iterations each problem took part in.
    passes: passes over X made.
    """

    weights: Tensor
    scores: Tensor
    objective: Tensor
    gap: Tensor
    n_iter: Tensor
    passes: int


def newton(
    problem: Problem, C: float, *, tol: float, max_iter: int, start: Solution | None = None
) -> Generator[None, None, Solution]:
    """Solves to a relative duality gap of `tol`, or as far as max_iter iterations go; yields after every pass.

    start: a solution of the same rows for another C or other weights; default zero.
    Returns (as the generator's value) the Solution; problems that are solved drop out of the work.
    """
    k, device = len(problem.signs), problem.rows.device
    if start is None:
        weights = torch.zeros(k, problem.rows.width, dtype=torch.float64, device=device)
        scores = torch.zeros(k, problem.rows.n, dtype=torch.float64, device=device)
    else:
        weights, scores = start.weights, start.scores
    n_iter = torch.zeros(k, dtype=torch.int64, device=device)
    unsolved = torch.arange(k, device=device)
    passes = 0
    for iteration in range(max_iter):
        n_iter[unsolved] += 1
        weights = _newton_in_subspace(problem, C, weights, scores, unsolved, tol=0.01 * tol)
        scores, gradient, objective = _evaluate(problem, C, weights)
        passes += 1
        yield
        gap = 0.5 * gradient.square().sum(1) / objective
        unsolved = torch.nonzero(gap > tol)[:, 0]
        if not len(unsolved) or iteration == max_iter - 1:
            break
        target = 2 * FLOOR * tol * objective[unsolved]
        step, along, cg_passes = yield from _newton_step(problem, C, scores, gradient, unsolved, target)
        passes += cg_passes
        weights, scores = _move(problem, C, weights, scores, unsolved, step, along)
    return Solution(weights, scores, objective, gap, n_iter, passes)


def _slack(problem: Problem, scores: Tensor, which: Tensor | slice = slice(None)) -> Tensor:
    """xi [k, n] of `which` problems, whose scores are given."""
    return (1 - problem.signs[which] * scores).clamp_(min=0)


def _evaluate(problem: Problem, C: float, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One pass: (scores [k, n], gradient [k, D + 1], objective [k])."""
    s = problem.sample_weight

    def slope(scores: Tensor, rows: slice) -> Tensor:
        """Of the loss along the scores, [k, rows]."""
        signs = problem.signs[:, rows]
        return -2 * C * s[rows] * signs * (1 - signs * scores).clamp_(min=0)

    scores, loss_gradient = problem.rows.there_and_back(weights, slope)
    loss = C * (s * _slack(problem, scores).square()).sum(1)
    return scores, weights + loss_gradient, 0.5 * weights.square().sum(1) + loss


def _newton_in_subspace(
    problem: Problem, C: float, weights: Tensor, scores: Tensor, unsolved: Tensor, *, tol: float
) -> Tensor:
    """Weights that minimise P along the subspace's leading directions from `weights`; no pass over X."""
    subspace, s = problem.subspace, problem.sample_weight
    leading, Z = subspace.leading, subspace.coordinates
    for _ in range(20):
        slack = _slack(problem, scores[unsolved], unsolved)
        w = weights[unsolved]
        pull = (s * slack * problem.signs[unsolved]).to(Z.dtype) @ Z
        gradient = to_basis(w, leading) - 2 * C * pull.double()  # [u, h]
        objective = 0.5 * w.square().sum(1) + C * (s * slack.square()).sum(1)
        still = 0.5 * gradient.square().sum(1) > tol * objective
        unsolved, gradient, slack = unsolved[still], gradient[still], slack[still]
        if not len(unsolved):
            break
        solve = leading_inverse_hessian(subspace, C, (slack > 0) * s)
        step = -solve(gradient, torch.arange(len(unsolved), device=w.device))  # [u, h]
        along = (step.to(Z.dtype) @ Z.T).double()
        weights, scores = _move(problem, C, weights, scores, unsolved, from_basis(step, leading), along)
    return weights


def _newton_step(
    problem: Problem, C: float, scores: Tensor, gradient: Tensor, unsolved: Tensor, target: Tensor
) -> Generator[None, None, tuple[Tensor, Tensor, int]]:
    """H step = -gradient by preconditioned conjugate gradients, for the unsolved problems.

    target: float64 [u], squared residuals that need not be undercut.
    Returns (step [u, D + 1], its scores [u, n], passes made); yields after every pass.
    """
    active = (_slack(problem, scores[unsolved], unsolved) > 0) * problem.sample_weight  # [u, n]
    precondition = inverse_hessian(problem.subspace, C, active)
    residual = -gradient[unsolved]
    step, along = torch.zeros_like(residual), torch.zeros_like(active)
    live = torch.arange(len(unsolved), device=residual.device)
    z = precondition(residual, live)
    direction, rz = z.clone(), (residual * z).sum(1)
    enough = FORCING**2 * rz
    passes = 0
    while len(live) and passes < MAX_CG:
        p, weight = direction[live], 2 * C * active[live]
        ahead, curved = problem.rows.there_and_back(p, partial(_weighted, weight))
        passes += 1
        yield
        curved += p
        length = (rz[live] / (p * curved).sum(1))[:, None]
        step[live] += length * p
        along[live] += length * ahead
        residual[live] -= length * curved
        z = precondition(residual[live], live)
        rz_new = (residual[live] * z).sum(1)
        direction[live] = z + (rz_new / rz[live])[:, None] * p
        rz[live] = rz_new
        live = live[(rz_new > enough[live]) & (residual[live].square().sum(1) > target[live])]
    return step, along, passes


def _weighted(weight: Tensor, scores: Tensor, rows: slice) -> Tensor:
    return weight[:, rows] * scores


def _move(
    problem: Problem, C: float, weights: Tensor, scores: Tensor, which: Tensor, step: Tensor, along: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights and scores after the best step of `which` problems along `step` [u, D + 1], scores `along` [u, n]."""
    weights, scores = weights.clone(), scores.clone()
    length = _line_search(problem, C, weights[which], scores[which], which, step, along)[:, None]
    weights[which] += length * step
    scores[which] += length * along
    return weights, scores


def _line_search(
    problem: Problem, C: float, w: Tensor, scores: Tensor, which: Tensor, step: Tensor, along: Tensor
) -> Tensor:
    """The minimising length t [u] of P(w + t step): Newton on its piecewise linear slope, kept in a bracket."""
    signs, s = problem.signs[which], problem.sample_weight
    margin, slope = signs * scores, signs * along
    w_step, step_step = (w * step).sum(1), step.square().sum(1)
    t = torch.ones_like(w_step)
    low, high = torch.zeros_like(t), torch.full_like(t, torch.inf)
    for _ in range(50):
        slack = (1 - margin - t[:, None] * slope).clamp_(min=0)
        first = w_step + t * step_step - 2 * C * (s * slack * slope).sum(1)
        second = step_step + 2 * C * ((slack > 0) * s * slope.square()).sum(1)
        low, high = torch.where(first < 0, t, low), torch.where(first > 0, t, high)
        ahead = t - first / second.clamp(min=1e-300)
        moves = (ahead - t).abs() > 1e-10 * t
        if not moves.any():
            break
        astray = moves & ((ahead <= low) | (ahead >= high))  # from the left Newton cannot pass `high` = inf
        t = torch.where(astray, 0.5 * (low + high), ahead)
    return t

"""The one-vs-rest L2-SVM problems over one X: objective, gradient, duality gap and exact line search.

Problem c has the signs y of class c and row weights s; w ends in the intercept (Fan et al., LIBLINEAR, 2008,
solver 2 with a bias term, which is scikit-learn's LinearSVC):

    min_w P(w) = 1/2 |w|^2 + C sum_i s_i xi_i^2,        xi_i = max(0, 1 - y_i [x_i 1] w)

    gradient g = w - 2C sum_i s_i xi_i y_i [x_i 1]
    Hessian  H = I + 2C sum_{xi_i > 0} s_i [x_i 1]'[x_i 1]

The dual point alpha_i = 2C s_i xi_i is feasible, and its duality gap is exactly 1/2 |g|^2. This bounds P(w) - min P and
costs nothing beyond the gradient.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from evaluation.rows import Rows
from evaluation.subspace import RowKernel, Subspace


@dataclass(frozen=True)
class Problem:
    """k one-vs-rest problems over the same rows.

    signs: float64 [k, n], +1 for the class and -1 for the rest.
    sample_weight: float64 [n], or [k, n] if the problems weigh rows differently; not negative.
    space: found once from X; solving any of the problems, for any C, uses it.
    largest_C: beyond it, rounding in float64 hides the penalty 1/2 |w|^2.
    """

    rows: Rows
    signs: Tensor
    sample_weight: Tensor
    space: RowKernel | Subspace
    largest_C: float = math.inf

    def row_weight(self, which: Tensor) -> Tensor:
        """Return the row weights of some of the problems: float64 [u, n], or [n] if those of all are the same."""
        return self.sample_weight if self.sample_weight.ndim == 1 else self.sample_weight[which]


@dataclass(frozen=True)
class Solution:
    """Where a solver ended.

    weights: float64 [k, D + 1], intercepts last.
    scores: float64 [k, n], their products with every row, rows of weight zero included.
    objective, gap: float64 [k]; the gap is relative to the objective.
    n_iter: int64 [k], the number of Newton iterations that each problem took part in.
    passes: passes over X.
    """

    weights: Tensor
    scores: Tensor
    objective: Tensor
    gap: Tensor
    n_iter: Tensor
    passes: int


def slack(problem: Problem, scores: Tensor, which: Tensor | slice = slice(None)) -> Tensor:
    """Return xi of some of the problems from their scores: float64 [u, n]."""
    return (1 - problem.signs[which] * scores).clamp_(min=0)


def evaluate(problem: Problem, C: float, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Evaluate at weights in one pass over X.

    Returns (scores [k, n], gradient [k, D + 1], objective [k], relative duality gap [k]).
    """

    def loss_slope(scores: Tensor, rows: slice) -> Tensor:
        signs = problem.signs[:, rows]
        return -2 * C * problem.sample_weight[..., rows] * signs * (1 - signs * scores).clamp_(min=0)

    scores, loss_gradient = problem.rows.there_and_back(weights, loss_slope)
    gradient = weights + loss_gradient
    loss = C * (problem.sample_weight * slack(problem, scores).square()).sum(1)
    objective = 0.5 * weights.square().sum(1) + loss
    return scores, gradient, objective, 0.5 * gradient.square().sum(1) / objective


def line_search(
    problem: Problem, C: float, which: Tensor, scores: Tensor, along: Tensor, w_step: Tensor, step_step: Tensor
) -> Tensor:
    """Return the t [u] that minimises P(w + t step) for some of the problems, exactly and without X.

    Along a line P is piecewise quadratic, so Newton's method on its slope, kept in a bracket, ends on the piece that
    holds the minimum.

    scores, along: float64 [u, n], the products of w and of step with every row.
    w_step, step_step: float64 [u], their inner products. step must descend.
    """
    signs, s = problem.signs[which], problem.row_weight(which)
    margin, slope = signs * scores, signs * along
    t = torch.ones_like(w_step)
    low, high = torch.zeros_like(t), torch.full_like(t, torch.inf)
    for _ in range(100):
        xi = (1 - margin - t[:, None] * slope).clamp_(min=0)
        first = w_step + t * step_step - 2 * C * (s * xi * slope).sum(1)
        second = step_step + 2 * C * ((xi > 0) * s * slope.square()).sum(1)
        low, high = torch.where(first < 0, t, low), torch.where(first > 0, t, high)
        ahead = t - first / second.clamp(min=torch.finfo(torch.float64).tiny)
        moves = (ahead - t).abs() > 1e-12 * t
        if not moves.any():
            break
        astray = moves & ((ahead <= low) | (ahead >= high))  # happens only when both ends are finite
        t = torch.where(astray, 0.5 * (low + high), ahead)
    return t


def extrapolate(problem: Problem, C: float, near: Solution, far: Solution) -> Solution:
    """Return `near` with the weights and scores that minimise P for C on the line from `far` through `near`.

    It is the start of a fit for C, found without X from the solutions for two other C. Objective and gap stay those of
    `near`.
    """
    step, along = near.weights - far.weights, near.scores - far.scores
    w_step, step_step = (near.weights * step).sum(1), step.square().sum(1)
    which = torch.arange(len(step), device=step.device)
    t = line_search(problem, C, which, near.scores, along, w_step, step_step)[:, None]
    return replace(near, weights=near.weights + t * step, scores=near.scores + t * along)

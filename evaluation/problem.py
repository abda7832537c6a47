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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from evaluation.processes import ALONE, Processes
from evaluation.rows import Rows
from evaluation.subspace import RowKernel, Subspace

LINE_TOL = 1e-12  # relative, of the length of a step
PART_VALUES = 2**18  # of a tensor [u, rows] that is computed at once: temporaries stay in the cache


@dataclass(frozen=True)
class Problem:
    """k one-vs-rest problems over the same rows. What is [n] or [k, n] is about this process's rows.

    labels: int64 [n], the number of each row's class.
    targets: int64 [k], the class that each problem tells from the rest.
    sample_weight: float64 [n], not negative.
    positive_weight: float64 [k], by which rows of the target are weighted as well; None for 1.
    space: found once from X; solving any of the problems, for any C, uses it.
    largest_C: beyond it, rounding in float64 hides the penalty 1/2 |w|^2.
    processes: those that hold the rows.
    """

    rows: Rows
    labels: Tensor
    targets: Tensor
    sample_weight: Tensor
    space: RowKernel | Subspace
    positive_weight: Tensor | None = None
    largest_C: float = math.inf
    processes: Processes = ALONE

    def some(self, which: Tensor | slice) -> "Problem":
        """Return some of the problems."""
        weight = self.positive_weight
        return replace(self, targets=self.targets[which], positive_weight=None if weight is None else weight[which])

    def signs(self, which: Tensor | slice = slice(None), rows: slice = slice(None)) -> Tensor:
        """Return float64 [u, rows], +1 for the target and -1 for the rest."""
        return self._positive(which, rows).double().mul_(2).sub_(1)

    def weights(self, which: Tensor | slice = slice(None), rows: slice = slice(None)) -> Tensor:
        """Return the weights of rows in some of the problems: float64 [u, rows], or [1, rows] if they are the same."""
        s = self.sample_weight[None, rows]
        if self.positive_weight is None:
            return s
        return s * torch.where(self._positive(which, rows), self.positive_weight[which, None], 1.0)

    def _positive(self, which: Tensor | slice, rows: slice) -> Tensor:
        return self.labels[rows] == self.targets[which, None]

    def parts(self, problems: int) -> Iterator[slice]:
        """Yield the rows in parts, so that a tensor [problems, rows] of a part stays in the cache."""
        size = max(1024, PART_VALUES // max(1, problems))
        n = len(self.labels)
        for start in range(0, n, size):
            yield slice(start, min(start + size, n))


@dataclass(frozen=True)
class Solution:
    """Where a solver ended.

    weights: float64 [k, D + 1], intercepts last.
    scores: float64 [k, n], their products with this process's rows, rows of weight zero included.
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

    def some(self, which: Tensor | slice) -> "Solution":
        """Return the solutions of some of the problems."""
        parts: dict[str, Any] = {name: part[which] for name, part in vars(self).items() if isinstance(part, Tensor)}
        return replace(self, **parts)

    @staticmethod
    def joined(parts: Sequence["Solution"]) -> "Solution":
        """Return the solutions of several groups of problems as one."""
        return Solution(
            weights=torch.cat([part.weights for part in parts]),
            scores=torch.cat([part.scores for part in parts]),
            objective=torch.cat([part.objective for part in parts]),
            gap=torch.cat([part.gap for part in parts]),
            n_iter=torch.cat([part.n_iter for part in parts]),
            passes=sum(part.passes for part in parts),
        )


def slack(problem: Problem, scores: Tensor, which: Tensor | slice = slice(None), rows: slice = slice(None)) -> Tensor:
    """Return xi of some of the problems from their scores of `rows`: float64 [u, rows]."""
    return (1 - problem.signs(which, rows) * scores).clamp_(min=0)


def active(problem: Problem, scores: Tensor, which: Tensor | slice = slice(None), rows: slice = slice(None)) -> Tensor:
    """Return the weights of the active rows, xi > 0, and zero for the others: float64 [u, rows]."""
    return (problem.signs(which, rows) * scores < 1) * problem.weights(which, rows)


def evaluate(
    problem: Problem, C: float, weights: Tensor, *, scores: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Evaluate at weights in one pass over X. scores: where to write them; by default a new tensor.

    Returns (scores [k, n], gradient [k, D + 1], objective [k], relative duality gap [k]). The last two decide how a
    solver goes on, so they are the same to the last bit in every process.
    """
    loss = torch.zeros_like(weights[:, 0])

    def loss_slope(scores: Tensor, rows: slice) -> Tensor:
        signs = problem.signs(rows=rows)
        xi = (1 - signs * scores).clamp_(min=0)
        weighted = C * problem.weights(rows=rows) * xi
        loss.add_((weighted * xi).sum(1))
        return weighted.mul_(signs).mul_(-2)

    scores, loss_gradient = problem.rows.there_and_back(weights, loss_slope, scores=scores)
    gradient = weights + loss_gradient
    objective = 0.5 * weights.square().sum(1) + problem.processes.sum(loss)
    gap = 0.5 * gradient.square().sum(1) / objective
    return scores, gradient, *problem.processes.agreed(torch.stack([objective, gap]))


def line_search(
    problem: Problem, C: float, which: Tensor, scores: Tensor, along: Tensor, w_step: Tensor, step_step: Tensor
) -> Tensor:
    """Return the t [u] that minimises P(w + t step) for some of the problems, exactly and without X.

    Along a line P is piecewise quadratic, so Newton's method on its slope, kept in a bracket, ends on the piece that
    holds the minimum.

    which: int64 [u]. scores: float64 [k, n], the products of w with every row, for all problems. along: float64 [u, n],
    those of step.
    w_step, step_step: float64 [u], their inner products. step must descend.
    """
    w_step, step_step = problem.processes.agreed(torch.stack([w_step, step_step]))
    t = torch.ones_like(w_step)
    low, high = torch.zeros_like(t), torch.full_like(t, torch.inf)
    live = torch.arange(len(t), device=t.device)
    for _ in range(100):
        slope, curvature = _along(problem, which, scores, along, live, t[live])
        first = w_step[live] + t[live] * step_step[live] - 2 * C * slope
        second = step_step[live] + 2 * C * curvature
        low[live] = torch.where(first < 0, t[live], low[live])
        high[live] = torch.where(first > 0, t[live], high[live])
        ahead = t[live] - first / second.clamp(min=torch.finfo(torch.float64).tiny)
        moves = problem.processes.agreed((ahead - t[live]).abs() > LINE_TOL * t[live])
        live, ahead = live[moves], ahead[moves]
        if not len(live):
            break
        astray = (ahead <= low[live]) | (ahead >= high[live])  # happens only when both ends are finite
        t[live] = torch.where(astray, 0.5 * (low[live] + high[live]), ahead)
    return t


def _along(problem: Problem, which: Tensor, scores: Tensor, along: Tensor, live: Tensor, t: Tensor) -> Tensor:
    """Return sum_i s_i xi_i y_i a_i and the sum of s_i a_i^2 over active rows, at w + t step: float64 [2, live]."""
    sums = torch.zeros(2, len(live), dtype=torch.float64, device=t.device)
    for rows in problem.parts(len(live)):
        ahead, at = along[live, rows], scores[which[live], rows]
        signs, s = problem.signs(which[live], rows), problem.weights(which[live], rows)
        slope = signs * ahead
        xi = (1 - signs * at).sub_(t[:, None] * slope).clamp_(min=0)
        sums[0] += (s * xi).mul_(slope).sum(1)
        sums[1] += ((xi > 0) * s).mul_(slope.square_()).sum(1)
    return problem.processes.sum(sums)


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

"""The objective's pieces: the gap is the dual's, the line search is exact."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from evaluation.l2svm import run
from evaluation.newton import newton
from evaluation.posing import pose
from evaluation.problem import evaluate, extrapolate, line_search, slack
from evaluation.processes import Processes


def posed(seed, classes=3):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(40, 6)), np.arange(40) % classes
    return X, pose(X, y, rng.uniform(0.1, 2, size=40), device=None)[0]


def test_gap_is_primal_minus_dual():
    C = 0.7
    X, problem = posed(0)
    weights = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scores, _, objective, gap = evaluate(problem, C, weights)
    X1, s = torch.from_numpy(np.column_stack([X, np.ones(40)])), problem.sample_weight
    alpha = 2 * C * s * slack(problem, scores)
    dual = alpha.sum(1) - 0.5 * ((alpha * problem.signs()) @ X1).square().sum(1) - (alpha**2 / (4 * C * s)).sum(1)
    torch.testing.assert_close(gap * objective, objective - dual)


def test_objective_and_gap_are_those_of_the_first_process():
    """Another machine may round otherwise, and would then end at another pass than the first one."""

    class First(Processes):
        def agreed(self, values):
            return values + 1

    _, problem = posed(0)
    weights = torch.ones(3, 7, dtype=torch.float64)
    _, _, objective, gap = evaluate(problem, 0.7, weights)
    _, _, *agreed = evaluate(replace(problem, processes=First()), 0.7, weights)
    torch.testing.assert_close(agreed, [objective + 1, gap + 1])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), C=st.floats(1e-6, 1e4))
def test_line_search_finds_the_minimum(seed, C):
    _, problem = posed(seed)
    draw = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, 7, dtype=torch.float64, generator=draw)
    scores, gradient, _, _ = evaluate(problem, C, weights)
    step = -gradient * torch.rand(3, 7, dtype=torch.float64, generator=draw)
    along = problem.rows.scores(step)
    which = torch.arange(3)
    t = line_search(problem, C, which, scores, along, (weights * step).sum(1), step.square().sum(1))

    def objective(length, c):
        w = weights + length * step
        return float(evaluate(problem, C, w)[2][c])

    for c in range(3):
        brute = minimize_scalar(lambda x, c=c: objective(x * float(t[c]), c), bracket=(0, 1))
        assert objective(float(t[c]), c) <= brute.fun * (1 + 1e-10)


def test_extrapolation_is_the_best_point_on_the_line_and_near_the_solution():
    """Solutions for C and 2C foretell most of the way to 4C."""
    _, problem = posed(3)
    far, near, aim = (run(newton(problem, C, tol=1e-12, max_iter=100)) for C in (0.1, 0.2, 0.4))
    start = extrapolate(problem, 0.4, near, far)
    scores, _, objective, gap = evaluate(problem, 0.4, start.weights)
    torch.testing.assert_close(start.scores, scores)
    for moved in (-0.01, 0.01):
        beside = start.weights + moved * (near.weights - far.weights)
        assert (evaluate(problem, 0.4, beside)[2] > objective).all()
    assert (gap < 0.2 * evaluate(problem, 0.4, near.weights)[3]).all() and (objective >= aim.objective).all()


def test_extrapolation_stays_where_two_solutions_are_one():
    _, problem = posed(3)
    near = run(newton(problem, 0.2, tol=1e-6, max_iter=100))
    torch.testing.assert_close(extrapolate(problem, 0.4, near, near).weights, near.weights)

"""Choose C on held-out training rows, then fit all rows, starting from the chosen solution.

This is the DCGAN paper's protocol (section 5): C is chosen by the error on validation rows from the training set, then
the whole training set is fitted. No function here takes test data.
"""

import dataclasses
import math
import time
from collections.abc import Generator, Sequence
from typing import TypedDict

import numpy as np
import torch

from evaluation.l2svm import L2SVM, Progress, check_fit, check_options, run, winners
from evaluation.newton import newton
from evaluation.posing import pose
from evaluation.problem import Problem, Solution, extrapolate
from evaluation.processes import Processes
from evaluation.rows import Features
from evaluation.splits import check_rows

DEFAULT_GRID = (1e-5, 3e-5, 1e-4, 2e-4, 5e-4, 1e-3)
ROUGH = 2  # Newton iterations of the first fit of a value: free steps, then a full one; the rest moves 0.1 points
CLEAR = 1.0  # standard errors of the best accuracy; after a value that is worse by more, no larger one is tried
CLOSE = 0.5  # the same; only values that are no worse than this are fitted to tol
BEYOND = 3.0  # factor between an edge of the grid and the next value tried beyond it
FLAT = 2  # so many values below the grid that change nothing end the search: scores only shrink with C from there on
MAX_BEYOND = 8  # largest number of such values on either side: one narrow layer of small activations needs seven


class Tried(TypedDict):
    """One value of C: accuracy on the hold-out in [0, 1], largest relative duality gap, passes over X, seconds.

    rough: whether the fit was ended before it reached tol.
    """

    C: float
    accuracy: float
    rough: bool
    duality_gap: float
    passes: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Selection:
    """The chosen C and how it was chosen.

    grid: every value tried, ascending in C.
    skipped: the values asked for that were not tried, ascending.
    classes ([K]), problem, solution: where the final fit starts.

    >>> X, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 4
    >>> chosen = evaluation.select_C(X, y, np.arange(8), [0.1, 1.0])
    >>> chosen.grid[0]["accuracy"], chosen.classes
    (1.0, array([0, 1, 2, 3]))
    """

    C: float
    grid: tuple[Tried, ...]
    skipped: tuple[float, ...]
    classes: np.ndarray = dataclasses.field(repr=False)
    problem: Problem = dataclasses.field(repr=False)
    solution: Solution = dataclasses.field(repr=False)


def select_C(
    X: Features,
    y: np.ndarray,
    holdout: np.ndarray,
    Cs: Sequence[float] = DEFAULT_GRID,
    *,
    tol: float = 1e-3,
    max_iter: int = 100,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    sharded: bool = False,
) -> Selection:
    """Choose the C of highest accuracy on the hold-out, after fits on all other rows; among equals, the smallest.

    Values are tried in ascending order, by rough fits, since the largest take the most passes and seldom win. The walk
    ends at a value that is worse than the best by more than one standard error of the best accuracy (binomial), or at
    the second in a row that is worse, if the accuracy had risen by more than that before. While the best value is the
    smallest or the largest tried, the next value three times beyond it is tried, at most eight on either side, and none
    after two values below the grid that change no accuracy. Values within half a standard error of the best are then
    fitted to `tol`.

    X: as for L2SVM.fit. Hold-out rows stay in it, with weight zero.
    y: labels [n].
    holdout: distinct row indices, as `stratified_holdout` gives them; of this process's rows if they are sharded.
    tol: relative duality gap of the fits that decide; the accuracy of DCGAN features does not change below 1e-3.
    progress: shows the fits as they are done, as tqdm would.
    sharded: as for L2SVM; every process then makes the same choice.
    Raises ValueError as L2SVM.fit does, and for indices that leave nothing to fit or to score.

    >>> X, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 4
    >>> fit, held = evaluation.stratified_holdout(y, 8, seed=0)
    >>> chosen = evaluation.select_C(X, y, held, [0.1, 1.0])
    >>> chosen.C == min(tried["C"] for tried in chosen.grid)  # all are right, so the smallest
    True
    """
    processes = Processes(sharded)
    check_options(Cs, tol=tol, max_iter=max_iter, processes=processes)
    if len(Cs) == 0:
        raise ValueError("Cs must hold at least one value, got none")
    X, y = check_fit(X, y, processes=processes)
    holdout, held = _checked(holdout, y, processes)
    weight = np.ones(len(y))
    weight[holdout] = 0
    problem, classes = pose(X, y, weight, Cs, device=device, sharded=sharded)
    grid = sorted(set(Cs))
    steps = _try(problem, grid, holdout, np.searchsorted(classes, y[holdout]), held, tol, max_iter)
    tried, solutions = run(steps, progress=progress, total=None, desc="select C", unit="fit")
    C, skipped = _best(tried), tuple(c for c in grid if c not in tried)
    return Selection(C, tuple(tried[c] for c in sorted(tried)), skipped, classes, problem, solutions[C])


def fit_selected(
    X: Features,
    y: np.ndarray,
    selection: Selection,
    *,
    tol: float = 1e-4,
    max_iter: int = 100,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> L2SVM:
    """Fit the L2SVM of the selected C on all rows, hold-out included, starting from the selection's solution.

    X, y: those that the selection was made on; sharded if it was. Raises ValueError for other shapes or labels.
    progress: shows passes over X.

    >>> X, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 4
    >>> chosen = evaluation.select_C(X, y, np.arange(8), [0.1, 1.0])
    >>> svm = evaluation.fit_selected(X, y, chosen)
    >>> svm.C == chosen.C, svm.score(X, y)
    (True, 1.0)
    """
    posed = selection.problem
    check_options([selection.C], tol=tol, max_iter=max_iter, processes=posed.processes)
    X, y = check_fit(X, y, processes=posed.processes)
    posed.processes.together(lambda: _check_same(X, y, selection))
    problem = dataclasses.replace(posed, sample_weight=torch.ones_like(posed.sample_weight))
    steps = newton(problem, selection.C, tol=tol, max_iter=max_iter, start=selection.solution)
    solution = run(steps, progress=progress, total=None, desc="fit", unit="pass")
    svm = L2SVM(selection.C, tol=tol, max_iter=max_iter, device=device, sharded=posed.processes.count > 1)
    return svm._adopt(selection.classes, problem, solution)


def _check_same(X: Features, y: np.ndarray, selection: Selection) -> None:
    posed = selection.problem
    shape, labels = (posed.rows.n, posed.rows.width - 1), posed.labels.cpu().numpy()
    if X.shape != shape or not np.array_equal(y, selection.classes[labels]):
        raise ValueError(f"X and y must be those of the selection, {shape} of its classes, got {X.shape}")


def _try(
    problem: Problem,
    grid: Sequence[float],
    holdout: np.ndarray,
    truth: np.ndarray,
    held: int,
    tol: float,
    max_iter: int,
) -> Generator[None, None, tuple[dict[float, Tried], dict[float, Solution]]]:
    """Fit and score what `_next` says, until it says nothing; yield after every fit. The second fit of a C goes on.

    holdout, truth: this process's held-out rows and their classes. held: number of those of all processes.
    """
    tried: dict[float, Tried] = {}
    solutions: dict[float, Solution] = {}
    while (C := _next(tried, grid, held, problem.largest_C)) is not None:
        begun = time.monotonic()
        limit = max_iter if C in tried or problem.rows.few else min(ROUGH, max_iter)
        solution = run(newton(problem, C, tol=tol, max_iter=limit, start=_start(problem, C, solutions)))
        before, gap = tried.get(C), float(solution.gap.max())
        solutions[C] = solution
        tried[C] = Tried(
            C=C,
            accuracy=sum(problem.processes.gathered(_right(solution.scores, holdout, truth))) / held,
            rough=gap > tol and limit < max_iter,
            duality_gap=gap,
            passes=solution.passes + (before["passes"] if before else 0),
            seconds=round(time.monotonic() - begun + (before["seconds"] if before else 0), 1),
        )
        yield
    return tried, solutions


def _start(problem: Problem, C: float, solutions: dict[float, Solution]) -> Solution | None:
    """Return the solution for C if there is one, else the best point for C on the line through those nearest to it."""
    near = sorted(solutions, key=lambda c: max(c / C, C / c))
    if len(near) < 2 or near[0] == C:
        return solutions[near[0]] if near else None
    return extrapolate(problem, C, solutions[near[0]], solutions[near[1]])


def _next(tried: dict[float, Tried], grid: Sequence[float], held: int, largest_C: float) -> float | None:
    """Return the next C to fit, or None if the choice is made. held: number of rows of the hold-out.

    largest_C: values beyond the grid stay below it.

    First, the grid is walked upwards until the accuracy has fallen. Then a best value at an edge calls for the next one
    beyond it. At last, rough fits that are close to the best are finished, the best first; this may reopen the rest.
    """
    if not tried:
        return grid[0]
    best, low, high = _best(tried), min(tried), max(tried)
    top = tried[best]["accuracy"]
    error = math.sqrt(top * (1 - top) / held)
    lost = {C: top - tried[C]["accuracy"] for C in sorted(tried)}
    risen, fallen = lost[low] > CLEAR * error, lost[high] > CLEAR * error
    twice_worse = min(list(lost.values())[-2:]) > 0
    if high < grid[-1] and not (fallen or (risen and twice_worse)):
        return next(C for C in grid if C > high)
    reach = BEYOND ** (MAX_BEYOND - 0.5)
    flat = low < grid[0] / BEYOND ** (FLAT - 0.5) and max(list(lost.values())[: FLAT + 1]) == 0
    if best == low and low > grid[0] / reach and low / BEYOND > 0 and not flat:
        return low / BEYOND
    if best == high and high < grid[-1] * reach and high * BEYOND <= largest_C:
        return high * BEYOND
    rough = [C for C in tried if tried[C]["rough"] and lost[C] <= CLOSE * error]
    return min(rough, key=lambda C: lost[C], default=None)


def _right(scores: torch.Tensor, rows: np.ndarray, truth: np.ndarray) -> int:
    """Return the number of rows whose winning class is the true one: scores [k, n], rows and truth int [m]."""
    return int((winners(scores[:, rows].cpu().numpy()) == truth).sum())


def _best(tried: dict[float, Tried]) -> float:
    """Return the C of highest accuracy; among equals, the smallest."""
    return max(sorted(tried), key=lambda C: tried[C]["accuracy"])


def _checked(holdout: np.ndarray, y: np.ndarray, processes: Processes) -> tuple[np.ndarray, int]:
    """Return the hold-out's indices of this process and the number of those of all.

    Raises ValueError, in every process, unless they are distinct, in range, and leave rows of every class to fit.
    """
    holdout = np.asarray(holdout)
    held = sum(processes.gathered(holdout.size))
    if not holdout.size and held:  # other processes hold rows out
        holdout = holdout.astype(np.int64)
    processes.together(lambda: check_rows("holdout", holdout, len(y)) if holdout.size or not held else None)
    left, whole = (np.concatenate(processes.gathered(np.unique(rows))) for rows in (np.delete(y, holdout), y))
    missing = np.setdiff1d(whole, left)
    if len(missing):
        raise ValueError(f"holdout must leave rows of every class to fit, it takes all of {missing.tolist()}")
    return holdout, held

"""What test_sharded.py runs in each of several processes: fits of this process's rows, saved for comparison.

python -m tests.evaluation.sharded_fits FOLDER RANK PROCESSES
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from scipy import sparse

import evaluation
from evaluation import newton, rows, subspace

N, D, K = 900, 60, 5
WAYS = {"all directions": (1e10, 0), "rows": (0, 2500), "passes": (0, 0)}


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X [N, D], y [N], with classes of unequal sizes, and 150 held-out rows."""
    rng = np.random.default_rng(0)
    y = np.minimum(rng.geometric(0.4, N) - 1, K - 1)
    X = (rng.standard_normal((N, D)) + 0.7 * np.eye(K, D)[y]).astype(np.float32)
    return X, y, np.sort(rng.permutation(N)[:150])


def cut(n: int, rank: int, processes: int) -> slice:
    """Return a share of n rows; the first process's is the largest."""
    ends = [0, *(n * (r + 2) // (processes + 1) for r in range(processes - 1)), n]
    return slice(ends[rank], ends[rank + 1])


def fits(mine: slice, sharded: bool) -> dict[str, np.ndarray]:
    """Return what every kind of fit gives."""
    X, y, held = problem()
    here, labels = X[mine], y[mine]
    holdout = held[(held >= mine.start) & (held < mine.stop)] - mine.start
    found: dict[str, np.ndarray] = {}
    for way, (full_cost, few_rows) in WAYS.items():
        subspace.FULL_COST, rows.FEW_ROWS = full_cost, few_rows
        svm = evaluation.L2SVM(0.1, tol=1e-7, class_weight="balanced", sharded=sharded).fit(here, labels)
        found |= {f"{way} objective": svm.objective_, f"{way} coef": svm.coef_, f"{way} gap": svm.duality_gap_}
        found[f"{way} predicted"] = svm.predict(X)
        two = evaluation.L2SVM(0.1, tol=1e-7, sharded=sharded).fit(here, labels == 0)
        found[f"{way} two classes"] = two.objective_
        chosen = evaluation.select_C(here, labels, holdout, [1e-3, 1e-2, 1e-1], sharded=sharded)
        found[f"{way} accuracies"] = np.array([(tried["C"], tried["accuracy"]) for tried in chosen.grid])
        final = evaluation.fit_selected(here, labels, chosen, tol=1e-7)
        found[f"{way} chosen"] = np.append(final.objective_, final.C)
    draws = evaluation.label_draws(y, 4, seed=0, size=200)
    right, gap = evaluation.score_draws(here, labels, draws, [0.01, 0.1], here, labels, tol=1e-7, sharded=sharded)
    found |= {"right": right, "draws gap": np.array(gap)}
    newton.STATE_BYTES = 1
    alone = evaluation.L2SVM(0.1, tol=1e-7, sharded=sharded).fit(here, labels)
    return found | {"in groups": alone.objective_}


def odd(mine: slice, rank: int) -> dict[str, np.ndarray]:
    """Return fits where the first process has no rows, or only such as take no part. Its labels are then []."""
    X, y, _ = problem()
    here, labels = (X[:0], []) if rank == 0 else (X[mine], y[mine])
    fit = evaluation.L2SVM(0.1, tol=1e-7, sharded=True).fit
    bare = fit(here, labels)  # type: ignore[arg-type]
    sparse_here = sparse.csr_matrix(here) if rank == 0 else here
    weights = np.full(len(y[mine]), float(rank > 0))
    right, _ = evaluation.score_draws(
        X[mine], y[mine], np.arange(60)[None], [0.1], here, np.array(labels), sharded=True
    )
    return {
        "odd classes": bare.classes_,
        "odd objective": np.stack(
            [
                bare.objective_,
                fit(sparse_here, labels).objective_,  # type: ignore[arg-type]
                fit(X[mine], y[mine], weights).objective_,
            ]
        ),
        "odd right": right,
    }


def errors(mine: slice) -> dict[str, np.ndarray]:
    """Return what is said, in every process, of rows that are unfit in one of them."""
    X, y, _ = problem()
    said = {}
    bad = X.copy()
    bad[N - 1, 3] = np.nan  # in the last process
    tasks = {
        "NaN": lambda: evaluation.L2SVM(sharded=True).fit(bad[mine], y[mine]),
        "labels": lambda: evaluation.L2SVM(sharded=True).fit(X[mine], y[mine][: len(y[mine]) - (mine.start == 0)]),
        "one class": lambda: evaluation.L2SVM(sharded=True).fit(X[mine], 0 * y[mine]),
        "width": lambda: evaluation.L2SVM(sharded=True).fit(X[mine, : D - (mine.start == 0)], y[mine]),
        "holdout": lambda: evaluation.select_C(X[mine], y[mine], np.arange(len(X[mine])), [0.1], sharded=True),
    }
    first = mine.start == 0
    draws, other = np.arange(60)[None], np.arange(60 + first)[None]
    few = partial(evaluation.score_draws, X[mine], y[mine], sharded=True)
    tasks |= {
        "C": lambda: evaluation.L2SVM(0.0 if first else 1.0, sharded=True).fit(X[mine], y[mine]),
        "Cs": lambda: list(evaluation.l2svm_path(X[mine], y[mine], [0.1, 1.0][first:], sharded=True)),
        "device": lambda: evaluation.L2SVM(sharded=True, device="meta" if first else "cpu").fit(X[mine], y[mine]),
        "scored width": lambda: few(draws, [0.1], X[mine, first:], y[mine]),
        "scored labels": lambda: few(draws, [0.1], X[mine], y[mine][first:]),
        "draws": lambda: few(other, [0.1], X[mine], y[mine]),
    }
    for name, task in tasks.items():
        try:
            task()
            said[name] = "nothing"
        except ValueError as error:
            said[name] = str(error)
    return {f"error {name}": np.array(text) for name, text in said.items()}


def main(folder: Path, rank: int, processes: int) -> None:
    torch.set_num_threads(1)
    subspace.SAMPLE, subspace.RANK, subspace.LEADING, rows.COLUMNS, rows.SMALL_BYTES = 300, 30, 15, 16, 0
    mine = cut(N, rank, processes)
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    found = fits(mine, sharded=processes > 1)
    if processes > 1:
        found |= odd(mine, rank) | errors(mine)
        dist.barrier()
        dist.destroy_process_group()
    np.savez(folder / f"{rank}.npz", **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

"""Fit an L2-SVM in several processes that share the rows, and compare with one process: time, objectives, predictions.

    python -m experiments.studies.scale.several_processes runs/features.npy

Features in float32 are written to the file: ten classes, leaky rectified, of low rank, with noise. One process with two
threads, and two and three processes with one thread each, choose C on a fifth of the rows and fit all of them, in turn.
The processes communicate by Gloo. The table has the seconds of each, without their start, and how far the objectives,
the accuracies of the choice and the predictions lie apart.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist

import evaluation
from experiments.run import console
from experiments.studies.benchmark_few_labels import synthetic_features
from experiments.studies.program import new_parser, write_table

ROWS = 4096
SCORED = 10_000  # rows whose predictions are compared
RUNS = {"one process": (1, 2), "two processes": (2, 1), "three processes": (3, 1)}  # processes, threads of each


def classes(rows: int) -> np.ndarray:
    """Return the classes of all rows."""
    return np.random.default_rng(1).integers(0, 10, rows)


def write(file: Path, rows: int, width: int) -> None:
    """Write the features, unless a file of their shape is there."""
    if file.exists() and np.load(file, mmap_mode="r").shape == (rows, width):
        return
    y = classes(rows)
    X = np.lib.format.open_memmap(file, "w+", np.float32, (rows, width))
    for start in console.progress(range(0, rows, ROWS), total=-(-rows // ROWS), desc="write", unit="block"):
        X[start : start + ROWS] = synthetic_features(y[start : start + ROWS], width, start)


def fit(file: Path, meeting: Path, rank: int, processes: int, threads: int) -> dict[str, Any]:
    """Fit this process's rows together with the others, and return what is compared."""
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    whole = np.load(file, mmap_mode="r")
    mine = slice(len(whole) * rank // processes, len(whole) * (rank + 1) // processes)
    X, y = np.array(whole[mine]), classes(len(whole))[mine]
    holdout = np.flatnonzero(np.arange(mine.start, mine.stop) % 5 == 0)
    dist.barrier()
    start = time.perf_counter()
    chosen = evaluation.select_C(X, y, holdout, sharded=True)
    svm = evaluation.fit_selected(X, y, chosen)
    dist.barrier()
    seconds = time.perf_counter() - start
    predicted = svm.predict(np.array(whole[:SCORED]))
    dist.barrier()
    dist.destroy_process_group()
    return {
        "seconds": seconds,
        "C": svm.C,
        "grid": [(tried["C"], tried["accuracy"]) for tried in chosen.grid],
        "objective": svm.objective_.tolist(),
        "gap": float(svm.duality_gap_.max()),
        "predicted": predicted.tolist(),
    }


def together(file: Path, processes: int, threads: int) -> dict[str, Any]:
    """Start the processes and return what the first one found."""
    with TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        command = [sys.executable, "-m", __spec__.name, str(file), "--meeting", str(meeting)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        started = [
            subprocess.Popen(
                [*command, "--share", str(rank), str(processes), str(threads)],
                stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
                env=environment,
            )
            for rank in range(processes)
        ]
        found = started[0].communicate()[0]
        if any(process.wait() for process in started):
            raise SystemExit("a process ended early; see its message above")
    return json.loads(found)


def compared(name: str, runs: list[dict[str, Any]], alone: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row of the table; times are medians, and the ratio is that of each round."""
    last, usual = runs[-1], alone[-1]
    objective = np.array(last["objective"]) / np.array(usual["objective"]) - 1
    return {
        "run": name,
        "seconds": statistics.median(run["seconds"] for run in runs),
        "ratio": statistics.median(run["seconds"] / one["seconds"] for run, one in zip(runs, alone, strict=True)),
        "rounds": len(runs),
        "C": last["C"],
        "same_accuracies": last["grid"] == usual["grid"],
        "largest_gap": last["gap"],
        "objective_difference": float(np.abs(objective).max()),
        "equal_predictions": float(np.mean(np.array(last["predicted"]) == np.array(usual["predicted"]))),
    }


def main(argv: list[str] | None = None) -> None:
    """Print the table, and write it as CSV."""
    parser = new_parser(__doc__)
    parser.add_argument("file", type=Path, help="where the features are written (.npy); it is kept for the next run")
    parser.add_argument("--rows", type=int, default=50_000, help="(default: %(default)s)")
    parser.add_argument("--width", type=int, default=14_336, help="features of an image (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of every run, in turn (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="CSV file")
    parser.add_argument("--meeting", type=Path, help="used by the processes that this program starts")
    parser.add_argument("--share", type=int, nargs=3, help="used by the processes that this program starts")
    arguments = parser.parse_args(argv)
    if arguments.share:
        print(json.dumps(fit(arguments.file, arguments.meeting, *arguments.share)))
        return
    write(arguments.file, arguments.rows, arguments.width)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNS}
    for number in range(arguments.rounds):
        for name, (processes, threads) in RUNS.items():
            found[name].append(together(arguments.file, processes, threads))
            console.say(f"round {number + 1}: {name}, {found[name][-1]['seconds']:.1f} s")
    table = pd.DataFrame([compared(name, runs, found["one process"]) for name, runs in found.items()])
    print(table.to_string(index=False, float_format="%.6g"))
    write_table(table, arguments.out, "%.6g")


if __name__ == "__main__":
    main()

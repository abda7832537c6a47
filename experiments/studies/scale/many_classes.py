"""Fit L2-SVMs of 1,000 classes on one matrix, and compare the seconds a class with scikit-learn's LinearSVC.

    python -m experiments.studies.scale.many_classes --out runs/many-classes.csv

Features in float32 are made in memory: class means with correlated noise, rectified, so that about half of them are
zero. L2SVM fits all classes at once, to a relative duality gap of 1e-3, preparation included. LinearSVC (dual=False, on
features that are float64 already) then fits some of the classes one by one against the rest. Its tol is lowered by
factors of 10 until its objective, computed in float64, is at most 1e-3 above ours. The last fit is repeated, and the
median of its seconds counts; fits at a larger tol do not.
"""

import resource
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.svm import LinearSVC

import evaluation
from experiments.studies.benchmark_features_and_svm import objective_of_class
from experiments.studies.program import new_parser, write_table
from experiments.studies.timing import seconds

GAP = 1e-3
LATENT = 256  # directions of the class means and of the correlated noise
SPREAD = 0.35  # of class means, relative to the noise
BLOCK = 5000  # rows made at once
TOLS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of LinearSVC; its default is 1e-4
SCORED = 5000  # further rows, on which accuracy is measured


def features(rows: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features float32 [rows, width] and labels int64 [rows]."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, LATENT + 1, dtype=np.float32) ** -0.5
    means = SPREAD * scale * rng.standard_normal((classes, LATENT), np.float32)
    mix = rng.standard_normal((LATENT, width), np.float32) / np.linalg.norm(scale)
    labels = rng.integers(0, classes, rows)
    X = np.empty((rows, width), np.float32)
    for start in range(0, rows, BLOCK):
        y = labels[start : start + BLOCK]
        x = (means[y] + scale * rng.standard_normal((len(y), LATENT), np.float32)) @ mix
        x += 0.5 * rng.standard_normal(x.shape, np.float32) - 0.3
        np.maximum(x, 0, out=X[start : start + BLOCK])
    return X, labels


def linearsvc(X: np.ndarray, positive: np.ndarray, C: float, aim: float, repeats: int) -> dict[str, Any]:
    """Return what LinearSVC takes at the largest of TOLS whose objective is at most `aim`, or at the last one.

    X: float64 [n, D]. positive: bool [n], the rows of the class. Seconds are medians.
    """
    for tol in TOLS:
        svm = LinearSVC(C=C, dual=False, tol=tol, max_iter=10_000)
        taken = [seconds(partial(svm.fit, X, positive))]
        reached = float(objective_of_class(svm.coef_[0], svm.intercept_[0], X, positive, C))
        if reached <= aim:
            break
    taken += [seconds(partial(svm.fit, X, positive)) for _ in range(repeats - 1)]
    wall, processor = np.median(taken, axis=0)
    return {"tol": tol, "seconds_a_class": wall, "processor_seconds_a_class": processor, "objective": reached}


def measure(rows: int, width: int, classes: int, C: float, compared: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield what L2SVM took for all classes, then what LinearSVC took for each of the compared ones."""
    X, y = features(rows + SCORED, width, classes)
    X, scored, y, expected = X[:rows], X[rows:], y[:rows], y[rows:]
    svm = evaluation.L2SVM(C, tol=GAP)
    wall, processor = seconds(lambda: svm.fit(X, y))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield {
        "solver": "L2SVM",
        "classes": len(svm.classes_),
        "seconds_a_class": wall / len(svm.classes_),
        "processor_seconds_a_class": processor / len(svm.classes_),
        "gap": svm.duality_gap_.max(),
        "accuracy": np.mean(svm.predict(scored) == expected),
        "peak_gib": peak,
    }
    wide = X.astype(np.float64)
    for c in np.linspace(0, len(svm.classes_) - 1, compared).astype(int):
        positive, weights = y == svm.classes_[c], svm.coef_[c].astype(np.float64)
        ours = objective_of_class(weights, float(svm.intercept_[c]), wide, positive, C)
        found = linearsvc(wide, positive, C, (1 + GAP) * ours, repeats)
        yield {
            "solver": "LinearSVC",
            "classes": 1,
            "class": c,
            **found,
            "objective_ratio": found["objective"] / ours,
        }


def main(argv: list[str] | None = None) -> None:
    """Print a line for L2SVM, one for each class of LinearSVC and their ratio, and write the table as CSV."""
    parser = new_parser(__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument("--width", type=int, default=2048, help="features of a row (default: %(default)s)")
    parser.add_argument("--classes", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--C", type=float, default=1e-3, help="(default: %(default)s)")
    parser.add_argument("--compared", type=int, default=20, help="classes that LinearSVC fits (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="fits of LinearSVC a class (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="CSV file")
    arguments = vars(parser.parse_args(argv))
    out, found = arguments.pop("out"), []
    for row in measure(**arguments):
        found.append(row)
        print(
            ", ".join(f"{name} {value:.4g}" if name != "solver" else value for name, value in row.items()), flush=True
        )
    write_table(pd.DataFrame(found), out, "%.6g")
    ours, *theirs = (row["seconds_a_class"] for row in found)
    if theirs:
        median = statistics.median(theirs)
        print(f"LinearSVC takes {median:.3g} s a class in the median, {median / ours:.3g} times as long as L2SVM")


if __name__ == "__main__":
    main()

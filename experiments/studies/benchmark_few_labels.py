"""Time the whole SVHN protocol on synthetic features of its true sizes, and a tenth of its fits against LinearSVC.

    python -m experiments.studies.benchmark_few_labels

1,000 labels are drawn from 63,257 digits, C is chosen on 10,000 (7 values, 10 draws), and 100 draws are scored on
26,032. Each digit has 7,168 features: leaky rectified, of low rank, with noise, in ten classes. The comparison with
scikit-learn fits one draw for all values of C and ten more draws for one value, and compares the final objectives.
"""

import dataclasses
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

import evaluation
from experiments.measure.classify import Split, few_labels
from experiments.measure.protocols import PROTOCOLS
from experiments.run import console
from experiments.run.context import Run
from experiments.studies.benchmark_features_and_svm import objective
from experiments.studies.program import new_parser

RANK = 64


def synthetic(rows: int, width: int, seed: int, *, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [rows, width] like a discriminator's, and their classes int64 [rows], 0 to 9."""
    labels = np.random.default_rng(seed).integers(0, 10, rows)
    return synthetic_features(labels, width, seed, spread=spread), labels


def synthetic_features(labels: np.ndarray, width: int, seed: int, *, spread: float = 0.3) -> np.ndarray:
    """Features float32 [N, width] of rows of these classes, int64 [N], 0 to 9."""
    directions = np.random.default_rng(0)  # the same for every seed
    basis = directions.normal(size=(RANK, width)).astype(np.float32) / RANK**0.5
    means = spread * directions.normal(size=(10, RANK)).astype(np.float32)
    rng = np.random.default_rng((seed, 1))
    X = np.empty((len(labels), width), np.float32)
    for start in range(0, len(labels), 4096):
        part = slice(start, start + 4096)
        codes = means[labels[part]] + rng.standard_normal((len(labels[part]), RANK), dtype=np.float32)
        x = codes @ basis + 0.5 * rng.standard_normal((len(codes), width), dtype=np.float32)
        X[part] = np.where(x > 0, x, 0.2 * x)
    return X


def main(argv: list[str] | None = None) -> None:
    """Print the whole protocol's line and the comparison's as they end."""
    parser = new_parser(__doc__)
    parser.add_argument("--width", type=int, default=7_168, help="features of an image (default: %(default)s)")
    parser.add_argument("--shrink", type=int, default=1, help="divide rows and draws by this, for a quick look")
    arguments = parser.parse_args(argv)
    run = Run(Path(), Path(), say=console.say, progress=console.progress)
    rules, shrink = PROTOCOLS["svhn/1000-balanced"], arguments.shrink
    assert rules.few is not None
    (X, y), (X_test, y_test) = (
        synthetic(rows // shrink, arguments.width, seed) for seed, rows in enumerate((rules.images, rules.tested))
    )
    few = dataclasses.replace(rules.few, select=max(2, rules.few.select // shrink), score=rules.few.score // shrink)
    split = Split(X, y, X_test, y_test, np.arange(rules.holdout // shrink))
    start = time.perf_counter()
    answer = few_labels(split, rules.grid, few, 0, run)
    seconds = time.perf_counter() - start
    print(
        f"whole protocol: {seconds:.0f} s for {few.select} draws of {len(rules.grid)} values of C and {few.score} "
        f"draws, {100 - 100 * answer.right.mean():.2f} % error at C {answer.solver['C']:g}, "
        f"largest relative gap {answer.solver['duality_gap']:.1e}",
        flush=True,
    )
    draws = evaluation.label_draws(y, 11, seed=2, per_class=few.per_class)
    work = [(draws[0], rules.grid), *((rows, [answer.solver["C"]]) for rows in draws[1:])]
    ours = theirs = excess = 0.0
    for rows, Cs in console.progress(work, total=len(work), desc="against LinearSVC", unit="draw"):
        start = time.perf_counter()
        mine = list(evaluation.l2svm_path(X[rows], y[rows], Cs))
        ours += time.perf_counter() - start
        for C, svm in zip(Cs, mine, strict=True):
            start = time.perf_counter()
            with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
                other = LinearSVC(C=C, dual=True, tol=1e-4).fit(X[rows], y[rows])
            theirs += time.perf_counter() - start
            ratio = objective(svm, X[rows], y[rows], C) / objective(other, X[rows], y[rows], C)
            excess = max(excess, float(np.max(ratio - 1)))
    print(
        f"a tenth of its fits: {ours:.1f} s, LinearSVC {theirs:.1f} s, ratio {theirs / ours:.1f}; "
        f"objective at most {excess:+.1e} above LinearSVC's"
    )


if __name__ == "__main__":
    main()

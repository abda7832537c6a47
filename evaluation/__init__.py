"""The evaluation: an L2-SVM on features where they lie, the choice of its C, splits, distances, statistics."""

from evaluation.l2svm import L2SVM, l2svm_path
from evaluation.neighbours import mean_distance, nearest
from evaluation.selection import DEFAULT_GRID, Selection, fit_selected, select_C
from evaluation.splits import stratified_holdout
from evaluation.statistics import (
    DrawsTest,
    Interval,
    PairedTest,
    Spread,
    interval95_of_mean,
    interval95_of_proportion,
    mcnemar,
    paired_bootstrap,
    paired_over_draws,
    spread,
)

__all__ = [
    "DEFAULT_GRID",
    "L2SVM",
    "DrawsTest",
    "Interval",
    "PairedTest",
    "Selection",
    "Spread",
    "fit_selected",
    "interval95_of_mean",
    "interval95_of_proportion",
    "l2svm_path",
    "mcnemar",
    "mean_distance",
    "nearest",
    "paired_bootstrap",
    "paired_over_draws",
    "select_C",
    "spread",
    "stratified_holdout",
]

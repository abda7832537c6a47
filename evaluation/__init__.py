"""The evaluation: an L2-SVM on features where they lie, its C chosen on training data, its splits; distances."""

from evaluation.draws import label_draws, score_draws
from evaluation.l2svm import L2SVM, l2svm_path
from evaluation.neighbours import mean_distance, nearest
from evaluation.selection import DEFAULT_GRID, Selection, fit_selected, select_C
from evaluation.splits import stratified_holdout

__all__ = [
    "DEFAULT_GRID",
    "L2SVM",
    "Selection",
    "fit_selected",
    "l2svm_path",
    "label_draws",
    "mean_distance",
    "nearest",
    "score_draws",
    "select_C",
    "stratified_holdout",
]

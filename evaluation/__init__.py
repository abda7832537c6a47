"""The evaluation: an L2-SVM on features where they lie, its C chosen on training data, its splits; distances."""

from evaluation.l2svm import L2SVM, l2svm_path
from evaluation.neighbours import knn_predict, knn_running, mean_distance, nearest
from evaluation.selection import DEFAULT_GRID, Selection, fit_selected, select_C
from evaluation.splits import stratified_holdout

__all__ = [
    "DEFAULT_GRID",
    "L2SVM",
    "Selection",
    "fit_selected",
    "knn_predict",
    "knn_running",
    "l2svm_path",
    "mean_distance",
    "nearest",
    "select_C",
    "stratified_holdout",
]

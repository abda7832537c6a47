"""The evaluation: an L2-SVM on features where they lie, its C chosen on training data, its splits; distances; and
other methods of the paper's tables: K-means features, supervised training."""

from evaluation.draws import label_draws, score_draws
from evaluation.kmeans import KMeansFeatures, QuadrantSums, learn_kmeans
from evaluation.l2svm import L2SVM, l2svm_path
from evaluation.neighbours import mean_distance, nearest
from evaluation.selection import DEFAULT_GRID, Selection, fit_selected, select_C
from evaluation.splits import stratified_holdout
from evaluation.supervised import Search, random_search
from evaluation.trials import Space, Trial

__all__ = [
    "DEFAULT_GRID",
    "L2SVM",
    "KMeansFeatures",
    "QuadrantSums",
    "Search",
    "Selection",
    "Space",
    "Trial",
    "fit_selected",
    "l2svm_path",
    "label_draws",
    "learn_kmeans",
    "mean_distance",
    "nearest",
    "random_search",
    "score_draws",
    "select_C",
    "stratified_holdout",
]

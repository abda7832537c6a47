"""The evaluation: an L2-SVM on features, its C chosen on training data, its splits; the other methods of the tables;
distances, intervals and paired tests.

K-means features (`learn_kmeans`, `KMeansFeatures`, `QuadrantSums`), of Coates, Lee & Ng:

>>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
>>> net = evaluation.learn_kmeans(images, 5, seed=0, patches=100, iterations=2)
>>> isinstance(net, evaluation.KMeansFeatures)
True
>>> maps = net(torch.from_numpy(images).permute(0, 3, 1, 2).float())
>>> maps.shape, evaluation.QuadrantSums()(maps).shape
(torch.Size([20, 5, 3, 3]), torch.Size([20, 20]))
"""

from evaluation.draws import label_draws, score_draws
from evaluation.kmeans import KMeansFeatures, QuadrantSums, learn_kmeans
from evaluation.l2svm import L2SVM, l2svm_path
from evaluation.memorisation import Nearness, nearness
from evaluation.neighbours import RunningKnn, k_nearest, knn_predict, mean_distance, nearest, nearest_others
from evaluation.presence import Presence, presence
from evaluation.selection import DEFAULT_GRID, Selection, fit_selected, select_C
from evaluation.splits import stratified_holdout
from evaluation.statistics import (
    Agreement,
    DrawsTest,
    Interval,
    PairedTest,
    Spread,
    agreement,
    holm,
    interval95_of_mean,
    interval95_of_proportion,
    mcnemar,
    paired_bootstrap,
    paired_over_draws,
    spread,
)
from evaluation.supervised import SupervisedData, TrialResult, run_trial
from evaluation.trials import Space, Trial, draw_trials

__all__ = [
    "DEFAULT_GRID",
    "L2SVM",
    "Agreement",
    "DrawsTest",
    "Interval",
    "KMeansFeatures",
    "Nearness",
    "PairedTest",
    "Presence",
    "QuadrantSums",
    "RunningKnn",
    "Selection",
    "Space",
    "Spread",
    "SupervisedData",
    "Trial",
    "TrialResult",
    "agreement",
    "draw_trials",
    "fit_selected",
    "holm",
    "interval95_of_mean",
    "interval95_of_proportion",
    "k_nearest",
    "knn_predict",
    "l2svm_path",
    "label_draws",
    "learn_kmeans",
    "mcnemar",
    "mean_distance",
    "nearest",
    "nearest_others",
    "nearness",
    "paired_bootstrap",
    "paired_over_draws",
    "presence",
    "run_trial",
    "score_draws",
    "select_C",
    "spread",
    "stratified_holdout",
]

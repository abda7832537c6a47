"""What features and the SVM cost, compared with the bare forward pass and scikit-learn's LinearSVC (`make bench`).

    python -m experiments.studies.benchmark_features_and_svm --images 512 --repeats 5

There are two comparisons. Each is the median of alternating runs, so that a drift of the machine's speed affects both:
extraction against the bare forward pass of the same network, and L2SVM against scikit-learn's LinearSVC on problems of
eight shapes (objective, agreement of predictions, seconds).
"""

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

import evaluation
import features
import gan
from experiments.studies.program import new_parser
from experiments.studies.timing import alternate, compare

# (rows, columns, classes, C, weight of the first class if classes differ in size, largest feature scale)
SHAPES = (
    (2000, 50, 2, 1.0, None, 1),
    (2000, 50, 10, 1e-2, None, 1),
    (200, 1000, 2, 10.0, None, 1),
    (300, 2000, 10, 1e-3, None, 1),
    (3000, 100, 2, 10.0, [0.97], 1),
    (3000, 100, 10, 1e-5, None, 1),
    (2000, 60, 10, 1e-4, None, 1000),
    (1500, 40, 2, 10.0, None, 100),
)


def extraction(*, images: int, repeats: int, preset: str = "imagenet32") -> str:
    """Return a line on images/s of `features.extract` and of only the network's stages, on the same batches."""
    net = gan.Discriminator(preset)
    backbone = features.Backbone(net, net.arch.stage_names, net.arch.image_shape, (-1.0, 1.0))
    data = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), dtype=np.uint8)
    batches = [backbone.prepare(data[i : i + 128]) for i in range(0, images, 128)]
    stages = torch.nn.Sequential(*(net.get_submodule(name) for name in net.arch.stage_names)).eval()

    def bare() -> None:
        with torch.inference_mode():
            for batch in batches:
                stages(batch)

    out = np.empty((images, features.feature_width(backbone)), np.float32)
    pairs = alternate(bare, lambda: features.extract(backbone, data, out=out), repeats)
    return f"extraction {preset}, {images:,} images: {compare(pairs, images, 'bare forward')}"


def solver(*, repeats: int) -> Iterator[str]:
    """Yield a line for each shape: objective of L2SVM relative to LinearSVC's, agreement of predictions, seconds."""
    problem = partial(make_classification, n_clusters_per_class=1, random_state=0)
    for rows, columns, classes, C, weights, scale in SHAPES:
        X, y = problem(rows, columns, n_informative=min(20, columns), n_classes=classes, weights=weights)
        X = X * np.geomspace(1 / scale, scale, columns)
        ours = evaluation.L2SVM(C)
        theirs = LinearSVC(C=C, dual=rows < columns, tol=1e-8, max_iter=200_000)
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            pairs = alternate(lambda: theirs.fit(X, y), lambda: ours.fit(X, y), repeats)  # noqa: B023
        other, mine = np.median(pairs[:, :, 0], axis=0)
        excess = float(np.max(objective(ours, X, y, C) / objective(theirs, X, y, C) - 1))
        agree = float(np.mean(ours.predict(X) == theirs.predict(X)))
        yield (
            f"solver {rows} x {columns}, {classes} classes, C {C:g}, scale {scale}: objective {excess:+.1e} "
            f"relative to LinearSVC, {100 * agree:.2f} % agree, {mine:.3f} s against {other:.3f} s"
        )


def objective(model: LinearSVC | evaluation.L2SVM, X: np.ndarray, y: np.ndarray, C: float) -> np.ndarray:
    """Return the primal objective of each one-vs-rest problem: float64 [k], or [1] for two classes."""
    targets = model.classes_[1:] if len(model.classes_) == 2 else model.classes_
    values = []
    for target, w, b in zip(targets, model.coef_.astype(np.float64), model.intercept_, strict=True):
        values.append(objective_of_class(w, b, X, y == target, C))
    return np.array(values)


def objective_of_class(w: np.ndarray, b: float, X: np.ndarray, positive: np.ndarray, C: float) -> float:
    """Return the primal objective of one problem. positive: bool [n], the rows of the class."""
    slack = np.maximum(0, 1 - np.where(positive, 1, -1) * (X @ w + b))
    return 0.5 * (w @ w + b * b) + C * (slack @ slack)


def main(argv: list[str] | None = None) -> None:
    """Print one line for each comparison."""
    parser = new_parser(__doc__)
    parser.add_argument("--images", type=int, default=512, help="images in a run of extraction (default: 512)")
    parser.add_argument("--repeats", type=int, default=5, help="measured pairs (default: 5)")
    arguments = parser.parse_args(argv)
    print(extraction(images=arguments.images, repeats=arguments.repeats), flush=True)
    for line in solver(repeats=arguments.repeats):
        print(line, flush=True)


if __name__ == "__main__":
    main()

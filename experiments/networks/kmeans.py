"""K-means features of a labelled set's training images, learned once: RUNS_ROOT/kmeans/<what they depend on>."""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path

import evaluation
from experiments.data import load as datasets
from experiments.run import kept as sealed

VERSION = 2  # raised when learning gives other centroids than before


def learned(
    k: int,
    seed: int,
    *,
    images: Callable[[], datasets.PackedSet],
    runs_root: Path,
    progress: datasets.Progress | None = None,
) -> evaluation.KMeansFeatures:
    """`evaluation.learn_kmeans` on a packed set, from its file where that is whole, else learned and written."""
    packed = images()
    key = hashlib.sha256(f"{VERSION} {packed.digest} {k} {seed}".encode()).hexdigest()[:32]
    file = runs_root / "kmeans" / f"{key}.safetensors"
    if file.exists():
        try:
            kept = sealed.read(file)
            return evaluation.KMeansFeatures(kept["centroids"], mean=kept["mean"], whitening=kept["whitening"])
        except (OSError, ValueError, KeyError) as error:
            warnings.warn(f"learning K-means again: {error}", stacklevel=2)
    module = evaluation.learn_kmeans(packed.images, k, seed=seed, progress=progress)
    sealed.write(file, {"centroids": module.triangle.centroids, "mean": module.mean, "whitening": module.whitening})
    return module

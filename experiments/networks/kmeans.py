"""K-means features of a packed set, learned once and kept in RUNS_ROOT/kmeans, named by what they depend on."""

import hashlib
import re
import warnings
from collections.abc import Callable

import torch

import evaluation
from experiments.data.load import load
from experiments.data.packed import PackedSet
from experiments.networks.contender import BATCH, NOTHING, Network, Request
from experiments.run import kept
from experiments.run.context import Run
from experiments.run.memory import check_memory

PLACES = 27 * 27  # of a 6x6 patch in an image of 32x32
VERSION = 2  # raise it when learning gives other centroids than before


def make_kmeans(text: str, request: Request) -> Network:
    """Return features of K centroids, learned from the images that the request names; not learned if it has no run."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) < 2:
        raise ValueError(f"write kmeans:K, 2 to 99999 centroids, got {text!r}")
    check_memory(4 * BATCH * PLACES * int(text), f"kmeans:{text}", "name fewer centroids")
    if request.run is not None:
        model = learn_once(int(text), request.seed, load(request.learn_from, request.run), request.run)
    else:
        d = 3 * 36
        model = evaluation.KMeansFeatures(torch.zeros(int(text), d), mean=torch.zeros(d), whitening=torch.eye(d))
    return Network(
        f"k-means {text}, 1 layer",
        model,
        ["triangle"],
        value_range=(0, 255),
        only_stages=True,
        pool=evaluation.QuadrantSums(),
        trained_on=NOTHING,
        standardised=True,  # as the authors of the method do
    )


def learn_once(
    k: int,
    seed: int,
    packed: PackedSet,
    run: Run,
    *,
    learn: Callable[..., evaluation.KMeansFeatures] = evaluation.learn_kmeans,
) -> evaluation.KMeansFeatures:
    """Return what `learn` returns for the images of `packed`: read from a complete file, else learned and stored."""
    key = hashlib.sha256(f"{VERSION} {packed.digest} {k} {seed}".encode()).hexdigest()[:32]
    file = run.runs_root / "kmeans" / f"{key}.safetensors"
    if file.exists():
        try:
            arrays, _ = kept.read(file)
            return evaluation.KMeansFeatures(**{name: torch.from_numpy(array) for name, array in arrays.items()})
        except (OSError, ValueError, TypeError) as error:
            warnings.warn(f"learning K-means again: {error}", stacklevel=2)
    module = learn(packed.images, k, seed=seed, progress=run.progress)
    kept.write(file, {"centroids": module.triangle.centroids, "mean": module.mean, "whitening": module.whitening})
    return module

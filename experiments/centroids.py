"""K-means features of a labelled set's training images, learned once: RUNS_ROOT/kmeans/<what they depend on>."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

import evaluation
from experiments import datasets
from experiments.atomic import write_bytes

VERSION = 1  # raised when learning gives other centroids than before
NAMES = ("centroids", "mean", "whitening")


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
    try:
        kept = safetensors.torch.load_file(file)
        whole = kept.pop("digest").numpy().tobytes() == _digest(kept)
        if whole:
            return _module(kept)
    except (OSError, SafetensorError, KeyError, ValueError):  # none, or a damaged one: learned again
        pass
    module = evaluation.learn_kmeans(packed.images, k, seed=seed, progress=progress)
    tensors = dict(zip(NAMES, (module.triangle.centroids, module.mean, module.whitening), strict=True))
    digest = torch.frombuffer(bytearray(_digest(tensors)), dtype=torch.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, safetensors.torch.save({**tensors, "digest": digest}))
    return module


def _module(tensors: dict[str, torch.Tensor]) -> evaluation.KMeansFeatures:
    return evaluation.KMeansFeatures(tensors["centroids"], mean=tensors["mean"], whitening=tensors["whitening"])


def _digest(tensors: dict[str, torch.Tensor]) -> bytes:
    return hashlib.sha256(b"".join(tensors[name].contiguous().numpy().tobytes() for name in NAMES)).digest()

"""K-means features of a labelled set's training images, learned once: RUNS_ROOT/kmeans/<what they depend on>."""

import hashlib
import warnings
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
    if file.exists():
        try:
            return _read(file)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            warnings.warn(f"learning K-means again: {file} is damaged ({error})", stacklevel=2)
    module = evaluation.learn_kmeans(packed.images, k, seed=seed, progress=progress)
    tensors = dict(zip(NAMES, (module.triangle.centroids, module.mean, module.whitening), strict=True))
    digest = torch.frombuffer(bytearray(_digest(tensors)), dtype=torch.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, safetensors.torch.save({**tensors, "digest": digest}))
    return module


def _read(file: Path) -> evaluation.KMeansFeatures:
    """Raises one of several errors where the file is not whole."""
    kept = safetensors.torch.load_file(file)
    if kept.pop("digest").numpy().tobytes() != _digest(kept):
        raise ValueError("not what its digest says")
    return evaluation.KMeansFeatures(kept["centroids"], mean=kept["mean"], whitening=kept["whitening"])


def _digest(tensors: dict[str, torch.Tensor]) -> bytes:
    return hashlib.sha256(b"".join(tensors[name].contiguous().numpy().tobytes() for name in NAMES)).digest()

"""Linear evaluation along training: how accuracy grows with the images that a network has seen.

    python -m experiments.studies.accuracy_along_training runs/train/imagenet32-half --out curve.csv

Every snapshot of the run's discriminator, and a random initialisation of it, goes through the CIFAR-10 protocol on a
part of the *training* images: an L2-SVM on 10,000 of them, scored on 5,000 others, with the better of a few values of
C. The test images are not looked at, so that recipes and lengths may be chosen by these figures.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import evaluation
import features
import gan
from experiments.data import load as datasets
from experiments.run import console
from experiments.run.context import Run
from experiments.run.files import write_bytes
from experiments.training.monitor import SNAPSHOTS

FITTED, SCORED, CALIBRATED = 10_000, 5_000, 40 * 128  # training images of CIFAR-10; 128 a batch
GRID = (3e-5, 1e-4, 3e-4, 1e-3)


def part(train: datasets.PackedSet) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 [15000, 32, 32, 3], labels int64): the fitted ones first, each part stratified, the same always."""
    assert train.labels is not None
    rest, scored = evaluation.stratified_holdout(train.labels, SCORED, seed=0)
    _, fitted = evaluation.stratified_holdout(train.labels[rest], FITTED, seed=1)
    rows = np.concatenate([rest[fitted], scored])
    return np.ascontiguousarray(train.images[rows]), train.labels[rows]


def accuracy(network: gan.Discriminator, images: np.ndarray, labels: np.ndarray, *, device: str) -> dict[str, float]:
    """The better C and its accuracy in percent on the scored part of `part`, with the half-width of a 95 % interval."""
    backbone = features.Backbone(network.eval(), network.arch.stage_names, network.arch.image_shape, (-1, 1))
    features.calibrate_batchnorm(backbone, images[:CALIBRATED], batch_size=128, device=device)
    X = features.extract(backbone, images, pool=features.max_grid(4), batch_size=128, device=device)
    fits = evaluation.l2svm_path(X[:FITTED], labels[:FITTED], GRID, tol=1e-2, device=device)
    share, C = max((float((svm.predict(X[FITTED:]) == labels[FITTED:]).mean()), -svm.C) for svm in fits)
    return {"C": -C, "accuracy_percent": 100 * share, "ci95": 196 * (share * (1 - share) / SCORED) ** 0.5}


def curve(run: Path, train: datasets.PackedSet, *, points: int, device: str) -> Iterator[dict[str, Any]]:
    """A row for the initialisation, then one for each of `points` snapshots in the run's folder, evenly chosen.

    ValueError where there is none.
    """
    files = sorted((run / SNAPSHOTS).glob("*.safetensors"))
    if not files:
        raise ValueError(f"no snapshots in {run / SNAPSHOTS}: train a recipe there first")
    files = [files[i] for i in sorted({round((k + 1) * len(files) / points) - 1 for k in range(points)} - {-1})]
    images, labels = part(train)
    networks = [gan.load(file) for file in files]
    if not isinstance(networks[0], gan.Discriminator):
        raise ValueError(f"{files[0]} is class-conditional: its features are not taken without labels")
    fresh = gan.Discriminator(networks[0].arch)
    gan.initialise(fresh, torch.Generator().manual_seed(0))
    yield {"run": run.name, "images_seen": 0, **accuracy(fresh, images, labels, device=device)}
    for file, network in zip(files, networks, strict=True):
        assert isinstance(network, gan.Discriminator)
        yield {"run": run.name, "images_seen": int(file.stem), **accuracy(network, images, labels, device=device)}


def main(argv: list[str] | None = None) -> int:
    """Prints the rows as they come; writes them as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, nargs="+", help="folders of training runs")
    parser.add_argument("--points", type=int, default=20, help="snapshots of each, the last among them")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--runs-root", type=Path, default=Path("runs"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    train = datasets.load("cifar10-train", Run(arguments.data_root, arguments.runs_root, progress=console.progress))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    try:
        for run in arguments.run:
            for row in curve(run, train, points=arguments.points, device=arguments.device):
                rows.append(row)
                print(f"{row['run']} {row['images_seen']:>9,} images: {row['accuracy_percent']:.2f} %", flush=True)
                write_bytes(arguments.out, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g").encode())
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())

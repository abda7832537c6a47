"""A quick accuracy of a discriminator: the CIFAR-10 protocol on a part of the *training* images.

An L2-SVM is fitted to 10,000 of them and scored on 5,000 others, with the best of a few values of C. The test images
are not used, so recipes and lengths of training may be chosen by these figures.
"""

from dataclasses import dataclass

import numpy as np
import torch

import evaluation
import features
import gan
from experiments.data.packed import PackedSet

FITTED, SCORED = 10_000, 5_000  # training images of CIFAR-10
BATCH, CALIBRATED = 128, 40  # images in a batch; number of batches that calibrate batch norm
GRID = (3e-5, 1e-4, 3e-4, 1e-3)


@dataclass(frozen=True)
class Part:
    """A stratified part of a labelled set, the same whenever it is drawn."""

    images: np.ndarray  # uint8 [N, H, W, C]; the images to fit on come first
    labels: np.ndarray  # int64 [N]
    fitted: int  # number of images to fit on; the rest are scored


def part(train: PackedSet, *, fitted: int = FITTED, scored: int = SCORED) -> Part:
    """Draw the part of a labelled set: `fitted` images and `scored` others."""
    assert train.labels is not None
    rest, held_out = evaluation.stratified_holdout(train.labels, scored, seed=0)
    _, chosen = evaluation.stratified_holdout(train.labels[rest], fitted, seed=1)
    rows = np.concatenate([rest[chosen], held_out])
    return Part(np.ascontiguousarray(train.images[rows]), train.labels[rows], fitted)


def accuracy(network: gan.Discriminator, part: Part, *, device: torch.device) -> dict[str, float]:
    """Return the best C, its accuracy in percent on the scored images, and the half-width of a 95 % interval."""
    backbone = features.Backbone(network.eval(), network.arch.stage_names, network.arch.image_shape, (-1, 1))
    calibration = part.images[: min(CALIBRATED * BATCH, part.fitted)]
    features.calibrate_batchnorm(backbone, calibration, batch_size=BATCH, device=device)
    X = features.extract(backbone, part.images, pool=features.max_grid(4), batch_size=BATCH, device=device)
    fitted, scored = X[: part.fitted], X[part.fitted :]
    fits = evaluation.l2svm_path(fitted, part.labels[: part.fitted], GRID, tol=1e-2, device=device)
    share, C = max((float((svm.predict(scored) == part.labels[part.fitted :]).mean()), -svm.C) for svm in fits)
    return {"C": -C, "accuracy_percent": 100 * share, "ci95": 196 * (share * (1 - share) / len(scored)) ** 0.5}

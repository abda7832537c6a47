"""A quick accuracy of a discriminator, from *training* images alone: recipes and lengths may be chosen by it.

For CIFAR-10, an L2-SVM is fitted to 10,000 training images and scored on 5,000 others. For SVHN, each of five folds of
the training digits is scored by an L2-SVM of the other four. The best of a few values of C counts. The test images are
not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

import evaluation
import features
import gan
from experiments.data.packed import PackedSet
from experiments.measure.classify import FOLDS
from experiments.measure.protocols import SVHN_GRID

FITTED, SCORED = 10_000, 5_000  # training images of CIFAR-10
BATCH, CALIBRATED = 128, 40  # images in a batch; number of batches that calibrate batch norm
GRID = (3e-5, 1e-4, 3e-4, 1e-3)


@dataclass(frozen=True)
class Part:
    """Training images of a labelled set, the same whenever they are drawn, and how they are fitted and scored."""

    images: np.ndarray  # uint8 [N, H, W, C]
    labels: np.ndarray  # int64 [N]
    folds: tuple[tuple[np.ndarray, np.ndarray], ...]  # rows that are fitted, rows that are then scored; no row twice
    grid: tuple[float, ...] = GRID  # values of C


@dataclass(frozen=True)
class Found:
    """The best C, and which of the scored images were right with it: bool [m], fold after fold."""

    C: float
    right: NDArray[np.bool_]

    @property
    def numbers(self) -> dict[str, float]:
        """C, accuracy in percent, and the half-width of its 95 % interval (normal approximation)."""
        share = float(self.right.mean())
        return {
            "C": self.C,
            "accuracy_percent": 100 * share,
            "ci95": 196 * (share * (1 - share) / len(self.right)) ** 0.5,
        }


def part(train: PackedSet, *, fitted: int = FITTED, scored: int = SCORED) -> Part:
    """Draw a stratified part of a labelled set: `fitted` images and `scored` others."""
    assert train.labels is not None
    rest, held_out = evaluation.stratified_holdout(train.labels, scored, seed=0)
    _, chosen = evaluation.stratified_holdout(train.labels[rest], fitted, seed=1)
    rows = np.concatenate([rest[chosen], held_out])
    folds = ((np.arange(fitted), np.arange(fitted, len(rows))),)
    return Part(np.ascontiguousarray(train.images[rows]), train.labels[rows], folds)


def in_folds(train: PackedSet, grid: Sequence[float] = SVHN_GRID) -> Part:
    """Divide a small labelled set into five stratified folds, as the protocol of few labels does to choose C."""
    assert train.labels is not None
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(train.labels, train.labels)
    return Part(np.ascontiguousarray(train.images), train.labels, tuple(folds), tuple(grid))


def accuracy(network: gan.Discriminator, part: Part, *, device: torch.device) -> Found:
    """Measure a network. Batch norm is calibrated on the images that the first fold fits."""
    backbone = features.Backbone(network.eval(), network.arch.stage_names, network.arch.image_shape, (-1, 1))
    calibration = part.images[part.folds[0][0][: CALIBRATED * BATCH]]
    features.calibrate_batchnorm(backbone, calibration, batch_size=BATCH, device=device)
    X = features.extract(backbone, part.images, pool=features.max_grid(4), batch_size=BATCH, device=device)
    right = np.concatenate([_right(X, part, *fold, device) for fold in part.folds], axis=1)
    best = max(range(len(part.grid)), key=lambda i: (right[i].mean(), -part.grid[i]))
    return Found(part.grid[best], right[best])


def random_init(network: gan.Discriminator) -> gan.Discriminator:
    """Return a random initialisation of the network's architecture, always the same: the control."""
    fresh = gan.Discriminator(network.arch)
    gan.initialise(fresh, torch.Generator().manual_seed(0))
    return fresh


def _right(X: np.ndarray, part: Part, fitted: np.ndarray, scored: np.ndarray, device: torch.device) -> np.ndarray:
    """Return which of the scored rows are right, for each C: bool [len(grid), m]."""
    fits = evaluation.l2svm_path(X[fitted], part.labels[fitted], part.grid, tol=1e-2, device=device)
    return np.stack([svm.predict(X[scored]) == part.labels[scored] for svm in fits])

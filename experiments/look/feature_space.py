"""Features in which images are compared: the greatest value of every map of every stage of a discriminator."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import features
from experiments.measure.labelled import BATCH
from experiments.networks.contender import Contender
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from experiments.training.files import DISCRIMINATOR

CALIBRATION = 80 * BATCH  # images, at most, whose statistics the batch norm gets


def feature_network(file: Path, named: str | None, calibration: np.ndarray, run: Run) -> Contender | None:
    """The network `named` (as --backbone of eval), or the discriminator beside the generator's `file`, calibrated.

    None where there is no discriminator.
    """
    beside = file.with_name(DISCRIMINATOR)
    if named is None and not beside.exists():
        return None
    contender = resolve(named or str(beside))
    calibrate(contender.backbone, calibration, run)
    return contender


def calibrate(backbone: features.Backbone, images: np.ndarray, run: Run) -> None:
    """Give its batch norm the statistics of uint8 [N, H, W, C], N >= 2, in minibatches of 128, on the run's device."""
    backbone.model.to(run.device)
    images = images[:CALIBRATION]
    features.calibrate_batchnorm(backbone, images, batch_size=min(BATCH, len(images)))


def strongest_responses(backbone: features.Backbone, images: np.ndarray, run: Run) -> Tensor:
    """float32 [N, maps]: the greatest value of every map of its layers on images uint8 [N, H, W, C]."""
    return torch.from_numpy(features.extract(backbone, images, pool=features.max_grid(1), progress=run.progress))

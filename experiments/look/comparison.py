"""What samples are compared with and in: a network's training images, pixels, and the features of a discriminator."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import features
from experiments.data.load import load
from experiments.data.packed import PackedSet
from experiments.measure.labelled_images import BATCH
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.training.files import DISCRIMINATOR, REMOVED, SUMMARY
from experiments.training.images import as_tensor, split

CALIBRATION = 80 * BATCH  # images, at most, whose statistics the batch norm gets
Spaces = dict[str, Callable[[np.ndarray], Tensor]]  # name -> images uint8 [N, H, W, C] to points [N, ...]


class NotAtHandError(UserError):
    """The images that a network was trained on are not known, or cannot be had."""


@dataclass(frozen=True)
class TrainingImages:
    """The images that a network was trained on, and those that were held out."""

    packed: PackedSet
    rows: np.ndarray  # int64, sorted: the images trained on
    held_out: np.ndarray  # int64, sorted; empty where the set was only named

    def some(self, n: int, seed: int) -> np.ndarray:
        """At most `n` of the images trained on, uint8, drawn by `seed` in a random order: sets are often sorted."""
        return self.packed.images[np.random.default_rng(seed).permutation(self.rows)[:n]]

    def pixels(self) -> Tensor:
        """All images trained on, uint8 [len(rows), H, W, C]; the memory map itself where that is the whole set."""
        images = self.packed.images
        return as_tensor(images if len(self.rows) == len(images) else images[self.rows])


def training_images(file: Path, named: str | None, run: Run, shape: Sequence[int] | None = None) -> TrainingImages:
    """The set `named`, or where that is None the images that the training run of the network in `file` recorded.

    shape: (C, H, W) that the images must have. Raises NotAtHandError where no images are recorded or they cannot be
    had, and UserError for a set that cannot be loaded, images of another shape, and a damaged record.
    """
    if named is None:
        found = _recorded(file, run)
    else:
        packed = load(named, run)
        found = TrainingImages(packed, np.arange(len(packed.images)), np.empty(0, np.int64))
    has = list(found.packed.images.shape[1:])
    if shape is not None and has != (draws := [*shape[1:], shape[0]]):
        raise UserError(
            f"the images of {found.packed.name} are {has}, those of {file} {draws}; name the set that it was trained "
            "on with --data"
        )
    return found


def _recorded(file: Path, run: Run) -> TrainingImages:
    """The images that the run beside `file` trained on. Its record counts only if it is of exactly this file."""
    try:
        summary = json.loads(file.with_name(SUMMARY).read_text())
        if hashlib.sha256(file.read_bytes()).hexdigest() not in (summary["generator"], summary["discriminator"]):
            raise ValueError("the record is of another network")
        data, seed = summary["data"], int(summary["recipe"]["training"]["seed"])
        name, digest, kept, held_out = data["name"], data["digest"], int(data["kept"]), int(data.get("held_out", 0))
        removed = pd.read_csv(file.with_name(REMOVED), dtype={"index": np.int64})["index"].to_numpy()
    except (OSError, ValueError, KeyError, TypeError) as error:  # no record, or some other JSON of the user's
        raise NotAtHandError(
            f"which images {file} was trained on is not recorded beside it; name the set with --data"
        ) from error
    try:
        packed = load(str(name), run)
    except UserError as error:
        raise NotAtHandError(str(error)) from error
    if packed.digest != digest:
        raise NotAtHandError(f"{name} is not the set that {file} was trained on any more; name another with --data")
    n = len(packed.images)
    if ((removed < 0) | (removed >= n)).any() or held_out < 0 or kept != n - len(np.unique(removed)) - held_out:
        raise UserError(f"{SUMMARY} or {REMOVED} beside {file} is damaged; copy them anew, or name the set with --data")
    return TrainingImages(packed, *split(n, removed, held_out, seed))


def open_spaces(file: Path, named: str | None, calibration: np.ndarray, run: Run) -> tuple[Spaces, dict[str, str]]:
    """The spaces in which images are compared, and by their names the digests of the weights behind them.

    "pixels" is always there. "features" are those of the network `named` (as --backbone of eval), or of the
    discriminator beside the generator's `file`, calibrated. Without a discriminator there are none.
    """
    spaces: Spaces = {"pixels": torch.from_numpy}
    beside = file.with_name(DISCRIMINATOR)
    if named is None and not beside.exists():
        return spaces, {}
    contender = resolve(named or str(beside))
    calibrate(contender.backbone, calibration, run)
    spaces["features"] = partial(strongest_responses, contender.backbone, run=run)
    return spaces, {"features": contender.weights}


def calibrate(backbone: features.Backbone, images: np.ndarray, run: Run) -> None:
    """Give its batch norm the statistics of uint8 [N, H, W, C], N >= 2, in minibatches of 128, on the run's device."""
    backbone.model.to(run.device)
    features.calibrate_batchnorm(backbone, images[:CALIBRATION], batch_size=min(BATCH, len(images)))


def strongest_responses(backbone: features.Backbone, images: np.ndarray, run: Run) -> Tensor:
    """float32 [N, maps]: the greatest value of every map of its layers on images uint8 [N, H, W, C]."""
    return torch.from_numpy(features.extract(backbone, images, pool=features.max_grid(1), progress=run.progress))

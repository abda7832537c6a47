"""Compare samples with a network's training images, in two spaces: pixels, and a discriminator's features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import features
import gan
from experiments.data.load import load
from experiments.data.packed import PackedSet
from experiments.measure.labelled_images import BATCH
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.files import file_digest
from experiments.run.reading.documents import DamagedError, read_json
from experiments.run.reading.shapes import build
from experiments.training.files import DISCRIMINATOR, REMOVED, SUMMARY
from experiments.training.images import as_tensor, split
from results.lines import whole

CALIBRATION = 80 * BATCH  # greatest number of images from which batch norm takes its statistics
Spaces = dict[str, Callable[[np.ndarray], Tensor]]  # name -> images uint8 [N, H, W, C] to points [N, ...]


class NotAtHandError(UserError):
    """The images that a network was trained on are not known or cannot be loaded."""


@dataclass(frozen=True)
class TrainingImages:
    """The images that a network was trained on, and those that were held out."""

    packed: PackedSet
    images: np.ndarray  # uint8 [N, H, W, C], the whole set at the network's size; its memory map if it has that size
    rows: np.ndarray  # int64, sorted: indices of the images trained on
    held_out: np.ndarray  # int64, sorted; empty if the set was only named

    def some(self, n: int, seed: int) -> np.ndarray:
        """Return at most `n` of the images trained on, uint8, in a random order, since sets are often sorted."""
        return self.images[np.random.default_rng(seed).permutation(self.rows)[:n]]

    def pixels(self) -> Tensor:
        """Return all images trained on, uint8 [len(rows), H, W, C]: the memory map itself if they are the whole set."""
        return as_tensor(self.images if len(self.rows) == len(self.images) else self.images[self.rows])


def training_images(file: Path, named: str | None, run: Run, shape: Sequence[int] | None = None) -> TrainingImages:
    """Return the set `named`. If it is None, return the images that the training run of the network in `file` recorded.

    shape: (C, H, W) of the network's images; larger squares are returned at its size (`gan.full_view`). None: of any
    shape, as they are. Raises NotAtHandError if no images are recorded or they cannot be loaded. Raises UserError if
    the named set cannot be loaded, its images do not fit the shape, or the record is damaged.
    """
    if named is None:
        packed, rows, held_out = _recorded(file, run)
    else:
        packed = load(named, run)
        rows, held_out = np.arange(len(packed.images)), np.empty(0, np.int64)
    if shape is None:
        return TrainingImages(packed, packed.images, rows, held_out)
    channels, side, _ = shape
    height, width, has = packed.images.shape[1:]
    if has != channels or height != width or height < side:
        raise UserError(
            f"the images of {packed.name} are {[height, width, has]}, but {file} has {[side, side, channels]}; name "
            "the set that it was trained on with --data"
        )
    return TrainingImages(packed, gan.full_view(as_tensor(packed.images), side).numpy(), rows, held_out)


@dataclass(frozen=True)
class _Seeded:
    seed: Annotated[int, whole(0)]


@dataclass(frozen=True)
class _Recipe:
    training: _Seeded


@dataclass(frozen=True)
class _Data:
    name: str
    digest: str
    kept: int
    held_out: int = 0


@dataclass(frozen=True)
class _Summary:
    """What training.json says of the images that a network was trained on."""

    generator: str
    discriminator: str
    recipe: _Recipe
    data: _Data
    removed: str | None = None  # digest of removed.csv; earlier versions wrote none


def _recorded(file: Path, run: Run) -> tuple[PackedSet, np.ndarray, np.ndarray]:
    """Return the set in the record next to `file`, and its rows trained on and held out, as `TrainingImages` has them.

    The record counts only if it is that of exactly this file.
    """
    again = "copy it again, or name the set with --data"
    try:
        found = build(_Summary, read_json(file.with_name(SUMMARY), Any, fix=again), SUMMARY, closed=False)
        if file_digest(file, "sha256") not in (found.generator, found.discriminator):
            raise ValueError("the record is of another network")
        listed = file.with_name(REMOVED)
        removed = pd.read_csv(listed, dtype={"index": np.int64})["index"].to_numpy()
    except DamagedError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:  # no record, or some other JSON of the user's
        raise NotAtHandError(
            f"no record next to {file} says which images it was trained on; name the set with --data"
        ) from error
    data = found.data
    damaged = f"{SUMMARY} or {REMOVED} next to {file} is damaged; copy both again, or name the set by --data"
    if found.removed not in (None, file_digest(listed, "sha256")):
        raise UserError(damaged)
    try:
        packed = load(data.name, run)
    except UserError as error:
        raise NotAtHandError(str(error)) from error
    if packed.digest != data.digest:
        raise NotAtHandError(f"{data.name} has changed since {file} was trained on it; name another set with --data")
    n = len(packed.images)
    if (
        ((removed < 0) | (removed >= n)).any()
        or data.held_out < 0
        or data.kept != n - len(np.unique(removed)) - data.held_out
    ):
        raise UserError(damaged)
    return packed, *split(n, removed, data.held_out, found.recipe.training.seed)


def open_spaces(file: Path, named: str | None, calibration: np.ndarray, run: Run) -> tuple[Spaces, dict[str, str]]:
    """Return the spaces in which images are compared, and name of a space -> digest of its network's weights.

    "pixels" is always there and has no network. "features" are those of the network `named` (as for eval), or else of
    the discriminator next to the generator's `file`. The network is calibrated. Without one, this space is missing.
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
    """Calibrate batch norm on `images`, uint8 [N, H, W, C], N >= 2, in minibatches of 128, on the run's device."""
    backbone.model.to(run.device)
    features.calibrate_batchnorm(backbone, images[:CALIBRATION], batch_size=min(BATCH, len(images)))


def strongest_responses(backbone: features.Backbone, images: np.ndarray, run: Run) -> Tensor:
    """Return the greatest value of every map of every layer on images uint8 [N, H, W, C]: float32 [N, maps]."""
    return torch.from_numpy(features.extract(backbone, images, pool=features.max_grid(1), progress=run.progress))

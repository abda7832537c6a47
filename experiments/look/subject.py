"""The generator that a look examines, its numbered z, and what looks compute: distances, means, indices."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import evaluation
import features
import gan
from experiments.run.context import Run
from experiments.run.errors import UserError

NUMBERED = 1_024  # z of a seed that have a number; a contact sheet shows the first of them
ORDINARY = 256  # samples whose mean distance and sharpness are the units for others


@dataclass(frozen=True)
class Subject:
    """A generator to look at, and its z: the numbered ones of the seed, and a source of others."""

    file: Path
    trained: gan.Generator  # as in the file
    frozen: gan.Generator  # with frozen batch norm: an image depends only on its own z
    weights: str  # SHA-256 of the file's state dict
    seed: int
    z: Tensor  # float32 [NUMBERED, nz]
    noise: torch.Generator  # for more z, and for noise

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of its images."""
        return self.trained.arch.image_shape

    def numbered(self, indices: Iterable[int]) -> Tensor:
        """Return the z with these numbers, float32 [n, nz]. Raises UserError if a number has no z."""
        chosen = list(indices)
        if beyond := [i for i in chosen if not 0 <= i < NUMBERED]:
            raise UserError(f"index {beyond[0]} is not on the sheet; name indices from 0 to {NUMBERED - 1}")
        return self.z[chosen]

    def more_z(self, n: int) -> Tensor:
        """Draw `n` z that have no number, float32 [n, nz]."""
        return gan.sample_z(self.trained.arch, n, self.noise)

    def draw(self, z: Tensor) -> np.ndarray:
        """Draw images uint8 [N, H, W, C] from z float32 [N, nz]."""
        return gan.draw(self.frozen, z).numpy()

    def ordinary(self) -> np.ndarray:
        """Draw the samples with which others are compared, uint8 [ORDINARY, H, W, C]: the last numbered ones."""
        return self.draw(self.z[-ORDINARY:])


def open_subject(file: Path, seed: int, run: Run) -> Subject:
    """Load the generator in `file`, and draw the z of `seed`.

    Raises UserError if the file holds no generator or a class-conditional one, or if the seed is negative.
    """
    if seed < 0:
        raise UserError(f"--seed must be at least 0, got {seed}")
    try:
        network = gan.load(file)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{error}; name the generator.safetensors of a training run") from error
    if not isinstance(network, gan.Generator):
        kind = "a class-conditional network" if isinstance(network, gan.ConditionalGenerator) else "a discriminator"
        raise UserError(f"{file} holds {kind}; name the generator.safetensors of an unconditional training run")
    weights = features.weights_digest(network)
    network = network.to(run.device)
    noise = torch.Generator().manual_seed(seed)
    z = gan.sample_z(network.arch, NUMBERED, noise)
    return Subject(file, network, gan.freeze(network), weights, seed, z, noise)


def network_name(named: Path | str) -> str:
    """Return a network's name for folders and tables.

    A file with a name that runs give is named after its run's folder, another file after itself. A backbone that is not
    a file keeps its name, but with "_" for "/" and "-" for ":".
    """
    file = Path(named)
    if not file.is_file():
        return str(named).replace("/", "_").replace(":", "-")
    return file.resolve().parent.name if file.stem in ("generator", "discriminator") else file.stem


def mean_distance(samples: Tensor) -> float:
    """Return the mean distance between two samples, the unit of other distances; NaN if all are equal."""
    return evaluation.mean_distance(samples) or math.nan


def step_lengths(rows: Tensor) -> Tensor:
    """Return the distances between neighbours in each of the rows [rows, steps, ...]: float64 [rows, steps - 1]."""
    return rows.flatten(2).double().diff(dim=1).norm(dim=2)


def mean_and_sd(values: pd.Series) -> dict[str, float]:
    """Return the mean and standard deviation (0 for one value) of the values that are not NaN."""
    return {"mean": float(values.mean()), "sd": float(values.std()) if len(values) > 1 else 0.0}


def parse_indices(text: str, option: str, *, least: int) -> list[int]:
    """Read the numbers of `3,14,15`. Raises UserError unless they are at least `least` different numbers."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"{option} takes indices on the sheet, e.g. 3,14,15, got {text!r}") from error
    return check_different(found, option, least=least)


def check_different(found: list[int], where: str, *, least: int) -> list[int]:
    """Return the same indices. Raises UserError unless there are at least `least` of them, and all are different."""
    if len(set(found)) < max(least, len(found)):
        raise UserError(f"{where} needs at least {least} different samples, got {found}; choose others")
    return found

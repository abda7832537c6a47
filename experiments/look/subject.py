"""The generator that a look is at, its numbered z, and what is told of samples: distances, means, indices."""

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
ORDINARY = 256  # samples whose mean distance and sharpness are the units of others


@dataclass(frozen=True)
class Subject:
    """A generator to look at, and its z: the numbered ones of the seed, and a source of others."""

    file: Path
    trained: gan.Generator  # as in the file
    frozen: gan.Generator  # each of its images depends on its own z only
    weights: str  # SHA-256 of the file's state dict
    seed: int
    z: Tensor  # float32 [NUMBERED, nz]
    noise: torch.Generator  # for more z, and for noise

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of its images."""
        return self.trained.arch.image_shape

    def numbered(self, indices: Iterable[int]) -> Tensor:
        """The z with these numbers, float32 [n, nz]. Raises UserError for a number that no z has."""
        chosen = list(indices)
        if beyond := [i for i in chosen if not 0 <= i < NUMBERED]:
            raise UserError(f"index {beyond[0]} is not on the sheet; name indices from 0 to {NUMBERED - 1}")
        return self.z[chosen]

    def more_z(self, n: int) -> Tensor:
        """`n` z that have no number, float32 [n, nz]."""
        return gan.sample_z(self.trained.arch, n, self.noise)

    def draw(self, z: Tensor) -> np.ndarray:
        """Images uint8 [N, H, W, C] of z float32 [N, nz]."""
        return gan.draw(self.frozen, z).numpy()

    def ordinary(self) -> np.ndarray:
        """The samples by which others are measured, uint8 [ORDINARY, H, W, C]: the last numbered ones."""
        return self.draw(self.z[-ORDINARY:])


def open_subject(file: Path, seed: int, run: Run) -> Subject:
    """The generator in `file`, and the z of `seed`.

    Raises UserError for a file that holds no generator, for a class-conditional one, and for a negative seed.
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
    """How folders and tables call a network: by its run where the file is called as runs call it, or by its file.

    The name of a backbone that is no file is spelt as a file name.
    """
    file = Path(named)
    if not file.is_file():
        return str(named).replace("/", "_").replace(":", "-")
    return file.resolve().parent.name if file.stem in ("generator", "discriminator") else file.stem


def mean_distance(samples: Tensor) -> float:
    """The mean distance between two samples, the measure of other distances; NaN where all are equal."""
    return evaluation.mean_distance(samples) or math.nan


def step_lengths(rows: Tensor) -> Tensor:
    """float64 [rows, steps - 1]: the distances between neighbours in each of the rows [rows, steps, ...]."""
    return rows.flatten(2).double().diff(dim=1).norm(dim=2)


def mean_and_sd(values: pd.Series) -> dict[str, float]:
    """Mean and standard deviation (0 of one value) of those that are not NaN."""
    return {"mean": float(values.mean()), "sd": float(values.std()) if len(values) > 1 else 0.0}


def parse_indices(text: str, option: str, *, least: int) -> list[int]:
    """The numbers of `3,14,15`. Raises UserError for a text that is no list of at least `least` different ones."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"{option} takes indices on the sheet, e.g. 3,14,15, got {text!r}") from error
    return check_different(found, option, least=least)


def check_different(found: list[int], where: str, *, least: int) -> list[int]:
    """The same indices. Raises UserError unless there are at least `least` of them, and all are different."""
    if len(set(found)) < max(least, len(found)):
        raise UserError(f"{where} needs at least {least} different samples, got {found}; choose others")
    return found

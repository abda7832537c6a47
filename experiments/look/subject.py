"""What the looks at a network share: the generator and its numbered z, its training images, what is written."""

import argparse
import csv
import hashlib
import io
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import evaluation
import features
import gan
import results
from experiments.data import load as datasets
from experiments.measure.labelled import BATCH
from experiments.networks.resolve import resolve
from experiments.run import console
from experiments.run.circumstances import circumstances
from experiments.run.context import Run, device_of, named_roots
from experiments.run.errors import UserError
from experiments.run.files import check_writable, write_bytes
from experiments.training.files import DISCRIMINATOR, GENERATOR, REMOVED, SUMMARY
from experiments.training.images import split

SHEET = 1_024  # z of a seed that have a number; a contact sheet shows the first of them
CALIBRATION = 80 * BATCH  # images whose statistics the discriminator's batch norm gets, at most
RECORD = "record.json"
UNIT = 127.5  # uint8 steps in 1 of [-1, 1]


@dataclass(frozen=True)
class Subject:
    """A generator to look at, and its z: the numbered ones of the seed, and a source of others."""

    file: Path
    trained: gan.Generator  # as in the file
    frozen: gan.Generator  # an image of it depends on its own z alone
    weights: str  # SHA-256 of the file's state dict
    seed: int
    z: Tensor  # float32 [SHEET, nz]
    noise: torch.Generator  # for z and noise beyond

    @property
    def name(self) -> str:
        """The run's, or the file's own."""
        return name_of(self.file)

    def numbered(self, indices: Sequence[int]) -> Tensor:
        """Those z. UserError for an index that no sheet shows."""
        if beyond := [i for i in indices if not 0 <= i < len(self.z)]:
            raise UserError(f"index {beyond[0]} is not on the sheet; name indices from 0 to {len(self.z) - 1}")
        return self.z[list(indices)]

    def draw(self, z: Tensor) -> np.ndarray:
        """uint8 [N, H, W, C]."""
        return gan.draw(self.frozen, z).numpy()


@dataclass(frozen=True)
class Training:
    """The images that a network was trained on, and those kept from it."""

    name: str
    digest: str
    images: np.ndarray  # uint8 [N, H, W, C], a memory map of the whole set
    rows: np.ndarray  # int64, sorted
    held_out: np.ndarray  # int64, sorted; none where the set was only named

    def some(self, n: int, seed: int) -> np.ndarray:
        """At most `n` of them, uint8, drawn by `seed` and in no order: sets are often sorted by class."""
        return self.images[np.random.default_rng(seed).permutation(self.rows)[:n]]

    def pixels(self) -> Tensor:
        """uint8 [len(rows), H, W, C]; the map itself where every image is meant."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nothing writes to it
            return torch.from_numpy(self.images if len(self.rows) == len(self.images) else self.images[self.rows])


def name_of(file: Path) -> str:
    """The run's folder where the file has its usual name there, else the file's."""
    return file.resolve().parent.name if file.stem in ("generator", "discriminator") else file.stem


def opened(arguments: argparse.Namespace, seed: int | None = None) -> Subject:
    """The generator that the arguments name. UserError for a file that holds none, or a class-conditional one."""
    file, seed = Path(arguments.generator), arguments.seed if seed is None else seed
    if seed < 0:
        raise UserError(f"--seed must be at least 0, got {seed}")
    if file.is_dir():
        file = file / GENERATOR
    try:
        network = gan.load(file)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{error}; name the generator.safetensors of a training run") from error
    if not isinstance(network, gan.Generator):
        kind = "a class-conditional network" if isinstance(network, gan.ConditionalGenerator) else "a discriminator"
        raise UserError(f"{file} holds {kind}; name the generator.safetensors of an unconditional training run")
    weights = features.weights_digest(network)
    network = network.to(device_of(arguments.device))
    noise = torch.Generator().manual_seed(seed)
    z = gan.sample_z(network.arch, SHEET, noise)
    return Subject(file, network, gan.freeze(network), weights, seed, z, noise)


def folder(arguments: argparse.Namespace, kind: str, name: str) -> Path:
    """The run's folder, made and found writable."""
    out = arguments.out or arguments.runs_root / "look" / f"{kind}-{name}"
    check_writable(out)
    return out


def clear(out: Path) -> None:
    """Called where writing begins: no earlier record is taken for this run's, nor pictures of its training images."""
    for file in (out / RECORD, *out.glob("nearest*.png")):
        file.unlink(missing_ok=True)


def training(
    arguments: argparse.Namespace, file: Path, shape: tuple[int, int, int] | None, *, needed: bool
) -> Training | None:
    """The images named by --data, else those that the run of the network in `file` recorded, where it lies in one.

    `shape`: (C, H, W) that they must have, or None. Where there are none: None, or UserError where they are `needed`.
    """
    found = _named(arguments) if arguments.data else _recorded(arguments, file, needed)
    if found is None:
        if needed:
            raise UserError(f"which images {file} was trained on is not recorded beside it; name the set with --data")
        return None
    if shape is None:
        return found
    channels, height, width = shape
    if found.images.shape[1:] != (height, width, channels):
        raise UserError(
            f"the images of {found.name} are {list(found.images.shape[1:])}, those of {file} "
            f"{[height, width, channels]}; name the set that it was trained on with --data"
        )
    return found


def _load(arguments: argparse.Namespace, name: str) -> datasets.PackedSet:
    return datasets.load(name, Run(arguments.data_root, arguments.runs_root, progress=console.progress))


def _named(arguments: argparse.Namespace) -> Training:
    packed = _load(arguments, arguments.data)
    nobody = np.empty(0, np.int64)
    return Training(packed.name, packed.digest, packed.images, np.arange(len(packed.images)), nobody)


def _recorded(arguments: argparse.Namespace, file: Path, needed: bool) -> Training | None:
    """Of what training wrote of exactly this file; its own rows of the set."""
    try:
        written = json.loads(file.with_name(SUMMARY).read_text())
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        if sha256 not in (written["generator"], written["discriminator"]):
            return None
        data, recipe = written["data"], written["recipe"]
        name, digest, kept, seed = str(data["name"]), data["digest"], int(data["kept"]), int(recipe["training"]["seed"])
        held_out = int(data.get("held_out", 0))
        with open(file.with_name(REMOVED), newline="") as listed:
            dropped = np.array([int(row["index"]) for row in csv.DictReader(listed)], np.int64)
    except (OSError, ValueError, KeyError, TypeError):  # none there, or some other JSON of the user's
        return None
    try:
        packed = _load(arguments, name)
        if packed.digest != digest:
            raise UserError(f"{name} is not the set that {file} was trained on any more; name another with --data")
    except UserError as error:
        if needed:
            raise
        console.say(f"without distances to training images: {error}")
        return None
    known = dropped[(dropped >= 0) & (dropped < len(packed.images))]
    if len(known) < len(dropped) or held_out < 0 or kept != len(packed.images) - len(np.unique(known)) - held_out:
        raise UserError(f"{SUMMARY} or {REMOVED} beside {file} is damaged; copy them anew, or name the set with --data")
    rows, kept_out = split(len(packed.images), dropped, held_out, seed)
    return Training(packed.name, packed.digest, packed.images, rows, kept_out)


@dataclass(frozen=True)
class Space:
    """Features in which images are compared, and whose they are."""

    weights: str  # digest of the network
    of: Callable[[np.ndarray, np.ndarray], Tensor]  # images uint8 [N, H, W, C], rows of them -> float32 [n, D]


def feature_space(arguments: argparse.Namespace, file: Path, calibration: np.ndarray) -> Space | None:
    """The greatest value of every map of every stage.

    Of --discriminator, else the discriminator beside the generator's `file`; None where there is none. Batch norm holds
    the statistics of the `calibration` images.
    """
    beside = file.with_name(DISCRIMINATOR)
    if arguments.discriminator is None and not beside.exists():
        return None
    contender = resolve(arguments.discriminator or str(beside))
    backbone = contender.backbone
    backbone.model.to(device_of(arguments.device))
    calibrate(backbone, calibration)

    def of(images: np.ndarray, rows: np.ndarray) -> Tensor:
        starts = range(0, len(rows), BATCH)
        shown = console.progress(starts, total=len(starts), desc="features", unit="batch")
        parts = (images[rows[start : start + BATCH]] for start in shown)
        return torch.from_numpy(features.extract(backbone, parts, pool=features.max_grid(1), batch_size=BATCH))

    return Space(contender.weights, of)


def calibrate(backbone: features.Backbone, images: np.ndarray) -> None:
    """Batch norm of uint8 [N, H, W, C], N >= 2, in minibatches of 128 or of them all."""
    features.calibrate_batchnorm(backbone, images, batch_size=min(BATCH, len(images)))


def apart(samples: Tensor) -> float:
    """The mean distance between two of them, the measure of other distances; nan where they are all equal."""
    return evaluation.mean_distance(samples) or math.nan


def spread(values: Sequence[float] | np.ndarray) -> dict[str, float | int]:
    """Mean, standard deviation (0 of one value) and number."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "sd": sd, "n": len(values)}


def indices(text: str, option: str, *, least: int) -> list[int]:
    """`3,14,15` -> those. UserError for what is no list of at least so many different indices."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"{option} takes indices on the sheet, e.g. 3,14,15, got {text!r}") from error
    return checked(found, option, least=least)


def checked(found: Sequence[int], where: str, *, least: int) -> list[int]:
    """The same, if they are so many different ones; UserError otherwise."""
    if len(set(found)) < max(least, len(found)):
        raise UserError(f"{where} needs at least {least} different samples, got {list(found)}; choose others")
    return list(found)


def write_csv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a row, of the columns of the first; numbers with 6 digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    write_bytes(file, text.getvalue().encode())


def write_record(
    out: Path,
    arguments: argparse.Namespace,
    *,
    seed: int,
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
    figures: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> None:
    """`record.json`: the figures, and where they come from. `inputs`: digests of weights and data."""
    written = {
        "command": results.portable(list(arguments.command), named_roots(arguments)),
        "seed": seed,
        "inputs": dict(inputs),
        "settings": dict(settings),
        "figures": _finite(dict(figures)),
        "written": results.utc_now(),
        **circumstances(arguments.device, seconds),
    }
    write_bytes(out / RECORD, (json.dumps(written, indent=2, allow_nan=False) + "\n").encode())
    console.say(f"written to {out}")


def _finite(value: Any) -> Any:
    """Nested JSON values, None for what is no number."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

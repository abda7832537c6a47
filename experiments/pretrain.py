"""A recipe, run: photographs -> de-duplication pass -> training -> networks, with checkpoints to resume from."""

import csv
import dataclasses
import fcntl
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import gan
import results
from experiments import datasets
from experiments.atomic import write_bytes
from experiments.deduplicate import removed
from experiments.errors import UserError
from experiments.spec import Recipe

STATE, DATA, REMOVED = "state.safetensors", "data.json", "removed.csv"
CURVE, SUMMARY = "losses.csv", "training.json"


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """The images a network is trained on, after the de-duplication pass."""

    images: np.ndarray  # uint8 [N, H, W, C]
    removed: np.ndarray  # int64 [M, 2]: (index of the image kept instead, index of the one removed), of the whole set
    summary: dict[str, Any]  # name, digest, the pass, images before and after it


def training_set(
    recipe: Recipe, *, data_root: Path, runs_root: Path, progress: datasets.Progress | None = None
) -> TrainingSet:
    """Loads the recipe's data set and removes near-duplicates as its `[dedup]` says."""
    packed = datasets.load(recipe.dataset, data_root=data_root, runs_root=runs_root, progress=progress)
    pairs = removed(packed.images, recipe.dedup, progress)
    keep = np.ones(len(packed.images), bool)
    keep[pairs[:, 1]] = False
    summary = {
        "name": packed.name,
        "digest": packed.digest,
        "dedup": None if recipe.dedup is None else dataclasses.asdict(recipe.dedup),
        "images": len(keep),
        "kept": int(keep.sum()),
    }
    return TrainingSet(packed.images[keep], pairs, summary)


def pretrain(
    recipe: Recipe,
    out: Path,
    *,
    data_root: Path,
    runs_root: Path,
    device: torch.device | str,
    say: Callable[[str], None],
    progress: datasets.Progress | None = None,
    checkpoint_images: int = 25_600,
) -> Path:
    """Trains `recipe` into the folder `out`, going on from its last checkpoint, and returns the discriminator's file.

    Writes `data.json` and `removed.csv` (which image is kept instead of which) before the first step, `samples.png`
    and `losses.csv` at every checkpoint, and at the end `discriminator.safetensors`, `generator.safetensors` and
    `training.json`; a finished run stays as it is.
    A checkpoint falls every `checkpoint_images` images. Raises UserError for a folder that holds another run or in
    which another process trains, and FloatingPointError, the last good checkpoint kept, when a loss or a weight is no
    longer finite.
    """
    config, arch = recipe.training, recipe.architecture
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
    with _alone(out):
        state = _state(out / STATE, arch, config, device, say)
        data = training_set(recipe, data_root=data_root, runs_root=runs_root, progress=progress)
        say(f"{data.summary['name']}: {data.summary['kept']} images, {len(data.removed)} near-duplicates removed")
        _claim(out, data)
        discriminator = out / "discriminator.safetensors"
        if state.step == config.steps and discriminator.exists() and (out / SUMMARY).exists():
            say(f"trained before; delete {out} to train again, or choose another folder with --out")
            return discriminator

        images = torch.from_numpy(data.images).to(device)
        steps = gan.train(state, images, config)
        if progress is not None:
            left = config.steps - state.step
            steps = iter(progress(steps, total=left, desc=f"train {recipe.name}", unit="step"))
        seconds = _with_checkpoints(steps, state, config, out, checkpoint_images)
        gan.save(discriminator, state.discriminator)
        gan.save(out / "generator.safetensors", state.generator)
        summary = {
            "recipe": dataclasses.asdict(recipe),
            "data": data.summary,
            "discriminator": hashlib.sha256(discriminator.read_bytes()).hexdigest(),
            "images_seen": state.step * config.batch_size,
            "seconds": round(seconds, 1),
            "versions": results.versions(),
            "hardware": results.hardware(str(device)),
        }
        write_bytes(out / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
    return discriminator


def _with_checkpoints(
    steps: Iterator[gan.Step], state: gan.TrainingState, config: gan.TrainingConfig, out: Path, checkpoint_images: int
) -> float:
    """Exhausts `steps`, writing curve, state and samples at every checkpoint; the seconds that the run has taken."""
    # the same z after every checkpoint; its own generator leaves the training noise alone
    shown_z = gan.sample_z(state.generator.arch, 64, torch.Generator().manual_seed(config.seed))
    shown_z = shown_z.to(next(state.generator.parameters()).device)
    every = max(2, checkpoint_images // config.batch_size)
    rows, pending = _curve(out / CURVE, state.step), []
    before = rows[-1]["seconds"] if rows else 0.0
    started = time.monotonic()
    for step in steps:
        pending.append(step)
        if step.step % every and step.step != config.steps:
            continue
        if not (all(math.isfinite(float(s.loss)) for s in pending) and _finite(state)):
            raise FloatingPointError(
                f"a loss or a weight is not finite at step {step.step}; the checkpoint before it is kept in {out}"
            )
        rows.append(_row(pending, before + time.monotonic() - started))
        pending = []
        _write_curve(out / CURVE, rows)  # before the state: after a kill between the two, `_curve` drops the extra row
        gan.save_state(out / STATE, state, config)
        write_bytes(out / "samples.png", _grid(gan.sample(state.generator, shown_z).cpu().numpy()))
    return rows[-1]["seconds"] if rows else 0.0


def _finite(state: gan.TrainingState) -> bool:
    networks = (state.generator, state.discriminator)
    return all(bool(torch.isfinite(weight).all()) for network in networks for weight in network.parameters())


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Holds the folder `out` for this process, until it ends in whatever way; UserError where another has it."""
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process trains in {out}; choose another folder with --out") from error
        yield
    finally:
        os.close(folder)


def _state(file: Path, arch: gan.Architecture, config: gan.TrainingConfig, device, say) -> gan.TrainingState:
    if not file.exists():
        return gan.new_state(arch, config, device)
    try:
        state = gan.load_state(file, arch, config, device)
    except ValueError as error:
        raise UserError(f"{error}; delete {file} to start over, or choose another folder with --out") from error
    say(f"going on from step {state.step} of {config.steps} ({file})")
    return state


def _claim(out: Path, data: TrainingSet) -> None:
    """Notes the images of the run in `out`; UserError where a run on others has a checkpoint there."""
    if (out / STATE).exists() and (out / DATA).exists():
        theirs = json.loads((out / DATA).read_text())
        if theirs != data.summary:
            raise UserError(
                f"{out} holds a run on {theirs}, this one's are {data.summary}; choose another folder with --out"
            )
    rows = "".join(f"{index},{kept}\n" for kept, index in data.removed.tolist())
    write_bytes(out / REMOVED, f"index,kept\n{rows}".encode())
    write_bytes(out / DATA, (json.dumps(data.summary, indent=2) + "\n").encode())


def _row(steps: list[gan.Step], seconds: float) -> dict[str, float]:
    """Mean losses of both networks over a stretch of steps; nan for one that had no step."""
    row = {
        "step": steps[-1].step,
        "images_seen": steps[-1].images_seen,
        "lr": steps[-1].lr,
        "seconds": seconds,
    }
    for network in ("generator", "discriminator"):
        losses = [float(s.loss) for s in steps if s.network == network]
        row[f"loss_{network}"] = sum(losses) / len(losses) if losses else math.nan
    return row


def _curve(file: Path, step: int) -> list[dict[str, float]]:
    """Rows written up to `step`: after a kill the curve may be one checkpoint ahead of the state."""
    if not file.exists():
        return []
    with open(file, newline="") as opened:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(opened)]
    return [row for row in rows if row["step"] <= step]


def _write_curve(file: Path, rows: list[dict[str, float]]) -> None:
    lines = [",".join(rows[0])] + [
        ",".join(f"{v:.0f}" if k in ("step", "images_seen") else f"{v:.6g}" for k, v in row.items()) for row in rows
    ]
    write_bytes(file, ("\n".join(lines) + "\n").encode())


def _grid(images: np.ndarray) -> bytes:
    """PNG of images uint8 [n * n, H, W, C] as an n x n grid."""
    n = math.isqrt(len(images))
    _, h, w, c = images.shape
    grid = images[: n * n].reshape(n, n, h, w, c).swapaxes(1, 2).reshape(n * h, n * w, c)
    buffer = io.BytesIO()
    Image.fromarray(grid.squeeze()).save(buffer, "PNG")
    return buffer.getvalue()

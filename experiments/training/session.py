"""A recipe, run: photographs -> de-duplication pass -> training -> networks, with checkpoints to resume from."""

import dataclasses
import fcntl
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gan
import results
from experiments.data import load as datasets
from experiments.deduplication.methods import find_removed
from experiments.run.context import ROOT, Run
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from experiments.run.progress import silent
from experiments.run.torchrun import from_first
from experiments.training import loop
from experiments.training.loop import STATE
from experiments.training.losses import Curve
from experiments.training.monitor import Watch
from experiments.training.recipe import Recipe
from gan import parallel

DATA, REMOVED, CURVE, SUMMARY = "data.json", "removed.csv", "losses.csv", "training.json"
DISCRIMINATOR, GENERATOR = "discriminator.safetensors", "generator.safetensors"
KEPT = (SUMMARY, "epochs.csv", "losses.png", "samples.png", "samples.webp")  # of a recorded run: no training image
Progress = Callable[..., Iterable[Any]]  # console.progress


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """The images a network is trained on, after the de-duplication pass, and those kept from it."""

    images: np.ndarray  # uint8 [N, H, W, C], the whole packed set, a memory map
    labels: np.ndarray | None  # int64 [N] of a labelled set
    rows: np.ndarray  # int64 [M], sorted: the images trained on
    held_out: np.ndarray  # int64 [recipe.held_out], sorted: images kept from training, drawn by the recipe's seed
    removed: np.ndarray  # int64 [M, 2]: (index of the image kept instead, index of the one removed), of the whole set
    summary: dict[str, Any]  # name, digest, the pass, images before it, those trained on, those held out


def training_set(
    recipe: Recipe, *, data_root: Path, runs_root: Path, progress: datasets.Progress | None = None
) -> TrainingSet:
    """Loads the recipe's data set, removes near-duplicates as its `[dedup]` says and holds out `held_out` images.

    UserError where too few stay for a minibatch.
    """
    packed = datasets.load(recipe.dataset, Run(data_root, runs_root, progress=progress or silent))
    pairs = find_removed(packed.images, recipe.dedup, progress or silent)
    left = len(packed.images) - len(np.unique(pairs[:, 1])) - recipe.held_out
    if left < recipe.training.batch_size:
        raise UserError(
            f"{recipe.dataset} leaves {left} images to train on, fewer than a minibatch of "
            f"{recipe.training.batch_size}; lower held_out or batch_size"
        )
    rows, held_out = split(len(packed.images), pairs[:, 1], recipe.held_out, recipe.training.seed)
    summary = {
        "name": packed.name,
        "digest": packed.digest,
        "dedup": None if recipe.dedup is None else dataclasses.asdict(recipe.dedup),
        "images": len(packed.images),
        "kept": left,
    }
    if recipe.held_out:
        summary["held_out"] = recipe.held_out
    return TrainingSet(packed.images, packed.labels, rows, held_out, pairs, summary)


def split(images: int, dropped: np.ndarray, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of so many images without the `dropped` ones: those trained on, and those held out, drawn by `seed`; sorted."""
    keep = np.ones(images, bool)
    keep[dropped] = False
    drawn = np.sort(np.random.default_rng(seed).choice(np.flatnonzero(keep), held_out, replace=False))
    keep[drawn] = False
    return np.flatnonzero(keep), drawn


def pretrain(
    recipe: Recipe,
    out: Path,
    *,
    data_root: Path,
    runs_root: Path,
    device: torch.device | str,
    say: Callable[[str], None],
    progress: Progress | None = None,
    checkpoint_images: int = 25_600,
    command: Sequence[str] = (),
    roots: dict[str, Path] | None = None,
) -> Path:
    """Trains `recipe` into the folder `out`, going on from its last checkpoint, and returns the discriminator's file.

    Writes `data.json` and `removed.csv` (which image is kept instead of which) before the first step, `losses.csv` and
    what `watch.Watch` shows while it trains, and at the end `discriminator.safetensors`, `generator.safetensors` and
    `training.json` with the `command`, where names stand for the folders of `roots`; a finished run stays as it is.
    Checkpoints fall as `loop.run` says.
    Of several processes the first does all that, the others assist it.
    Raises UserError for a folder that holds another run or in which another process trains, and FloatingPointError,
    the last good checkpoint kept, when a loss or a weight is no longer finite.
    """
    config, roots = recipe.training, roots or {}
    if config.batch_size % parallel.processes():
        raise UserError(f"batch_size {config.batch_size} must divide by the {parallel.processes()} processes")
    if parallel.rank() > 0:
        return _assist(recipe, out, data_root=data_root, runs_root=runs_root, device=device)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
    with _alone(out):
        state = _state(out / STATE, recipe, device, say)
        data = training_set(recipe, data_root=data_root, runs_root=runs_root, progress=progress)
        say(f"{data.summary['name']}: {data.summary['kept']} images, {len(data.removed)} near-duplicates removed")
        _claim(out, data)
        from_first(torch.from_numpy(data.rows), device)
        discriminator, generator = out / DISCRIMINATOR, out / GENERATOR
        if state.step == config.steps and discriminator.exists() and (out / SUMMARY).exists():
            say(f"trained before; delete {out} to train again, or choose another folder with --out")
            return discriminator

        for left in (out / SUMMARY, discriminator, generator):  # of an earlier run: not to be taken for this one's
            left.unlink(missing_ok=True)
        given = _given(recipe, data.images, data.labels, torch.from_numpy(data.rows), torch.device(device))
        held_out = torch.from_numpy(data.held_out)
        curve = Curve(out / CURVE, state.step)
        watch = Watch(out, state, config, curve, images=given["images"], rows=given["rows"], held_out=held_out, say=say)
        seconds = loop.run(
            _shown(gan.train(state, config=config, **given), state, recipe, progress),
            state,
            config,
            out,
            curve=curve,
            watch=watch,
            checkpoint_images=checkpoint_images,
            say=say,
        )
        gan.save(discriminator, state.discriminator)
        gan.save(generator, state.generator)
        images_seen = state.step * config.batch_size
        summary = {
            "recipe": results.portable(dataclasses.asdict(recipe), roots),
            "data": data.summary,
            "command": results.portable(list(command), roots),
            "seed": config.seed,
            "discriminator": hashlib.sha256(discriminator.read_bytes()).hexdigest(),
            "generator": hashlib.sha256(generator.read_bytes()).hexdigest(),
            "images_seen": images_seen,
            "seconds": round(seconds, 1),
            "images_per_second": round(images_seen / seconds, 1) if seconds else None,
            "versions": results.versions(),
            "hardware": results.hardware(str(device)),
        }
        write_bytes(out / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())
    return discriminator


def record(run: Path, folder: Path) -> None:
    """Copies what a finished run shows of itself, `KEPT`, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        write_bytes(folder / name, (run / name).read_bytes())


def _assist(recipe: Recipe, out: Path, *, data_root: Path, runs_root: Path, device: torch.device | str) -> Path:
    """The same steps, in a process that only takes its share of every minibatch."""
    rows = from_first(None, device)  # by then the first has packed the set, too, and knows that the run can be had
    state = _state(out / STATE, recipe, device, lambda text: None)
    packed = datasets.load(recipe.dataset, Run(data_root, runs_root))
    given = _given(recipe, packed.images, packed.labels, rows, torch.device(device))
    for _ in gan.train(state, config=recipe.training, **given):
        pass
    return out / DISCRIMINATOR


def _given(
    recipe: Recipe, images: np.ndarray, labels: np.ndarray | None, rows: torch.Tensor, device: torch.device
) -> dict[str, Any]:
    """What `gan.train` takes of the set."""
    known = torch.from_numpy(labels.copy()) if recipe.conditional and labels is not None else None
    return {"images": _on_device(images, device), "labels": known, "rows": rows}


def _on_device(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """uint8 [N, H, W, C]: on a GPU where the set takes up to half of its memory, else the memory map itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nothing writes to it
        tensor = torch.from_numpy(images)
    if device.type == "cuda" and images.nbytes <= torch.cuda.get_device_properties(device).total_memory // 2:
        return tensor.to(device)
    return tensor


def _shown(
    steps: Iterator[gan.Step], state: gan.TrainingState, recipe: Recipe, progress: Progress | None
) -> Iterator[gan.Step]:
    """The same steps, shown by `progress` in images, with the last losses where it asks for them."""
    if progress is None:
        return steps
    config, latest = recipe.training, {}

    def noted() -> Iterator[gan.Step]:
        for step in steps:
            latest[step.network] = step.loss
            yield step

    shown = progress(
        noted(),
        total=config.steps * config.batch_size,
        desc=f"train {recipe.name}",
        unit="image",
        step=config.batch_size,
        done=state.step * config.batch_size,
        # read only when it is shown: reading waits for the device
        postfix=lambda: ", ".join(f"{network} {float(loss):.3f}" for network, loss in sorted(latest.items())),
    )
    return iter(shown)


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


def _state(file: Path, recipe: Recipe, device, say) -> gan.TrainingState:
    """Of the checkpoint, or else fresh, with the networks that the recipe starts from."""
    arch, config = recipe.architecture, recipe.training
    if file.exists():
        try:
            state = gan.load_state(file, arch, config, device)
        except ValueError as error:
            raise UserError(f"{error}; delete {file} to start over, or choose another folder with --out") from error
        say(f"going on from step {state.step} of {config.steps} ({file})")
        return state
    state = gan.new_state(arch, config, device)
    for name, start in (("discriminator", recipe.discriminator), ("generator", recipe.generator)):
        if start is not None:
            network = gan.load(start if Path(start).exists() else ROOT / start)
            if type(network) is not type(getattr(state, name)) or network.arch != arch:
                raise UserError(f"{start} is no {name} of this recipe's architecture; name another, or leave it out")
            getattr(state, name).load_state_dict(network.state_dict())
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

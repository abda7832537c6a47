"""Run a recipe in a folder: claim the folder, go on from its checkpoint, train, write the networks and the summary."""

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch

import gan
import results
from experiments.data.load import load
from experiments.networks.kinds import SHIPPED, WEIGHTS, refuse_old_path
from experiments.run.console import counted
from experiments.run.context import ROOT, Run
from experiments.run.errors import UserError
from experiments.run.files import check_own, file_digest, write_bytes
from experiments.run.progress import silent
from experiments.run.reading.documents import read_json, write_json
from experiments.run.torchrun import broadcast
from experiments.training import loop
from experiments.training.files import (
    DATA,
    DISCRIMINATOR,
    EPOCHS,
    FRAMES,
    GENERATOR,
    REMOVED,
    SNAPSHOTS,
    STATE,
    SUMMARY,
)
from experiments.training.images import TrainingSet, as_begun, check_set, for_training, training_set
from experiments.training.limits import check_limits
from experiments.training.monitor import LOOKS, Monitor
from experiments.training.recipe import Recipe
from experiments.training.resume import Notes, read_notes
from experiments.training.trackers import Factory, attached
from gan import parallel

CHARACTERS = ("mnist", "svhn")  # sets of these names show digits; their mirror images do not
REPLACED = (SUMMARY, DISCRIMINATOR, GENERATOR, DATA, EPOCHS, FRAMES, SNAPSHOTS, "samples.png")
RECORDED = (SUMMARY, EPOCHS, "losses.png", "samples.png", "samples.webp")  # none of them shows a training image


def train(
    recipe: Recipe,
    out: Path,
    run: Run,
    *,
    checkpoint_images: int | None = None,
    looks: int = LOOKS,
    tracker: Factory | None = None,
) -> Path:
    """Train `recipe` in the folder `out`, from its checkpoint if there is one; return the discriminator's file.

    The folder gets the files that `experiments.training.files` names: before the first step those that say which images
    are used; then losses, looks (`looks` of them to twice as many, see `monitor`) and checkpoints (see
    `loop.run_steps`); at the end the networks and their summary. A finished run is not changed. `tracker` is told of
    every look (see `trackers`). Under torchrun rank 0 does all this; the other ranks only train.
    Raises UserError if the folder holds another run or another process trains in it, and FloatingPointError, with the
    last checkpoint kept, if a loss or a weight is not finite.
    """
    config = recipe.training
    check_limits(recipe, run)
    if config.batch_size % parallel.processes():
        raise UserError(
            f"batch_size {config.batch_size} must be divisible by the number of processes, {parallel.processes()}"
        )
    if parallel.rank() > 0:
        _assist(recipe, out, run)
        return out / DISCRIMINATOR
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another folder with --out") from error
    with locked(out):
        _check_own(out)
        state = _begin(recipe, out, run)
        notes = _notes(out, state, run)
        data = as_begun(training_set(recipe, run), out, recipe, notes)
        if config.mirror and recipe.dataset.startswith(CHARACTERS):
            run.warn(f"mirror = true trains on mirrored characters; leave it out for {recipe.dataset}")
        images, copies = counted(data.summary["kept"], "image"), counted(len(data.removed), "near-duplicate")
        run.say(f"{data.summary['name']}: {images}, {copies} removed")
        _claim(out, data, notes)
        broadcast(data.rows)
        if state.step == config.steps and _finished(out):
            run.say(f"trained before; delete {out} to train again, or choose another folder with --out")
            return out / DISCRIMINATOR
        for name in (SUMMARY, DISCRIMINATOR, GENERATOR):  # those of an earlier run must not pass for this one's
            (out / name).unlink(missing_ok=True)
        monitor = Monitor(out, state, config, data, run, looks=looks, notes=notes)
        training = gan.train(state, data.images, config, labels=data.labels, rows=data.rows)
        with closing(training) as steps, attached(tracker, recipe, monitor, run) as track:
            shown = _with_progress(steps, state.step, recipe, run)
            seconds = loop.run_steps(shown, monitor, run, checkpoint_images=checkpoint_images, track=track)
        _finish(recipe, out, state, data, seconds, run)
    return out / DISCRIMINATOR


def check(recipe: Recipe, out: Path, run: Run) -> None:
    """Raise UserError as `train` would, as far as that can be told without the images; write nothing."""
    _check_own(out)
    check_limits(recipe, run)
    check_set(recipe, run)
    if (out / STATE).exists() or recipe.discriminator or recipe.generator:
        _begin(recipe, out, dataclasses.replace(run, say=lambda text: None))


def record(out: Path, folder: Path) -> None:
    """Copy the files of a finished run that are committed, `RECORDED`, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in RECORDED:
        write_bytes(folder / name, (out / name).read_bytes())


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock the folder `out` during the block, or until this process dies. UserError if another process locked it."""
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process trains in {out}; choose another folder with --out") from error
        yield
    finally:
        os.close(folder)


def _check_own(out: Path) -> None:
    """Raise UserError if `out` has neither a checkpoint nor a list of images, but files that the run would replace."""
    if not (out / STATE).exists():
        check_own(out, REPLACED, REMOVED)


def _assist(recipe: Recipe, out: Path, run: Run) -> None:
    """Take the same steps as rank 0 in a process that only trains on its share of every minibatch."""
    rows = broadcast(None)  # when it returns, rank 0 has also packed the set and checked the folder
    quiet = dataclasses.replace(run, say=lambda text: None, progress=silent)
    state = _begin(recipe, out, quiet)
    images, labels = for_training(load(recipe.dataset, quiet), recipe, run.device)
    for _ in gan.train(state, images, recipe.training, labels=labels, rows=rows):
        pass


def _begin(recipe: Recipe, out: Path, run: Run) -> gan.TrainingState:
    """Return the checkpoint's state; without a checkpoint, a new state, from the networks that the recipe names."""
    arch, config, file = recipe.architecture, recipe.training, out / STATE
    if file.exists():
        try:
            state = gan.load_state(file, arch, config, run.device)
        except ValueError as error:
            fix = "give that run's settings with --set, " if "another run" in str(error) else ""
            raise UserError(
                f"{error}; {fix}delete {file} to start over, or choose another folder with --out"
            ) from error
        run.say(f"going on from step {state.step} of {config.steps} ({file})")
        return state
    state = gan.new_state(arch, config, run.device)
    for name, start in (("discriminator", recipe.discriminator), ("generator", recipe.generator)):
        if start is not None:
            refuse_old_path(start)
            own = WEIGHTS / start / f"{name}.safetensors" if start in SHIPPED else ROOT / start
            network = gan.load(start if Path(start).is_file() else own)
            if type(network) is not type(getattr(state, name)) or network.arch != arch:
                raise UserError(f"{start} is not a {name} of this recipe's architecture; name another, or leave it out")
            getattr(state, name).load_state_dict(network.state_dict())
    return state


def _notes(out: Path, state: gan.TrainingState, run: Run) -> Notes:
    """Return the notes of the checkpoint in `out`, empty ones if there is none. Raises UserError for damaged ones."""
    if not (out / STATE).exists():
        return Notes()
    try:
        return read_notes(state.notes, out, run)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{out / STATE} is damaged ({error}); delete it to start over") from error


def _claim(out: Path, data: TrainingSet, notes: Notes) -> None:
    """Write into `out` which images the run uses. Raises UserError if a run on other images has a checkpoint there."""
    if notes.data is not None and notes.data != data.summary:
        told = f"{out} holds a run on {notes.data}, but this run is on {data.summary}"
        raise UserError(f"{told}; choose another folder with --out, or restore {REMOVED} there if it was changed")
    rows = "".join(f"{index},{kept}\n" for kept, index in data.removed.tolist())
    write_bytes(out / REMOVED, f"index,kept\n{rows}".encode())
    write_bytes(out / DATA, (json.dumps(data.summary, indent=2) + "\n").encode())


@dataclasses.dataclass(frozen=True)
class _Networks:
    """The digests in the summary of a finished run."""

    discriminator: str
    generator: str


def _finished(out: Path) -> bool:
    """Whether the networks and their summary are there, whole; otherwise they are written again from the checkpoint."""
    try:
        said = read_json(out / SUMMARY, _Networks)
        digests = [file_digest(out / name, "sha256") for name in (DISCRIMINATOR, GENERATOR)]
    except (OSError, ValueError):
        return False
    return digests == [said.discriminator, said.generator]


def _with_progress(steps: Iterable[gan.Step], done: int, recipe: Recipe, run: Run) -> Iterable[gan.Step]:
    """Return `steps` with their progress, which counts images, also those of `done` earlier steps, and shows losses."""
    batch = recipe.training.batch_size
    latest: dict[str, torch.Tensor] = {}

    def noted(step: gan.Step) -> gan.Step:
        latest[step.network] = step.loss
        return step

    return run.progress(
        map(noted, steps),
        total=recipe.training.steps * batch,
        desc=f"train {recipe.name}",
        unit="image",
        step=batch,
        done=done * batch,
        # called only when it is shown, because reading a loss waits for the device
        postfix=lambda: ", ".join(f"{network} {float(loss):.3f}" for network, loss in sorted(latest.items())),
    )


def _finish(recipe: Recipe, out: Path, state: gan.TrainingState, data: TrainingSet, seconds: float, run: Run) -> None:
    """Write the networks, then the summary, with which the run counts as finished."""
    gan.save(out / DISCRIMINATOR, state.discriminator)
    gan.save(out / GENERATOR, state.generator)
    images_seen = state.step * recipe.training.batch_size
    summary = {
        "recipe": run.portable(recipe.values),
        "data": data.summary,
        "command": run.portable(list(run.command)),
        "seed": recipe.training.seed,
        "discriminator": file_digest(out / DISCRIMINATOR, "sha256"),
        "generator": file_digest(out / GENERATOR, "sha256"),
        "removed": file_digest(out / REMOVED, "sha256"),
        "images_seen": images_seen,
        "seconds": round(seconds, 1),
        "images_per_second": round(images_seen / seconds, 1) if seconds else None,
        "versions": results.versions(),
        "hardware": results.hardware(str(run.device)),
    }
    write_json(out / SUMMARY, summary)

"""Look at a network while it trains: write pictures of fixed z, and numbers that show whether training goes well.

There is a look at the end of every epoch (one pass over the training images) and at the end of the run. If the run has
fewer than `LOOKS` epochs, each epoch is divided evenly, so that there are about `LOOKS` looks. If it has more than
twice as many, there is a look only after every k-th epoch, so that there are at most about twice `LOOKS`, and after the
`EARLY` epochs. A look depends only on the state and draws from its own random generator, so it does not change the
training.
"""

import math
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import evaluation
import gan
from experiments.run.context import Run
from experiments.run.errors import UserError, one_line
from experiments.run.files import write_bytes
from experiments.training import files
from experiments.training.collapse import YOUNG, CollapseDetector
from experiments.training.images import TrainingSet, full_views
from experiments.training.losses import Losses
from experiments.training.resume import Notes, read_looks, read_vouched, set_aside
from results import figures

LOOKS = 20
EARLY = (1, 5)  # epochs after which the generator is kept: those of the paper's figures 2 and 3
SHOWN = 64  # samples in a grid
COMPARED = 256  # number of samples, and of training images, for the mean distances between them
SAMPLES = 1_000  # samples for which the nearest images are searched
REFERENCES = 10_000  # training images that are searched if none is held out; takes one core a second at 32x32
PAIRED, SEARCHED = 32, 50_000  # samples shown next to their nearest training image, and training images searched
SLOW = 0.03  # part of the time that the slow pictures may take
DRAWING = 1.5  # seconds that they are expected to take the first time
CHUNK = 128  # samples drawn at once; batch norm uses the statistics of a chunk
UNIT = 127.5  # uint8 steps for a distance of 1 in the networks' range [-1, 1]


@dataclass(frozen=True)
class Schedule:
    """When to look. An epoch has `per_epoch` minibatches, the run `steps`.

    There are at least about `looks` looks, if there are as many minibatches, and at most twice as many and three more.
    """

    per_epoch: int
    steps: int
    looks: int = LOOKS

    def due(self, step: int) -> bool:
        """Return whether there is a look after `step` minibatches, counted from 1."""
        parts = min(self.per_epoch, max(1, math.ceil(self.looks * self.per_epoch / self.steps)))  # looks in an epoch
        epoch, within = divmod(step - 1, self.per_epoch)  # 0-based epoch, and minibatch in it
        ends = (within + 1) * parts // self.per_epoch > within * parts // self.per_epoch  # a part ends with it
        every = math.ceil(self.steps / (2 * self.looks * self.per_epoch))  # epochs from one look to the next
        return (ends and ((epoch + 1) % every == 0 or epoch + 1 in EARLY)) or step == self.steps

    def snapshot_due(self, step: int, last: int) -> bool:
        """Return whether one of `looks` equal parts of the run ended after step `last`, the last look, up to `step`."""
        return step * self.looks // self.steps > last * self.looks // self.steps


def early_generators(out: Path) -> dict[int, Path]:
    """Return epoch -> the file of the run's generator after that epoch, whether or not it exists yet."""
    return {epoch: out / "generators" / f"epoch-{epoch}.safetensors" for epoch in EARLY}


class Monitor:
    """The looks at one run, written into its folder: `epochs.csv`, `epochs/*.png`, pictures of the last look.

    `losses` holds the losses of the run, `schedule` says when to look; `out`, `state`, `config`, `data` and `notes` are
    the arguments. `notes` are those of the checkpoint that the run goes on from.
    Making a Monitor removes what a stopped run wrote after `state.step`. `young` is the number of minibatches before
    which there are no warnings of collapse.
    """

    def __init__(
        self,
        out: Path,
        state: gan.TrainingState,
        config: gan.TrainingConfig,
        data: TrainingSet,
        run: Run,
        *,
        looks: int = LOOKS,
        young: int = YOUNG,
        notes: Notes | None = None,
    ) -> None:
        self.schedule = Schedule(len(data.rows) // config.batch_size, config.steps, looks)
        self.notes = notes or Notes()
        self.out, self.state, self.config, self.data, self._run = out, state, config, data, run
        seeded = torch.Generator().manual_seed(config.seed)
        arch = state.generator.arch
        self._z = gan.sample_z(arch, SAMPLES, seeded).to(run.device)
        self._labels, self._shown = None, SHOWN
        if isinstance(arch, gan.ConditionalArchitecture):  # each column of the grid is one class
            self._labels, self._shown = torch.arange(SAMPLES, device=run.device) % arch.classes, arch.classes**2
        self._order = data.rows[torch.randperm(len(data.rows), generator=seeded)]
        self._detector = CollapseDetector(young)
        self.losses = self._resume_losses()
        self._rows = self._resume_looks()
        self._remove_later()
        self._unreadable: set[Path] = set()  # pictures that were named in a warning
        self._drawn, self._cost = time.monotonic(), DRAWING  # when the slow pictures were last drawn, seconds needed

    def look(self, seconds: float) -> None:
        """Draw, measure and write. `losses` must hold every minibatch up to the state's step.

        seconds: how long the run has trained so far.
        """
        samples, step = self._samples(), self.state.step
        last, then = (int(self._rows[-1]["step"]), float(self._rows[-1]["seconds"])) if self._rows else (0, 0.0)
        frame = figures.grid(samples[: self._shown].cpu().numpy())
        write_bytes(self._frame(step), frame)
        write_bytes(self.out / "samples.png", frame)
        numbers = {
            "epoch": step / self.schedule.per_epoch,
            "step": step,
            "images_seen": step * self.config.batch_size,
            "seconds": seconds,
            "images_per_second": (step - last) * self.config.batch_size / max(seconds - then, 1e-9),
            **self._mean_losses(last),
            "diversity": evaluation.mean_distance(samples[:COMPARED]) / self._real_distance,
            **self._nearest(samples),
        }
        row = {name: str(value) if isinstance(value, int) else f"{value:.6g}" for name, value in numbers.items()}
        judged = self.config.adversarial > 0  # without the GAN the generator stays as it was initialised
        warnings = self._detector.warnings({name: float(value) for name, value in row.items()}) if judged else []
        for warning in warnings:
            self._run.warn(warning)
        self._rows.append(row | {"warning": " | ".join(warnings)})
        lines = [",".join(self._rows[-1])]
        lines += [",".join([*values, f'"{warning}"']) for *values, warning in (row.values() for row in self._rows)]
        write_bytes(self.out / files.EPOCHS, ("\n".join(lines) + "\n").encode())
        self._keep_networks(last)
        self._draw(samples)

    def history(self) -> list[tuple[int, dict[str, float], Path | None]]:
        """Return (step, numbers of its line in epochs.csv, grid or None if it is gone) for every look so far."""
        numbers = [{name: float(value) for name, value in row.items() if name != "warning"} for row in self._rows]
        frames = [self._frame(int(row["step"])) for row in numbers]
        return [(int(r["step"]), r, f if f.exists() else None) for r, f in zip(numbers, frames, strict=True)]

    def _resume_losses(self) -> Losses:
        file, step = self.out / files.LOSSES, self.state.step
        try:
            if step and (size := len(read_vouched(file, self.notes))):
                os.truncate(file, size)  # what was written after the checkpoint may be anything
            return Losses(file, step)
        except (ValueError, UserError) as error:
            if not step:  # the file of another program, or of a run whose checkpoint was deleted
                raise
            set_aside(file, error, self._run)
            return Losses(file, step)

    def _resume_looks(self) -> list[dict[str, str]]:
        """Return the rows up to the state's step, after the detector has read them."""
        file, step = self.out / files.EPOCHS, self.state.step
        try:
            rows = read_looks(read_vouched(file, self.notes), step) if step else []
        except ValueError as error:
            set_aside(file, error, self._run)
            return []
        for row in rows:
            self._detector.warnings({name: float(value) for name, value in row.items() if name != "warning"})
        return rows

    def _remove_later(self) -> None:
        """Remove the pictures and networks that were written after the state's step; make the folders."""
        snapshots, early = self.out / files.SNAPSHOTS, early_generators(self.out)
        seen = self.state.step * self.config.batch_size
        later = [file for at, file in [*self._frames(), *_numbered(snapshots, "safetensors")] if at > seen]
        later += [file for epoch, file in early.items() if self.state.step < epoch * self.schedule.per_epoch]
        for file in later:
            file.unlink(missing_ok=True)
        for folder in (self.out / files.FRAMES, snapshots, *(file.parent for file in early.values())):
            folder.mkdir(exist_ok=True)

    def _frames(self) -> list[tuple[int, Path]]:
        """Return (images seen, file) of every grid, in their order."""
        return _numbered(self.out / files.FRAMES, "png")

    def _frame(self, step: int) -> Path:
        """Return the file of the grid at `step`. It is named by the images seen, as the snapshots are."""
        return self.out / files.FRAMES / f"{step * self.config.batch_size:012d}.png"

    def _samples(self) -> Tensor:
        """Return samples of the fixed z, uint8 [n, H, W, C]. The first chunk does not depend on how many follow."""
        given = [self._z] if self._labels is None else [self._z, self._labels]
        chunks = zip(*(values.split(CHUNK) for values in given), strict=True)
        return torch.cat([gan.sample(self.state.generator, *chunk) for chunk in chunks])

    def _images(self, rows: Tensor) -> Tensor:
        """Return these images of the set at the network's size, uint8 [n, H, W, C], on the device of the samples."""
        return full_views(self.data.images, rows, self.state.generator.arch.size).to(self._z.device)

    @cached_property
    def _real_distance(self) -> float:
        """The mean distance between training images, in uint8 steps; NaN if they are all equal."""
        return evaluation.mean_distance(self._images(self._order[:COMPARED])) or math.nan

    def _mean_losses(self, last: int) -> dict[str, float]:
        """Return mean losses since the look at step `last`, but at least over the last two minibatches (one a network).

        The spread of the generator's losses is NaN if there are fewer than 8.
        """
        since = min(last, self.state.step - 2) * self.config.batch_size
        losses = {name: self.losses.since(since, name) for name in ("generator", "discriminator")}
        means = {f"loss_{name}": float(of.mean()) if len(of) else math.nan for name, of in losses.items()}
        spread = float(losses["generator"].std()) if len(losses["generator"]) >= 8 else math.nan
        return means | {"loss_generator_sd": spread}

    def _nearest(self, samples: Tensor) -> dict[str, float]:
        """Return mean distances of samples to the nearest training image and the nearest of as many held-out images.

        Distances are in [-1, 1] pixel space. The values for held-out images are NaN if there are none.
        """
        held_out = self.data.held_out
        among = min(len(held_out) or REFERENCES, len(self._order))
        to_training = _mean_nearest(samples, self._images(self._order[:among]))
        to_held_out = _mean_nearest(samples, self._images(held_out[:among])) if len(held_out) else math.nan
        ratio = to_training / to_held_out if to_held_out > 0 else math.nan
        return {"nearest_training": to_training, "nearest_held_out": to_held_out, "nearest_ratio": ratio}

    def _keep_networks(self, last: int) -> None:
        """Save the generator after an early epoch, and the discriminator if a snapshot is due, in half precision."""
        step = self.state.step
        for epoch, file in early_generators(self.out).items():
            if step == epoch * self.schedule.per_epoch:
                gan.save(file, self.state.generator, dtype=torch.float16)
        if self.schedule.snapshot_due(step, last):
            file = self.out / files.SNAPSHOTS / f"{step * self.config.batch_size:012d}.safetensors"
            gan.save(file, self.state.discriminator, dtype=torch.float16)

    def _draw(self, samples: Tensor) -> None:
        """Draw the slow pictures at the end, and before it as often as `SLOW` allows."""
        started = time.monotonic()
        if self.state.step < self.config.steps and started - self._drawn < self._cost / SLOW:
            return
        searched = self._images(self._order[:SEARCHED])
        _, index = evaluation.nearest(samples[:PAIRED], searched)
        shown, neighbours = samples[:PAIRED].cpu().numpy(), searched[torch.from_numpy(index).to(searched.device)]
        write_bytes(self.out / "neighbours.png", figures.pairs(shown, neighbours.cpu().numpy()))
        write_bytes(self.out / "samples.webp", figures.animation(self._whole_frames()))
        write_bytes(self.out / "losses.png", figures.loss_plot(self.losses.by_network()))
        self._drawn = time.monotonic()
        self._cost = self._drawn - started

    def _whole_frames(self) -> list[bytes]:
        """Return the content of every grid of the size of the last one; others are left where they are, and named."""
        contents: list[bytes] = []
        size = None
        for _, file in reversed(self._frames()):
            try:
                with Image.open(file, formats=["PNG"]) as picture:
                    picture.load()
                    if picture.size != (size := size or picture.size):
                        raise ValueError(f"its size is {picture.size}, not {size}")
                contents.append(file.read_bytes())
            except (OSError, SyntaxError, ValueError) as error:
                if file not in self._unreadable:
                    self._run.warn(f"{file} is damaged ({one_line(error)}): samples.webp is made without it")
                self._unreadable.add(file)
        return contents[::-1]


def _numbered(folder: Path, suffix: str) -> list[tuple[int, Path]]:
    """Return (number, file) of the files in a folder that are named by a number, in their order."""
    found = [file for file in folder.glob(f"*.{suffix}") if file.stem.isascii() and file.stem.isdigit()]
    return sorted((int(file.stem), file) for file in found)


def _mean_nearest(samples: Tensor, images: Tensor) -> float:
    return float(np.mean(evaluation.nearest(samples, images)[0], dtype=np.float64)) / UNIT

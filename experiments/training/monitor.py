"""What a person looks at while a network trains: pictures of the same z, and numbers that say whether it goes well.

A look falls at the end of every epoch (one pass over the training images) and at the end of the run; where a run has
fewer than `LOOKS` epochs, each is divided evenly, so that there are about as many looks. What a look shows depends on
the state alone and draws from generators of its own: training goes on as if nobody had looked.
"""

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import evaluation
import gan
from experiments.run.files import write_bytes
from experiments.training.collapse import Alarm
from experiments.training.losses import Curve
from results import figures

LOOKS = 20
SNAPSHOTS = (
    "snapshots"  # folder of the discriminators at up to LOOKS looks, evenly chosen, as <images seen>.safetensors
)
EARLY = (1, 5)  # epochs after which the generator is kept: those of the paper's figures 2 and 3
SHOWN = 64  # samples of a grid
COMPARED = 256  # samples, and training images, whose distances from one another are taken
SAMPLES = 1_000  # whose nearest images are sought
REFERENCES = 10_000  # training images among which, where none is held out: a second of one core at 32x32
PAIRED, SEARCHED = 32, 50_000  # samples shown beside their nearest, and the training images searched for those
CHUNK = 128  # samples drawn at once; batch norm uses the statistics of a chunk
UNIT = 127.5  # uint8 steps in 1 of the networks' [-1, 1]
COLUMNS = (
    *("epoch", "step", "images_seen", "seconds", "images_per_second"),
    *("loss_generator", "loss_discriminator", "loss_generator_sd", "diversity"),
    *("nearest_training", "nearest_held_out", "nearest_ratio", "warning"),
)


@dataclass(frozen=True)
class Schedule:
    """When looks fall: `per_epoch` minibatches make an epoch, `steps` the run."""

    per_epoch: int
    steps: int

    @property
    def parts(self) -> int:
        """Looks in an epoch."""
        return min(self.per_epoch, max(1, math.ceil(LOOKS * self.per_epoch / self.steps)))

    def due(self, step: int) -> bool:
        """Whether a look falls after `step` minibatches, from 1."""
        within = (step - 1) % self.per_epoch  # 0-based minibatch of its epoch: due where a part ends with it
        ends = (within + 1) * self.parts // self.per_epoch > within * self.parts // self.per_epoch
        return ends or step == self.steps

    def epoch(self, step: int) -> float:
        """Passes done."""
        return step / self.per_epoch


def early_generators(out: Path) -> dict[int, Path]:
    """Epoch -> the file of a run's generator after it, whether it is there yet or not."""
    return {epoch: out / "generators" / f"epoch-{epoch}.safetensors" for epoch in EARLY}


class Watch:
    """The looks at one run, into its folder: `epochs.csv`, `epochs/*.png`, and pictures of the last look.

    Opening it drops what a stopped run had seen after `state.step`. `images`: uint8 [N, H, W, C]; `rows`, `held_out`:
    int64, those of them that are trained on, and those that are not, of which there may be none.
    """

    def __init__(
        self,
        out: Path,
        state: gan.TrainingState,
        config: gan.TrainingConfig,
        curve: Curve,
        *,
        images: Tensor,
        rows: Tensor,
        held_out: Tensor,
        say: Callable[[str], None],
    ) -> None:
        self.schedule = Schedule(len(rows) // config.batch_size, config.steps)
        self._out, self._state, self._config, self._curve, self._say = out, state, config, curve, say
        self._images, self._held_out = images, held_out
        device = next(state.generator.parameters()).device
        seeded = torch.Generator().manual_seed(config.seed)
        arch = state.generator.arch
        self._z = gan.sample_z(arch, SAMPLES, seeded).to(device)
        self._labels, self._shown = None, SHOWN
        if isinstance(arch, gan.ConditionalArchitecture):  # each column of the grid is one class
            self._labels, self._shown = torch.arange(SAMPLES, device=device) % arch.classes, arch.classes**2
        self._order = rows[torch.randperm(len(rows), generator=seeded)]
        self._alarm = Alarm()
        self._rows = self._resumed()
        self._drawn, self._cost = -math.inf, 0.0

    def look(self, seconds: float, images_per_second: float) -> None:
        """Draws, measures and writes; every minibatch up to the state's step must be in the curve."""
        samples = self._samples()
        epoch = self.schedule.epoch(self._state.step)
        frame = figures.grid(samples[: self._shown].cpu().numpy())
        write_bytes(self._out / "epochs" / self._frame(self._state.step), frame)
        write_bytes(self._out / "samples.png", frame)
        numbers = {
            "epoch": epoch,
            "step": self._state.step,
            "images_seen": self._state.step * self._config.batch_size,
            "seconds": seconds,
            "images_per_second": images_per_second,
            **self._losses(),
            "diversity": evaluation.mean_distance(samples[:COMPARED]) / self._real_distance,
            **self._nearest(samples),
        }
        row = {name: _text(value) for name, value in numbers.items()}
        warnings = self._alarm.look({name: float(value) for name, value in row.items()})
        for warning in warnings:
            self._say(f"warning: {warning}")
        self._rows.append(row | {"warning": " | ".join(warnings)})
        self._write_rows()
        self._keep()
        self._draw(samples)

    def _resumed(self) -> list[dict[str, str]]:
        """The rows up to the state's step; later ones and their frames are removed, the alarm hears the rest again."""
        for folder in ("epochs", SNAPSHOTS):
            (self._out / folder).mkdir(exist_ok=True)
        rows = []
        if (self._out / "epochs.csv").exists():
            with open(self._out / "epochs.csv", newline="") as opened:
                rows = [row for row in csv.DictReader(opened) if int(row["step"]) <= self._state.step]
        kept = {self._frame(int(row["step"])) for row in rows}
        seen = self._state.step * self._config.batch_size
        for file in (self._out / SNAPSHOTS).glob("*.safetensors"):
            if int(file.stem) > seen:
                file.unlink()
        for file in (self._out / "epochs").glob("*.png"):
            if file.name not in kept:
                file.unlink()
        for epoch, file in early_generators(self._out).items():
            file.parent.mkdir(exist_ok=True)
            if self.schedule.epoch(self._state.step) < epoch:
                file.unlink(missing_ok=True)
        for row in rows:
            self._alarm.look({name: float(value) for name, value in row.items() if name != "warning"})
        return rows

    def _frame(self, step: int) -> str:
        """By the images seen, as the snapshots."""
        return f"{step * self._config.batch_size:012d}.png"

    def _samples(self) -> Tensor:
        """uint8 [n, H, W, C] of the fixed z; the first chunk does not depend on how many follow."""
        labels = [None] * len(self._z) if self._labels is None else self._labels.split(CHUNK)
        return torch.cat(
            [gan.sample(self._state.generator, *given) for given in zip(self._z.split(CHUNK), labels, strict=False)]
        )

    def _training(self, most: int) -> Tensor:
        """At most so many of the training images, drawn once for the run, where the samples are."""
        return self._images[self._order[:most].to(self._images.device)].to(self._z.device)

    @cached_property
    def _real_distance(self) -> float:
        distance = evaluation.mean_distance(self._training(COMPARED))
        return distance if distance > 0 else math.nan

    def _losses(self) -> dict[str, float]:
        """Means over the minibatches since the last look, or the last two of them (one of each network), and the
        spread of the generator's where there are 8 or more.
        """
        last = int(self._rows[-1]["step"]) if self._rows else 0
        since = min(last, self._state.step - 2) * self._config.batch_size
        generator, discriminator = (self._curve.since(since, name) for name in ("generator", "discriminator"))
        return {
            "loss_generator": float(generator.mean()) if len(generator) else math.nan,
            "loss_discriminator": float(discriminator.mean()) if len(discriminator) else math.nan,
            "loss_generator_sd": float(generator.std()) if len(generator) >= 8 else math.nan,
        }

    def _nearest(self, samples: Tensor) -> dict[str, float]:
        """Mean distance, in [-1, 1] pixel space, to the nearest of training images and of as many held-out ones."""
        among = min(len(self._held_out) or REFERENCES, len(self._order))
        training = _mean_nearest(samples, self._training(among))
        held_out = math.nan
        if len(self._held_out):
            unseen = self._images[self._held_out[:among].to(self._images.device)].to(self._z.device)
            held_out = _mean_nearest(samples, unseen)
        ratio = training / held_out if held_out > 0 else math.nan
        return {"nearest_training": training, "nearest_held_out": held_out, "nearest_ratio": ratio}

    def _write_rows(self) -> None:
        lines = [",".join(COLUMNS)]
        lines += [",".join([*(row[name] for name in COLUMNS[:-1]), f'"{row["warning"]}"']) for row in self._rows]
        write_bytes(self._out / "epochs.csv", ("\n".join(lines) + "\n").encode())

    def _keep(self) -> None:
        """In half precision: the generator of an early epoch, the discriminator where a twentieth of the run ends."""
        for epoch, file in early_generators(self._out).items():
            if self.schedule.epoch(self._state.step) == epoch:
                gan.save(file, self._state.generator, dtype=torch.float16)
        before = int(self._rows[-2]["step"]) if len(self._rows) > 1 else 0
        if self._state.step * LOOKS // self._config.steps > before * LOOKS // self._config.steps:
            seen = self._state.step * self._config.batch_size
            gan.save(self._out / SNAPSHOTS / f"{seen:012d}.safetensors", self._state.discriminator, dtype=torch.float16)

    def _draw(self, samples: Tensor) -> None:
        """The pictures that take a while: at the end, before it for at most a tenth of the time."""
        started = time.monotonic()
        if self._state.step < self._config.steps and started - self._drawn < 10 * self._cost:
            return
        searched = self._training(SEARCHED)
        _, index = evaluation.nearest(samples[:PAIRED], searched)
        shown, neighbours = samples[:PAIRED].cpu().numpy(), searched[torch.from_numpy(index).to(searched.device)]
        write_bytes(self._out / "neighbours.png", figures.pairs(shown, neighbours.cpu().numpy()))
        frames = [self._out / "epochs" / self._frame(int(row["step"])) for row in self._rows]
        movie = figures.animation([f.read_bytes() for f in frames if f.exists()])
        write_bytes(self._out / "samples.webp", movie)
        write_bytes(self._out / "losses.png", figures.loss_plot(self._curve.all()))
        self._drawn = time.monotonic()
        self._cost = self._drawn - started


def _mean_nearest(samples: Tensor, images: Tensor) -> float:
    return float(np.mean(evaluation.nearest(samples, images)[0], dtype=np.float64)) / UNIT


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"

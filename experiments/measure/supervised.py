"""The supervised row of the SVHN table: a network of a discriminator's architecture, trained only with the labels.

Paper section 5.2: a random search over 64 trials chooses the hyper-parameters. Held-out training images decide between
the trials, and the best network is scored once on the test images. The paper's 28.87 % is the error on the images that
decide; the record holds both this error and the test error.

Every finished trial has a file of its own below RUNS_ROOT/supervised, with its accuracies, and with its network if it
was the best so far. So a stop loses one trial at most, and a longer search begins with the trials of a shorter one.
"""

import dataclasses
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import evaluation
import gan
from experiments.measure.classify import outcomes, scored
from experiments.measure.labelled_images import load_labelled
from experiments.measure.measurement import Figure, Measurement
from experiments.measure.protocols import SUPERVISED, Protocol, check_images
from experiments.networks.project import architecture
from experiments.networks.sizes import sizes
from experiments.run import kept
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError
from experiments.run.memory import check_memory

MOST = 10_000  # trials
IMAGE_SHAPE = (3, 32, 32)  # of SVHN
PREFIX = "supervised:"
VERSION = 2  # raise this when a trial yields another network than before, or the form of its file changes


@dataclass(frozen=True)
class SupervisedSpec:
    """Everything that decides the figure, apart from data and code."""

    network: str  # PRESET[,width=N,...], as in random:
    protocol: str
    trials: int = 64  # the paper's
    epochs: int = 40  # with rate 1e-3, half of them fit every training image; with 1e-4, all fit almost 97 %
    seed: int = 0  # for the hold-out, the labels and the trials
    space: evaluation.Space = field(default_factory=evaluation.Space)

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}")
        if self.trials > MOST:
            raise ValueError(f"trials must be at most {MOST:,}, got {self.trials:,}")
        try:
            arch, _ = architecture(self.network)
        except ValueError as error:
            raise UserError(f"{PREFIX}{self.network}: {error}") from error
        if arch.image_shape != IMAGE_SHAPE:
            has = f"{self.rules.data}-train has {IMAGE_SHAPE}"
            raise UserError(f"{PREFIX}{self.network} takes {arch.image_shape}, {has}")
        size, _ = sizes(arch)
        largest = max(self.space.batch_size)
        check_memory(4 * size.weights + largest * size.maps // 2, f"{PREFIX}{self.network}", "name a smaller width")

    @property
    def rules(self) -> Protocol:
        """The protocol's own settings."""
        return SUPERVISED[self.protocol]

    @property
    def rows(self) -> list[str]:
        """The protocol of the figure."""
        return [self.protocol]

    @property
    def method(self) -> str:
        """The text of the method column; it names the number of trials, since another number is another method."""
        return f"supervised CNN {architecture(self.network)[1]}, best of {self.trials} trials"


@dataclass(frozen=True)
class Kept:
    """What is stored of a trial. weights: the network's state dict; empty if an earlier trial was as good."""

    train_accuracy: float
    validation_accuracy: float
    seconds: float
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class SupervisedSearch(Measurement):
    """A random search, for `measurement.recorded`; see `prepare`."""

    spec: SupervisedSpec
    data: evaluation.SupervisedData  # the training images, then the test images
    inputs: dict[str, str]  # digests
    folder: Path  # holds the trials' files

    def measure(self, run: Run) -> list[Figure]:
        """Run the trials that are not stored yet, and score the best one (the first if several are best) once."""
        spec, data, rules = self.spec, self.data, self.spec.rules
        drawn = evaluation.draw_trials(spec.trials, seed=spec.seed, space=spec.space)
        done = list(self._trials(drawn, run))
        best = max(range(spec.trials), key=lambda i: done[i].validation_accuracy)
        seconds = {"search": sum(trial.seconds for trial in done)}
        arch, _ = architecture(spec.network)
        with timed(seconds, "score"):
            chosen = network(arch, len(data.classes), drawn[best], torch.Generator()).to(run.device)
            chosen.load_state_dict(done[best].weights)
            right = data.right(chosen, data.test)[None]
        tried = [
            dataclasses.asdict(trial) | {"train_accuracy": found.train_accuracy, "accuracy": found.validation_accuracy}
            for trial, found in zip(drawn, done, strict=True)
        ]
        selection = {
            "trials": spec.trials,
            "best": best,  # from 0
            "validation_error_percent": 100 - 100 * done[best].validation_accuracy,
            "holdout": len(data.validation),
            "scored on": "held-out training images",
            "tried": tried,
        }
        figure = Figure(
            method=spec.method,
            protocol=spec.protocol,
            metric=rules.metric,
            **scored(right, rules),
            max_units=max(arch.stage_channels),
            selection=selection,
            solver={"trained on": len(data.train), **tried[best]},
            outcomes=outcomes(data.train[None], right, data.labels[data.test]),
            seconds=seconds,
        )
        return [figure]

    def _trials(self, drawn: tuple[evaluation.Trial, ...], run: Run) -> Iterator[Kept]:
        """Yield every trial in order, from its file if that is undamaged."""
        files = [self.folder / f"trial-{number:04d}.safetensors" for number in range(len(drawn))]
        before = next((number for number, file in enumerate(files) if not file.exists()), len(files))
        if before:
            run.say(f"{before} of {len(files)} trials were run before ({self.folder})")
        shown = run.progress(
            range(before, len(files)), total=len(files), desc="random search", unit="trial", done=before
        )
        best = -1.0
        for number in chain(range(before), shown):
            found = _read(files[number], best, run)
            if found is None:
                found = self._ran(drawn[number], best, run)
                run.say(f"trial {number + 1}: {self._told(drawn[number], found)}")
                header = {name: value for name, value in vars(found).items() if name != "weights"}
                kept.write(files[number], found.weights, header)
            best = max(best, found.validation_accuracy)
            yield found

    def _ran(self, trial: evaluation.Trial, best: float, run: Run) -> Kept:
        """Run the trial; return it with its network if it is better than `best`."""
        start = time.monotonic()
        made = partial(network, architecture(self.spec.network)[0], len(self.data.classes))
        found = evaluation.run_trial(self.data, trial, made, epochs=self.spec.epochs, device=run.device)
        weights = found.network.state_dict() if found.validation_accuracy > best else {}
        seconds = round(time.monotonic() - start, 1)
        on_cpu = {name: tensor.cpu() for name, tensor in weights.items()}
        return Kept(found.train_accuracy, found.validation_accuracy, seconds, on_cpu)

    def _told(self, trial: evaluation.Trial, found: Kept) -> str:
        data = self.data
        return (
            f"{100 - 100 * found.validation_accuracy:.2f} % error on {len(data.validation):,} held-out images, "
            f"{100 - 100 * found.train_accuracy:.2f} % on {len(data.train):,} trained on, {found.seconds:.0f} s "
            f"(lr {trial.lr:.1e}, weight decay {trial.weight_decay:.1e}, dropout {trial.dropout:.2f}, "
            f"beta1 {trial.beta1:g}, batches of {trial.batch_size})"
        )


def prepare(spec: SupervisedSpec, run: Run) -> SupervisedSearch:
    """Load both parts, and draw which images train and which are held out. Raises UserError if the sets do not fit."""
    train, test = (load_labelled(f"{spec.rules.data}-{part}", run) for part in ("train", "test"))
    check_images(spec.protocol, len(train.images), len(test.images), SUPERVISED)
    arch, _ = architecture(spec.network)
    fit, held = evaluation.stratified_holdout(train.labels, spec.rules.holdout, seed=spec.seed)
    if (few := spec.rules.few) is not None:
        draw = evaluation.label_draws(train.labels[fit], 1, seed=spec.seed, per_class=few.per_class, size=few.size)
        fit = fit[draw[0]]
    data = evaluation.SupervisedData(
        np.concatenate([train.images, test.images]),
        np.concatenate([train.labels, test.labels]),
        fit,
        held,
        np.arange(len(train.images), len(train.images) + len(test.images)),
    )
    key = dataclasses.asdict(dataclasses.replace(spec, trials=1)) | {"architecture": dataclasses.asdict(arch)}
    key |= {"version": VERSION, "data": train.digest, "torch": torch.__version__, "device": run.device.type}
    folder = run.runs_root / "supervised" / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return SupervisedSearch(spec, data, {"train": train.digest, "test": test.digest}, folder)


def describe(spec: SupervisedSpec, run: Run) -> list[str]:
    """Return a line that says what a long run would do."""
    return [f"{spec.method}: {spec.epochs} epochs each, {spec.protocol}, on {run.device}"]


def network(arch: gan.Architecture, classes: int, trial: evaluation.Trial, generator: torch.Generator) -> nn.Module:
    """Make the network: the discriminator's stages, dropout, and a linear layer to `classes` logits.

    Its weights are initialised as in a DCGAN.
    """
    stages = gan.Discriminator(arch)
    parts = OrderedDict[str, nn.Module]((name, stages.get_submodule(name)) for name in arch.stage_names)
    parts["flatten"], parts["dropout"] = nn.Flatten(), nn.Dropout(trial.dropout)
    parts["logits"] = nn.Linear(arch.stage_channels[-1] * 4 * 4, classes)
    whole = nn.Sequential(parts)
    gan.initialise(whole, generator)
    return whole


def _read(file: Path, best: float, run: Run) -> Kept | None:
    """Read a stored trial; None if there is none. A damaged file gives a message and None.

    best: the highest validation accuracy of the trials before; the file of a better trial must hold its network.
    """
    try:
        arrays, header = kept.read(file)
        weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
        found = Kept(**header, weights=weights)
        if found.validation_accuracy > best and not weights:
            raise ValueError("its network is missing")
        return found
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        run.say(f"running a trial again: {file} is damaged ({error})")
        return None

"""The supervised row of the SVHN table: a network of a discriminator's architecture, trained with the labels alone.

PAPER, section 5.2: hyper-parameters by random search over 64 trials. Training images held out choose among the trials;
the best network is scored once on the test images. The paper's 28.87 % is the error on what chooses, which the record
holds beside the test error.

Every finished trial stays in a file of its own below RUNS_ROOT/supervised: its accuracies, and its network where it was
the best so far. So a stop costs one trial, and a longer search begins with the trials of a shorter one.
"""

import dataclasses
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

import evaluation
import gan
import results
from experiments.data import load as datasets
from experiments.measure.protocols import SUPERVISED, Protocol, check_images
from experiments.measure.svm import figure, outcomes
from experiments.networks.backbones import architecture
from experiments.run.circumstances import circumstances, timed
from experiments.run.context import ROOT, Run
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from experiments.run.progress import silent

PREFIX = "supervised:"
VERSION = 1  # raised when a trial gives another network than before
HEADER = "dcgan-eval"  # the one entry of a file's metadata


@dataclass(frozen=True)
class SupervisedSpec:
    """Everything that decides the figure, apart from data and code."""

    network: str  # PRESET[,width=N,...], as in random:
    protocol: str
    trials: int = 64  # the paper's
    epochs: int = 40  # a rate of 1e-3 has every training image right after half of them, 1e-4 nears 97 %
    seed: int = 0  # of the hold-out, the labels and the trials
    space: evaluation.Space = field(default_factory=evaluation.Space)

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}")
        try:
            architecture(self.network)
        except ValueError as error:
            raise UserError(f"{PREFIX}{self.network}: {error}") from error

    @property
    def rules(self) -> Protocol:
        """The protocol's own settings."""
        return SUPERVISED[self.protocol]

    @property
    def method(self) -> str:
        """The method column: the best of other numbers of trials is another method."""
        return f"supervised CNN {architecture(self.network)[1]}, best of {self.trials} trials"


@dataclass(frozen=True)
class Prepared:
    """What a run rests on, loaded and checked before any long work."""

    spec: SupervisedSpec
    data: evaluation.SupervisedData  # the training images, then the test images
    inputs: dict[str, str]  # digests
    folder: Path  # of its trials
    device: torch.device


@dataclass(frozen=True)
class Kept:
    """What stays of a trial. weights: the network's state dict, empty where an earlier trial was as good."""

    train_accuracy: float
    validation_accuracy: float
    seconds: float
    weights: dict[str, Tensor]


def prepare(
    spec: SupervisedSpec,
    *,
    data_root: Path,
    runs_root: Path,
    device: torch.device | str = "cpu",
    progress: datasets.Progress | None = None,
) -> Prepared:
    """Loads both parts and draws who trains and who chooses. Raises UserError for what cannot be had."""
    load = partial(datasets.load, run=Run(data_root, runs_root, progress=progress or silent))
    train, test = (load(f"{spec.rules.data}-{split}") for split in ("train", "test"))
    if train.labels is None or test.labels is None:
        raise UserError(f"{spec.rules.data} has no labels")
    check_images(spec.protocol, len(train.images), len(test.images), SUPERVISED)
    arch, _ = architecture(spec.network)
    height, width, channels = train.images.shape[1:]
    if arch.image_shape != (channels, height, width):
        raise UserError(
            f"{PREFIX}{spec.network} takes {arch.image_shape}, {train.name} has {(channels, height, width)}"
        )
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
    device = torch.device(device)
    key = dataclasses.asdict(dataclasses.replace(spec, trials=1)) | {"architecture": dataclasses.asdict(arch)}
    key |= {"version": VERSION, "data": train.digest, "torch": torch.__version__, "device": device.type}
    folder = runs_root / "supervised" / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return Prepared(spec, data, {"train": train.digest, "test": test.digest}, folder, device)


def network(arch: gan.Architecture, classes: int, trial: evaluation.Trial, generator: torch.Generator) -> nn.Module:
    """The discriminator's stages as they are, dropout, and a linear layer to `classes` logits; drawn as a DCGAN's."""
    stages = gan.Discriminator(arch)
    parts = OrderedDict[str, nn.Module]((name, stages.get_submodule(name)) for name in arch.stage_names)
    parts["flatten"], parts["dropout"] = nn.Flatten(), nn.Dropout(trial.dropout)
    parts["logits"] = nn.Linear(arch.stage_channels[-1] * 4 * 4, classes)
    whole = nn.Sequential(parts)
    gan.initialise(whole, generator)
    return whole


def identity(prepared: Prepared, roots: dict[str, Path]) -> tuple[dict, dict[str, str]]:
    """(resolved spec, digests of the inputs): runs that agree in both measure the same figure."""
    source = results.source_digest([ROOT / name for name in ("gan", "evaluation", "experiments")])
    return results.portable(dataclasses.asdict(prepared.spec), roots), prepared.inputs | {"source": source}


def measure(
    prepared: Prepared,
    *,
    command: list[str],
    roots: dict[str, Path],
    say: Callable[[str], None],
    progress: Callable[..., Iterable] | None = None,
) -> results.Record:
    """Runs the trials that are not kept yet, scores the best network, of equals the first, on the test images."""
    spec, data, started = prepared.spec, prepared.data, results.utc_now()
    drawn = evaluation.draw_trials(spec.trials, seed=spec.seed, space=spec.space)
    done = list(_trials(prepared, drawn, say, progress))
    best = max(range(spec.trials), key=lambda i: done[i].validation_accuracy)
    seconds = {"search": sum(kept.seconds for kept in done)}
    arch, _ = architecture(spec.network)
    with timed(seconds, "score"):
        chosen = network(arch, len(data.classes), drawn[best], torch.Generator()).to(prepared.device)
        chosen.load_state_dict(done[best].weights)
        right = data.right(chosen, data.test)
    tried = [
        dataclasses.asdict(trial) | {"train_accuracy": kept.train_accuracy, "accuracy": kept.validation_accuracy}
        for trial, kept in zip(drawn, done, strict=True)
    ]
    selection = {
        "trials": spec.trials,
        "best": best,  # from 0
        "validation_error_percent": 100 - 100 * done[best].validation_accuracy,
        "holdout": len(data.validation),
        "scored on": "held-out training images",
        "tried": tried,
    }
    resolved, inputs = identity(prepared, roots)
    return results.Record(
        run_id=results.run_id(resolved, inputs, started),
        table=spec.rules.table,
        method=spec.method,
        protocol=spec.protocol,
        metric=spec.rules.metric,
        n_runs=1,
        **figure(right[None], spec.rules),
        max_units=max(arch.stage_channels),
        command=results.portable(command, roots),
        spec=resolved,
        seed=spec.seed,
        inputs=inputs,
        selection=selection,
        solver={"trained on": len(data.train), **tried[best]},
        outcomes=outcomes(data.train[None], right[None], data.labels[data.test]),
        **circumstances(ROOT, prepared.device, seconds),
        started=started,
    )


def _trials(
    prepared: Prepared,
    drawn: tuple[evaluation.Trial, ...],
    say: Callable[[str], None],
    progress: Callable[..., Iterable] | None,
) -> Iterator[Kept]:
    """Every trial in order, from its file where that is whole."""
    spec, data = prepared.spec, prepared.data
    arch, _ = architecture(spec.network)
    files = [prepared.folder / f"trial-{number:04d}.safetensors" for number in range(len(drawn))]
    before = next((number for number, file in enumerate(files) if not file.exists()), len(files))
    if before:
        say(f"{before} of {len(files)} trials are at hand ({prepared.folder})")
    prepared.folder.mkdir(parents=True, exist_ok=True)
    left: Iterable[int] = range(before, len(files))
    if progress is not None:
        left = progress(left, total=len(files), desc="random search", unit="trial", done=before)
    best = -1.0
    for number in chain(range(before), left):
        trial, kept = drawn[number], _read(files[number], best, say)
        if kept is None:
            start = time.monotonic()
            made = partial(network, arch, len(data.classes))
            found = evaluation.run_trial(data, trial, made, epochs=spec.epochs, device=prepared.device)
            scores = found.train_accuracy, found.validation_accuracy
            weights = found.network.state_dict() if found.validation_accuracy > best else {}
            kept = Kept(*scores, round(time.monotonic() - start, 1), {k: t.cpu() for k, t in weights.items()})
            _write(files[number], kept)
            say(
                f"trial {number + 1}: {100 - 100 * scores[1]:.2f} % error on {len(data.validation):,} held-out images, "
                f"{100 - 100 * scores[0]:.2f} % on {len(data.train):,} trained on, {kept.seconds:.0f} s "
                f"(lr {trial.lr:.1e}, weight decay {trial.weight_decay:.1e}, dropout {trial.dropout:.2f}, "
                f"beta1 {trial.beta1:g}, batches of {trial.batch_size})"
            )
        best = max(best, kept.validation_accuracy)
        yield kept


def _write(file: Path, kept: Kept) -> None:
    header = {name: getattr(kept, name) for name in ("train_accuracy", "validation_accuracy", "seconds")}
    text = json.dumps(header | {"digest": _digest(header, kept.weights)})
    write_bytes(file, safetensors.torch.save(kept.weights, {HEADER: text}))


def _read(file: Path, best: float, say: Callable[[str], None]) -> Kept | None:
    """What `_write` wrote; None where there is none and, which is said, where it is not whole.

    best: the highest validation accuracy of the trials before, above which a network must be there.
    """
    if not file.exists():
        return None
    try:
        with safetensors.safe_open(file, "pt") as opened:
            header = json.loads(opened.metadata()[HEADER])
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if header.pop("digest") != _digest(header, weights):
            raise ValueError("not what its digest says")
        kept = Kept(**header, weights=weights)
        if kept.validation_accuracy > best and not weights:
            raise ValueError("it lacks its network")
        return kept
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        say(f"running a trial again: {file} is damaged ({error})")
        return None


def _digest(header: dict[str, Any], weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()

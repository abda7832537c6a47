"""Measure a network's rows of a table: load a labelled set, extract features, choose C, fit, score once.

Paper sections 5.1 and 5.2, and the authors' feature code. C is chosen on training images; the test images are scored
once, at the end. For CIFAR-10, this one scoring answers several rows: all test images, the test images that the network
was not trained on, and those without a near-duplicate among CIFAR-10's own training images.
"""

import errno
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

import evaluation
import features
from experiments.measure.classify import CLASSIFIER, Split, all_labels, few_labels, outcomes, scored, standardised
from experiments.measure.extraction import Extraction, rows_of
from experiments.measure.labelled_images import (
    BATCH,
    Labelled,
    batchnorm_key,
    calibration_rows,
    check_subset,
    choice_rows,
    leaked_rows,
    load_labelled,
    of_contender,
    rows_digest,
)
from experiments.measure.measurement import ADDED, Figure, Measurement
from experiments.measure.protocols import (
    BATCHNORM,
    MIRRORED,
    PROTOCOLS,
    STORES,
    SUBSET,
    WITHOUT_LEAKED,
    Protocol,
    check_images,
)
from experiments.networks.contender import Contender
from experiments.networks.kinds import QUICK, SHIPPED
from experiments.networks.resolve import runnable
from experiments.run.console import size as in_bytes
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError, one_line
from experiments.run.torchrun import refuse_several

PROTOCOL = "cifar10/full"
LARGE = 1e9  # bytes of features; a plan for more says how to need less


@dataclass(frozen=True)
class EvalSpec:
    """Everything that decides a figure, apart from data, weights and code."""

    backbone: str
    layers: tuple[str, ...] | None = None
    batchnorm: str = BATCHNORM[0]
    calibration_batches: int = 80  # the authors' statistics settle with fewer
    grid: tuple[float, ...] | None = None  # values of C to choose from; the protocol's if None
    seed: int = 0  # for the hold-out, the calibration images and random: weights
    subset: int | None = None  # training images in a trial run; it has its own protocol, and is never a committed row
    protocol: str = PROTOCOL
    classifier: str = "l2-svm"
    mirrored: bool = field(default=False, metadata=ADDED)  # means over an image and its mirror image
    store: str = field(default=STORES[0], metadata=ADDED)  # the type in which features are kept

    def __post_init__(self) -> None:
        if self.batchnorm not in BATCHNORM:
            raise ValueError(f"batchnorm must be one of {', '.join(BATCHNORM)}, got {self.batchnorm!r}")
        if self.store not in STORES:
            raise ValueError(f"store must be one of {', '.join(STORES)}, got {self.store!r}")
        if self.grid is None:
            grid = CLASSIFIER[self.classifier].grid or self.rules.grid or evaluation.DEFAULT_GRID
            object.__setattr__(self, "grid", grid)
        if not self.grid or not all(0 < C < math.inf for C in self.grid):
            raise ValueError(f"every C must be positive and finite, got {list(self.grid or ())}")
        if self.classifier != "l2-svm" and self.rules.few is None:
            raise ValueError(f"{self.classifier} needs a protocol with few labels, got {self.protocol}")
        if self.subset is not None and self.protocol != PROTOCOL:
            raise ValueError(f"only {PROTOCOL} takes a subset; leave --subset out of {self.protocol}")
        if self.subset is not None:
            check_subset(self.subset, 5 * BATCH, self.rules.images)

    @property
    def rules(self) -> Protocol:
        """The protocol's own settings."""
        return PROTOCOLS[self.protocol]

    @property
    def column(self) -> str:
        """The text of the protocol column; deviations from the paper's protocol have names of their own."""
        whole = self.protocol if self.subset is None else f"{SUBSET}{self.subset}"
        other = "" if self.batchnorm == BATCHNORM[0] else f"-batchnorm-{self.batchnorm}"
        return whole + other + MIRRORED * self.mirrored

    @property
    def rows(self) -> list[str]:
        """The protocols of the figures, as far as they are known before data are loaded."""
        return [self.column]

    @property
    def held_out(self) -> int:
        """Number of training images on which C is chosen; a fifth of a subset."""
        return self.rules.holdout if self.subset is None else self.subset // 5


@dataclass(frozen=True)
class FeatureClassification(Measurement):
    """A classifier on a network's features, for `measurement.recorded`; see `prepare`."""

    spec: EvalSpec
    contender: Contender
    train: Labelled
    test: Labelled
    shown: np.ndarray  # indices of the training images that calibrate batch norm; held-out images are not among them
    holdout: np.ndarray  # indices of the training images on which C is chosen
    choice: np.ndarray | None  # indices of the training images that choose C, those held out among them; None for all
    keys: tuple[dict[str, Any], dict[str, Any]]  # of the training and the test features, taken before calibration
    leaked: dict[str, np.ndarray]  # protocol -> indices of the test images that it leaves out

    @property
    def protocols(self) -> list[str]:
        """The protocol of the whole test set, for each metric, then those that leave images out."""
        return [*(self.spec.column for _ in self.spec.rules.metrics), *self.leaked]

    @property
    def inputs(self) -> dict[str, str]:
        """Digests of both parts, the weights, the features' keys and the rows that are left out."""
        keys = hashlib.sha256(json.dumps(self.keys, sort_keys=True).encode()).hexdigest()
        inputs = {"train": self.train.digest, "test": self.test.digest, "weights": self.contender.weights}
        left_out = {f"left out of {protocol}": rows_digest(rows) for protocol, rows in self.leaked.items()}
        return inputs | {"features": keys} | left_out

    def measure(self, run: Run) -> list[Figure]:
        """Extract, choose, fit, and score the test images once."""
        spec, backbone, rules, seconds = self.spec, self.contender.backbone, self.spec.rules, dict[str, float]()
        with timed(seconds, "extract"):
            X_train, X_test = self._features(run)
        max_units = features.max_units(backbone)
        run.say(f"features: {X_train.shape[1]:,} an image from {', '.join(backbone.layers)}")
        backbone.model.cpu()
        y, y_test = self.train.labels, self.test.labels
        split = Split(X_train, y, X_test, y_test, self.holdout, self.choice, rows_of(len(y)), rows_of(len(y_test)))
        with timed(seconds, "classify"):
            if rules.few is None:
                answer = all_labels(split, spec.grid or (), run)
            else:
                answer = few_labels(split, spec.grid or (), rules.few, spec.seed, run, CLASSIFIER[spec.classifier])
        whole = Figure(
            method=method(self.contender, spec),
            protocol=spec.column,
            metric=rules.metric,
            n_runs=len(answer.right),
            **scored(answer.right, rules),
            features=X_train.shape[1],
            max_units=max_units,
            selection=answer.selection | ({"removed": self.train.removed} if self.train.removed else {}),
            solver=answer.solver,
            outcomes=outcomes(answer.drawn, answer.right, split.y_test),
            seconds=seconds,
        )
        also = [
            replace(whole, metric=metric, outcomes={}, **scored(answer.top5[None], rules))
            for metric in rules.metrics[1:]
            if answer.top5 is not None
        ]
        return [whole, *also] + [
            replace(whole, protocol=protocol, outcomes={}, **scored(np.delete(answer.right, left_out, axis=1), rules))
            for protocol, left_out in self.leaked.items()
        ]

    def _features(self, run: Run) -> Sequence[np.ndarray | Tensor]:
        """Return this process's rows of the training and the test features, [N, D], as they are classified."""
        if self.contender.standardised:
            return standardised(*extract_features(self, run))
        with _room_explained(self.spec):
            return extraction(self).for_classifier(run, len(np.unique(self.train.labels)))


def prepare(
    spec: EvalSpec, run: Run, *, contender: Contender | None = None, parts: tuple[Labelled, Labelled] | None = None
) -> FeatureClassification:
    """Load both parts and the network, and draw the hold-out. Raises UserError if one cannot be loaded.

    contender: the network, on the run's device, if it is there already; else it is the one that spec.backbone names.
    parts: the training and the test images, if they are no named set.
    """
    if spec.classifier != "l2-svm" or spec.backbone.startswith("kmeans:"):  # before it is learned
        refuse_several("k-means" if spec.classifier == "l2-svm" else CLASSIFIER[spec.classifier].name)
    if contender is None:
        contender = runnable(spec.backbone, run, layers=spec.layers, seed=spec.seed, data=spec.rules.data)
    spec = replace(spec, protocol=of_contender(spec.protocol, contender, run))
    for note in contender.notes:
        run.say(f"note: {note}")
    train, test = parts or _load(spec, run)
    rows, held = choice_rows(train.labels, spec.rules, spec.held_out, spec.seed)
    fit = np.setdiff1d(np.arange(len(train.labels)), held)
    shown = calibration_rows(fit, spec.calibration_batches, spec.seed)
    norm = batchnorm_key(spec.batchnorm, train.digest, shown)
    how: dict[str, Any] = {"pool": contender.pool, "mirrored": spec.mirrored, "device": run.device}
    key = partial(features.feature_key, contender.backbone, batchnorm=norm, **how)
    keys = key(data_digest=train.digest), key(data_digest=test.digest)
    leaked = leaked_rows(contender, train, test, run) if spec.column == PROTOCOL else {}
    if spec.column == PROTOCOL and WITHOUT_LEAKED not in leaked:
        run.say("no audit says which test images it was trained on, so that row is left out (see dcgan-eval dedup)")
    choice = rows if spec.rules.choice else None
    return FeatureClassification(spec, contender, train, test, shown, held, choice, keys, leaked)


def _load(spec: EvalSpec, run: Run) -> tuple[Labelled, Labelled]:
    """Load the training and the test images of the protocol, or their subsets."""
    train, test = (load_labelled(part, run) for part in spec.rules.parts)
    if train.removed:
        run.say(f"{train.removed:,} training images are left out: near-duplicates of test images")
    if spec.subset is None:
        check_images(spec.protocol, len(train.images) + train.removed, len(test.images))
        return train, test
    return train.subset(spec.subset, spec.seed), test.subset(spec.subset // 5, spec.seed)


def extract_features(measurement: FeatureClassification, run: Run) -> list[np.ndarray]:
    """Extract the features of the training and the test images, and store them: [N, D], memory maps.

    Raises UserError if the disk is too full.
    """
    with _room_explained(measurement.spec):
        return extraction(measurement).stored(run)


def extraction(measurement: FeatureClassification) -> Extraction:
    """Return the extraction of the features of the training and the test images."""
    spec, contender, train = measurement.spec, measurement.contender, measurement.train
    return Extraction(
        contender.backbone,
        contender.pool,
        [train.images, measurement.test.images],
        measurement.keys,
        lambda: train.images[measurement.shown],
        spec.mirrored,
        spec.store,
    )


@contextmanager
def _room_explained(spec: EvalSpec) -> Iterator[None]:
    """Turn the error of a full disk within the block into a UserError that says how to need less."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(f"{one_line(error)}{_less(spec)}") from error


def _less(spec: EvalSpec) -> str:
    """Say how to need less space for the features; nothing if there is no way."""
    full = spec.backbone in SHIPPED and spec.backbone != QUICK and spec.rules.table == PROTOCOLS[PROTOCOL].table
    ways = ["--store float16"] if spec.store == STORES[0] else []
    ways += [f"BACKBONE={QUICK}, which also takes less memory"] if full else []
    return f"; half is enough with {' or '.join(ways)}" if ways else ""


def describe(spec: EvalSpec, run: Run) -> list[str]:
    """Return lines that say what a long run would do and need."""
    contender = runnable(spec.backbone, run, layers=spec.layers, seed=spec.seed, data=None)
    spec = replace(spec, protocol=of_contender(spec.protocol, contender, run))
    width = features.feature_width(contender.backbone, pool=contender.pool)
    images = spec.rules.images + spec.rules.tested if spec.subset is None else spec.subset + spec.subset // 5
    size = images * width * np.dtype(spec.store).itemsize
    parent = next(p for p in (run.runs_root.resolve(), *run.runs_root.resolve().parents) if p.exists())
    where = f"{spec.held_out:,} held-out training images" if spec.held_out else "folds of the training images"
    where += f", after fits of {rules.choice - spec.held_out:,} others" if (rules := spec.rules).choice else ""
    layers, values = ", ".join(contender.backbone.layers), ", ".join(f"{C:g}" for C in spec.grid or ())
    unless = "" if run.device.type == "cpu" else ", unless they fit into the GPU's memory"
    return [
        f"{method(contender, spec)}: layers {layers}, {width:,} features, {spec.column}",
        f"features: {in_bytes(size)} ({spec.store}) under {run.runs_root / 'features'} "
        f"({shutil.disk_usage(parent).free / 1e9:.0f} GB free){unless}{_less(spec) if size > LARGE else ''}",
        f"{CLASSIFIER[spec.classifier].setting} from {values} on {where}",
    ]


def method(contender: Contender, spec: EvalSpec) -> str:
    """Name the method for the table. The name of a k-nearest-neighbour row begins with k-nn, as a control."""
    name = CLASSIFIER[spec.classifier].name
    return f"{contender.name} + {name}" if spec.classifier == "l2-svm" else f"{name}, {contender.name}"

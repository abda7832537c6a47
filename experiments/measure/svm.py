"""One network's rows of a table, measured: labelled set -> features -> C chosen -> fit -> scored once.

PAPER sections 5.1 and 5.2 and the authors' feature code: batch norm calibrated on training images, every layer
max-pooled to 4x4, an L2-SVM on top. C is chosen on training images; the test images are scored once, at the end. That
one scoring answers several rows of CIFAR-10: all test images, those that the network was not trained on, those that do
not occur among CIFAR-10's own training images.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import evaluation
import features
import results
from experiments.data import load as datasets
from experiments.data.leakage import find_audit
from experiments.measure.classify import CLASSIFIERS, Split, all_labels, few_labels, standardised
from experiments.measure.protocols import PROTOCOLS, Protocol, check_images
from experiments.networks.backbones import NOTHING, Contender, resolve
from experiments.networks.kmeans import learned
from experiments.run.circumstances import circumstances, timed
from experiments.run.context import ROOT, Run
from experiments.run.errors import UserError
from experiments.run.progress import silent

BATCH = 128  # images a batch, in calibration as in extraction (the authors' code)
MODES = ("calibrated", "running", "batch")
PROTOCOL = "cifar10/full"
LEAKAGE = ROOT / "results" / "leakage"
WITHOUT_LEAKED = "cifar10/full-without-leaked"
WITHOUT_TRAIN = "cifar10/full-without-train-duplicates"


@dataclass(frozen=True)
class EvalSpec:
    """Everything that decides a figure, apart from data, weights and code."""

    backbone: str
    layers: tuple[str, ...] | None = None
    batchnorm: str = "calibrated"
    calibration_batches: int = 80  # the authors' statistics settle well before
    grid: tuple[float, ...] | None = None  # values of C to choose from; the protocol's where None
    seed: int = 0  # of the hold-out, the calibration images and random: weights
    subset: int | None = None  # training images used, for a trial run: its own protocol, never a committed row
    protocol: str = PROTOCOL
    classifier: str = "l2-svm"

    def __post_init__(self) -> None:
        if self.batchnorm not in MODES:
            raise ValueError(f"batchnorm must be one of {', '.join(MODES)}, got {self.batchnorm!r}")
        if self.grid is None:
            object.__setattr__(self, "grid", CLASSIFIERS[self.classifier].grid or self.rules.grid)
        if not self.grid or not all(0 < C < math.inf for C in self.grid):
            raise ValueError(f"every C must be positive and finite, got {list(self.grid or ())}")
        if self.classifier != "l2-svm" and self.rules.few is None:
            raise ValueError(f"{self.classifier} is measured with few labels alone, not by {self.protocol}")
        if self.subset is not None and self.protocol != PROTOCOL:
            raise ValueError(f"a subset is taken by {PROTOCOL} alone; leave --subset out of {self.protocol}")
        if self.subset is not None and self.subset < 5 * BATCH:
            raise ValueError(f"subset must be at least {5 * BATCH} images, got {self.subset}")

    @property
    def rules(self) -> Protocol:
        """The protocol's own settings."""
        return PROTOCOLS[self.protocol]

    @property
    def column(self) -> str:
        """The protocol column; what is not the paper's way has a name of its own."""
        other = "" if self.batchnorm == "calibrated" else f"-batchnorm-{self.batchnorm}"
        return (self.protocol if self.subset is None else f"cifar10/subset-{self.subset}") + other

    @property
    def held_out(self) -> int:
        """Training images on which C is chosen; a fifth of a subset."""
        return self.rules.holdout if self.subset is None else self.subset // 5


@dataclass(frozen=True)
class Labelled:
    """Images uint8 [N, H, W, C], labels int64 [N] and a digest of exactly these."""

    images: np.ndarray
    labels: np.ndarray
    digest: str


@dataclass(frozen=True)
class Prepared:
    """What a run rests on, loaded and checked before any long work."""

    spec: EvalSpec
    contender: Contender
    train: Labelled
    test: Labelled
    shown: np.ndarray  # indices of the training images that calibrate batch norm: none held out
    holdout: np.ndarray  # indices of those on which C is chosen
    device: torch.device
    keys: tuple[dict[str, Any], dict[str, Any]]  # of the training and the test features, before calibration
    leaked: dict[str, np.ndarray]  # protocol -> indices of the test images that it leaves out


def prepare(
    spec: EvalSpec,
    *,
    data_root: Path,
    runs_root: Path,
    device: torch.device | str = "cpu",
    progress: datasets.Progress | None = None,
) -> Prepared:
    """Loads both splits and the backbone and draws the hold-out. Raises UserError for what cannot be had."""
    load = partial(datasets.load, run=Run(data_root, runs_root, progress=progress or silent))
    kmeans = partial(learned, images=lambda: load(f"{spec.rules.data}-train"), runs_root=runs_root, progress=progress)
    contender = resolve(spec.backbone, layers=spec.layers, seed=spec.seed, kmeans=kmeans)
    contender.backbone.model.to(device)
    try:
        features.layer_shapes(contender.backbone)
    except ValueError as error:
        raise UserError(f"backbone {spec.backbone!r}: {error}; dcgan-eval check names the fix") from error
    train, test = (_labelled(load(f"{spec.rules.data}-{split}")) for split in ("train", "test"))
    if spec.subset is None:
        check_images(spec.protocol, len(train.images), len(test.images))
    else:
        train, test = _subset(train, spec.subset, spec.seed), _subset(test, spec.subset // 5, spec.seed)
    fit, held = np.arange(len(train.labels)), np.empty(0, np.int64)
    if spec.held_out:
        fit, held = evaluation.stratified_holdout(train.labels, spec.held_out, seed=spec.seed)
    shown = np.random.default_rng(spec.seed).permutation(fit)[: BATCH * spec.calibration_batches]
    shown = np.sort(shown[: len(shown) // BATCH * BATCH])
    norm: dict[str, Any] = {"mode": spec.batchnorm}
    if spec.batchnorm == "calibrated":
        norm |= {"data": train.digest, "rows": _digest(shown), "batch_size": BATCH}
    elif spec.batchnorm == "batch":
        norm |= {"batch_size": BATCH}
    key = partial(features.feature_key, contender.backbone, batchnorm=norm, pool=contender.pool, device=device)
    keys = key(data_digest=train.digest), key(data_digest=test.digest)
    leaked = _leaked(contender, train, test, runs_root) if spec.column == PROTOCOL else {}
    return Prepared(spec, contender, train, test, shown, held, torch.device(device), keys, leaked)


def _leaked(contender: Contender, train: Labelled, test: Labelled, runs_root: Path) -> dict[str, np.ndarray]:
    """Protocol -> test images left out, for every set that an audit is at hand of."""
    leaked = {}
    for protocol, against in ((WITHOUT_LEAKED, contender.trained_on), (WITHOUT_TRAIN, train.digest)):
        if against == NOTHING:
            leaked[protocol] = np.empty(0, np.int64)
        elif against is not None and (found := find_audit([LEAKAGE, runs_root / "leakage"], test.digest, against)):
            if found.leaked.max(initial=-1) >= len(test.images):
                raise UserError(
                    f"the audit of {found.images['name']} names images beyond it; delete it and make it again"
                )
            leaked[protocol] = found.leaked
    return leaked


def evaluate(
    prepared: Prepared,
    *,
    runs_root: Path,
    command: list[str],
    say: Callable[[str], None],
    progress: datasets.Progress | None = None,
    roots: dict[str, Path],
) -> list[results.Record]:
    """Measures the network and returns its records: the whole test set's, then one a protocol that leaves images out.

    `roots` names the folders that may not appear in them.
    """
    spec, contender, device, started = prepared.spec, prepared.contender, prepared.device, results.utc_now()
    seconds: dict[str, float] = {}
    with timed(seconds, "extract"):
        X_train, X_test = extract_features(prepared, runs_root=runs_root, say=say, progress=progress)
    backbone = contender.backbone
    max_units = features.max_units(backbone)
    say(f"features: {X_train.shape[1]:,} an image from {', '.join(backbone.layers)}")
    backbone.model.cpu()
    if contender.standardised:
        X_train, X_test = standardised(X_train, X_test)
    split = Split(X_train, prepared.train.labels, X_test, prepared.test.labels, prepared.holdout)
    rules, grid = spec.rules, spec.grid or ()
    with timed(seconds, "classify"):
        if rules.few is None:
            answer = all_labels(split, grid, device=device, say=say, progress=progress)
        else:
            by = CLASSIFIERS[spec.classifier]
            answer = few_labels(
                split, grid, rules.few, spec.seed, classifier=by, device=device, say=say, progress=progress
            )
    resolved, inputs = identity(prepared, roots)
    whole = results.Record(
        run_id=results.run_id(resolved, inputs, started),
        table=rules.table,
        method=method(contender, spec),
        protocol=spec.column,
        metric=rules.metric,
        n_runs=len(answer.right),
        **figure(answer.right, rules),
        features=X_train.shape[1],
        max_units=max_units,
        command=results.portable(command, roots),
        spec=resolved,
        seed=spec.seed,
        inputs=inputs,
        selection=answer.selection,
        solver=answer.solver,
        outcomes=outcomes(answer.drawn, answer.right, split.y_test),
        **circumstances(ROOT, device, seconds),
        started=started,
    )
    return [whole] + [
        dataclasses.replace(
            whole, protocol=protocol, outcomes={}, **figure(np.delete(answer.right, leaked, axis=1), rules)
        )
        for protocol, leaked in prepared.leaked.items()
    ]


def figure(right: np.ndarray, rules: Protocol) -> dict[str, Any]:
    """Value, error bar over draws and test images of a record, from what was right: bool [R, m]."""
    accuracy = 100 * right.mean(1)
    percent = accuracy if rules.metric == "accuracy_percent" else 100 - accuracy
    figure = {"value": float(percent.mean()), "n_test": right.shape[1]}
    if len(right) > 1:
        sd = float(percent.std(ddof=1))
        figure |= {"error_bar": 1.96 * sd if rules.bar == "1.96sd" else sd, "error_bar_kind": rules.bar}
    return figure


def outcomes(drawn: np.ndarray, right: np.ndarray, y_test: np.ndarray) -> dict[str, Any]:
    """What paired tests compare: which labels were used, and which test images were right, in hexadecimal.

    drawn: int64 [R, n], the labelled rows of each draw; right: bool [R, m]; y_test: [m]. In the record stands `right`:
    bits, of one fit; or, of R <= 255 draws, `right_draws`: how many gave each image its label, a byte each;
    `accuracy_percent` of each draw; `class_accuracy_percent`: that of each class in ascending order, a list a draw.
    """
    labels = {"labels": _digest(drawn)}
    if len(right) == 1:
        return labels | {"right": np.packbits(right[0]).tobytes().hex()}
    by_class = np.stack([right[:, y_test == c].mean(1) for c in np.unique(y_test)], axis=1)
    return labels | {
        "right_draws": right.sum(0).astype(np.uint8).tobytes().hex(),
        "accuracy_percent": (100 * right.mean(1)).round(4).tolist(),
        "class_accuracy_percent": (100 * by_class).round(2).tolist(),
    }


def method(contender: Contender, spec: EvalSpec) -> str:
    """The method column; neighbours' rows begin with their name, as controls do."""
    name = CLASSIFIERS[spec.classifier].name
    return f"{contender.name} + {name}" if spec.classifier == "l2-svm" else f"{name}, {contender.name}"


def identity(prepared: Prepared, roots: dict[str, Path]) -> tuple[dict, dict[str, str]]:
    """(resolved spec, digests of the inputs): runs that agree in both measure the same figure."""
    resolved = results.portable(dataclasses.asdict(prepared.spec), roots)
    packages = [ROOT / name for name in ("gan", "features", "evaluation", "experiments")]
    inputs = {
        "train": prepared.train.digest,
        "test": prepared.test.digest,
        "weights": prepared.contender.weights,
        "features": hashlib.sha256(json.dumps(prepared.keys, sort_keys=True).encode()).hexdigest(),
        "source": results.source_digest(packages),
    }
    inputs |= {f"left out of {protocol}": _digest(rows) for protocol, rows in prepared.leaked.items()}
    return resolved, inputs


def extract_features(
    prepared: Prepared,
    *,
    runs_root: Path,
    say: Callable[[str], None],
    progress: datasets.Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Features of both splits, float32 [N, D] memory maps below RUNS_ROOT/features: kept, resumed, verified."""
    spec, pool, device = prepared.spec, prepared.contender.pool, prepared.device
    backbone = prepared.contender.backbone
    width = features.feature_width(backbone, pool=pool)
    splits = prepared.train, prepared.test
    stores = [
        features.FeatureStore(runs_root / "features", key, rows=len(split.images), width=width, progress=progress)
        for split, key in zip(splits, prepared.keys, strict=True)
    ]
    for store in stores:
        if store.rejected:
            say(f"{store.rejected} damaged chunks of stored features are computed again ({store.folder})")
    if not all(store.complete for store in stores) and spec.batchnorm == "calibrated":
        images = prepared.train.images[prepared.shown]
        features.calibrate_batchnorm(backbone, images, batch_size=BATCH, device=device, progress=progress)
    with features.batch_statistics(backbone.model) if spec.batchnorm == "batch" else nullcontext():
        X_train, X_test = (
            features.extract(
                backbone, split.images, pool=pool, batch_size=BATCH, device=device, out=store, progress=progress
            )
            for split, store in zip(splits, stores, strict=True)
        )
    return X_train, X_test


def _labelled(packed: datasets.PackedSet) -> Labelled:
    if packed.labels is None:
        raise UserError(f"{packed.name} has no labels")
    return Labelled(packed.images, packed.labels, packed.digest)


def _subset(split: Labelled, size: int, seed: int) -> Labelled:
    """A seeded, stratified part of a split, in its order."""
    if size >= len(split.labels):
        raise UserError(f"a subset must be smaller than the set of {len(split.labels)}, got {size}")
    _, rows = evaluation.stratified_holdout(split.labels, size, seed=seed)
    digest = hashlib.sha256(f"{split.digest} {_digest(rows)}".encode()).hexdigest()
    return Labelled(split.images[rows], split.labels[rows], digest)


def _digest(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows, np.int64).tobytes()).hexdigest()

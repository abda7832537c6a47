"""Ablation: a network's CIFAR-10 accuracy with one choice of the protocol varied at a time.

Only training images are used: a fifth of them is held out and scored, C is chosen on another fifth, and the test images
are never loaded. The images pass through the network once for each mode of batch norm. The maps are pooled so that the
features of every variant can be computed from what is stored (features.NestedGrids).
"""

import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import evaluation
import features
import results
from experiments.measure.classify import Split, all_labels
from experiments.measure.extraction import Extraction
from experiments.measure.labelled_images import (
    BATCH,
    Labelled,
    batchnorm_key,
    calibration_rows,
    check_subset,
    load_labelled,
    subset_rows,
)
from experiments.measure.measurement import Figure, Measurement, identity
from experiments.measure.protocols import ABLATION, PROTOCOLS
from experiments.measure.variants import CALIBRATED, PAPER, RUNNING, Variant, finest_grid, stored_pool, variants
from experiments.networks.contender import Contender
from experiments.networks.resolve import runnable
from experiments.run import kept
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError
from results.figures import bar_plot

PROTOCOL = "cifar10/ablation"
DATA = "cifar10-train"
SHARE = 5  # one image in five is scored; C is chosen on as many others
ROWS = 1024  # rows of stored features handled at once


@dataclass(frozen=True)
class AblationSpec:
    """Everything that decides the figures, apart from data, weights and code."""

    backbone: str
    layers: tuple[str, ...] | None = None
    subset: int | None = None  # number of training images used; None for all
    seed: int = 0  # for the split, the calibration images and random: weights
    calibration_batches: int = 80
    Cs: tuple[float, ...] = evaluation.DEFAULT_GRID  # values tried first; if an edge is best, others beyond it follow

    def __post_init__(self) -> None:
        if self.subset is not None:
            check_subset(self.subset, SHARE * BATCH, PROTOCOLS["cifar10/full"].images)

    @property
    def column(self) -> str:
        """The text of the protocol column."""
        return PROTOCOL if self.subset is None else f"{PROTOCOL}-subset-{self.subset}"


@dataclass(frozen=True)
class Ablation(Measurement):
    """All variants of a network's protocol, for `measurement.recorded`; see `prepare`."""

    spec: AblationSpec
    contender: Contender
    variants: tuple[Variant, ...]
    finest: int  # the finest grid that the stored features contain
    train: Labelled  # the scored images come last
    fitted: int  # number of images before the scored ones
    holdout: np.ndarray  # indices of the images on which C is chosen
    shown: np.ndarray  # indices of the images that calibrate batch norm: neither scored nor in the hold-out
    keys: dict[str, dict[str, Any]]  # mode of batch norm -> key of its features
    table: str = ABLATION

    @property
    def inputs(self) -> dict[str, str]:
        """Digests of the images, the weights and the features' keys."""
        keys = hashlib.sha256(json.dumps(self.keys, sort_keys=True).encode()).hexdigest()
        return {"train": self.train.digest, "weights": self.contender.weights, "features": keys}

    @property
    def scored(self) -> int:
        """Number of images that are scored."""
        return len(self.train.labels) - self.fitted

    def measure(self, run: Run) -> list[Figure]:
        """Measure every variant, and return one figure that holds them all; its value is the protocol's.

        Each variant is stored below RUNS_ROOT/ablations when it is done, so that a stopped run continues.
        """
        seconds: dict[str, float] = {}
        with timed(seconds, "all"):
            measured = self._measured(run)
        rows = [_row(variant, measured[variant.setting], self.scored) for variant in self.variants]
        seconds["classify"] = sum(found["seconds"] for found in measured.values())  # includes those before a stop
        figure = Figure(
            method=f"{self.contender.name} + L2-SVM",
            protocol=self.spec.column,
            metric="accuracy_percent",
            value=rows[0]["accuracy_percent"],
            n_test=self.scored,
            features=rows[0]["features"],
            max_units=features.max_units(self.contender.backbone),
            selection={"holdout": len(self.holdout)},
            solver={"variants": rows},
            seconds=seconds,
        )
        return [figure]

    def _measured(self, run: Run) -> dict[str, dict[str, Any]]:
        """Return setting (as text) -> what was found, for all settings. Stored settings are not measured again."""
        key = hashlib.sha256(json.dumps(identity(self, run), sort_keys=True).encode()).hexdigest()[:16]
        file = run.runs_root / "ablations" / f"{key}.safetensors"
        found = read_found(file)
        total = len({variant.setting for variant in self.variants})
        if found:
            run.say(f"{len(found)} of {total} variants were measured before ({file})")
        for mode in self.keys:  # `running` comes first, because calibration changes the model
            missing = [v for v in self.variants if v.batchnorm == mode and v.setting not in found]
            stored = self._extracted(mode, run) if missing else np.empty(0)
            for variant in missing:
                if variant.setting in found:  # another variant of the same setting came first
                    continue
                begun = time.monotonic()
                with self._features(variant, stored, run) as X:
                    answer = self._classified(X, run)
                found[variant.setting] = answer | {"seconds": round(time.monotonic() - begun, 1)}
                kept.write(file, {}, found)
                share, place = 100 * answer["right"] / self.scored, f"{len(found)} of {total}"
                what = f"{answer['features']:,} features, C {answer['C']:.4g}"
                run.say(f"{place}, {variant.kind} {variant.name}: {share:.2f} % ({what})")
        return found

    def _extracted(self, mode: str, run: Run) -> np.ndarray:
        """Return the stored features of all images, float32 [N, D]."""
        images, backbone = self.train.images, self.contender.backbone
        pool = stored_pool(mode, self.finest)
        wanted = Extraction(backbone, pool, [images], [self.keys[mode]], lambda: images[self.shown])
        return wanted.stored(run)[0]

    @contextmanager
    def _features(self, variant: Variant, stored: np.ndarray, run: Run) -> Iterator[np.ndarray]:
        """Yield the variant's features, float32 [N, d], as eval would extract them, in a file deleted at the end."""
        if variant.batchnorm != CALIBRATED:
            yield stored
            return
        shapes, pool = features.layer_shapes(self.contender.backbone), features.NestedGrids(self.finest)
        widths = features.layer_widths(self.contender.backbone, pool=pool)
        ends = dict(zip(widths, np.cumsum(list(widths.values())), strict=True))
        with tempfile.TemporaryFile(dir=run.runs_root / "features") as file:
            for start in range(0, len(stored), ROWS):
                parts = []
                for layer in variant.layers:
                    columns = slice(ends[layer] - widths[layer], ends[layer])
                    pooled = torch.from_numpy(np.array(stored[start : start + ROWS, columns]))
                    parts.append(pool.grid(pooled, shapes[layer], size=variant.grid, kind=variant.pooling))
                file.write(torch.cat(parts, 1).numpy().data)
            file.flush()
            yield np.memmap(file, np.float32, "r").reshape(len(stored), -1)

    def _classified(self, X: np.ndarray, run: Run) -> dict[str, Any]:
        """Choose C on the hold-out, fit all but the scored rows, and score those once."""
        n, y = self.fitted, self.train.labels
        quiet = replace(run, say=lambda text: None)
        answer = all_labels(Split(X[:n], y[:n], X[n:], y[n:], self.holdout), self.spec.Cs, quiet)
        return {
            "features": X.shape[1],
            "C": answer.solver["C"],
            "right": int(answer.right.sum()),
            "tried": [[entry["C"], entry["accuracy"]] for entry in answer.selection["grid"]],
        }


def prepare(spec: AblationSpec, run: Run) -> Ablation:
    """Load the network and the training images, and split the images. Raises UserError if either cannot be loaded."""
    contender = with_layers(runnable(spec.backbone, run, layers=spec.layers, seed=spec.seed, data=None), spec)
    train = load_labelled(DATA, run)
    used = np.arange(len(train.labels))
    if spec.subset is not None:
        used = subset_rows(train.labels, spec.subset, spec.seed)
    finest, why = finest_grid(contender.backbone, len(used))
    if why:
        run.say(why)
    rows = variants(contender.backbone, finest)
    part = len(used) // SHARE
    rest, scored = evaluation.stratified_holdout(train.labels[used], part, seed=spec.seed)
    train = train.rows(used[np.concatenate([rest, scored])])
    fit, holdout = evaluation.stratified_holdout(train.labels[: len(rest)], part, seed=spec.seed)
    shown = calibration_rows(fit, spec.calibration_batches, spec.seed)
    keys = {
        mode: features.feature_key(
            contender.backbone,
            data_digest=train.digest,
            batchnorm=batchnorm_key(mode, train.digest, shown),
            pool=stored_pool(mode, finest),
            device=run.device,
        )
        for mode in (RUNNING, CALIBRATED)
        if mode in {variant.batchnorm for variant in rows}
    }
    return Ablation(spec, contender, rows, finest, train, len(rest), holdout, shown, keys)


def with_layers(contender: Contender, spec: AblationSpec) -> Contender:
    """Return the contender itself. Raises UserError if its features are not pooled as in the paper."""
    if contender.pool != features.max_grid(PAPER):
        raise UserError(f"{spec.backbone} has no layers or grid to vary; name a network, e.g. random:imagenet32")
    return contender


def describe(spec: AblationSpec, run: Run) -> list[str]:
    """Return lines that say what a long run would do and need."""
    contender = with_layers(runnable(spec.backbone, run, layers=spec.layers, seed=spec.seed, data=None), spec)
    images = spec.subset or PROTOCOLS["cifar10/full"].images
    finest, why = finest_grid(contender.backbone, images)
    rows = variants(contender.backbone, finest)
    pools = {stored_pool(row.batchnorm, finest) for row in rows}
    width = sum(features.feature_width(contender.backbone, pool=pool) for pool in pools)
    return [
        *(f"{row.kind}: {row.name}" for row in rows),
        *([why] if why else []),
        f"{contender.name}: {len({row.setting for row in rows})} classifiers, {images // SHARE:,} images scored",
        f"features: {images * width * 4 / 1e9:.1f} GB under {run.runs_root / 'features'}",
    ]


def read_found(file: Path) -> dict[str, dict[str, Any]]:
    """Read what a stopped run stored: setting (as text) -> what was found. If damaged, warn and return nothing."""
    try:
        return kept.read(file)[1]
    except FileNotFoundError:
        return {}
    except ValueError as error:
        warnings.warn(f"measuring from the beginning: {error}", stacklevel=2)
        return {}


def _row(variant: Variant, found: dict[str, Any], scored: int) -> dict[str, Any]:
    interval = evaluation.interval95_of_proportion(found["right"], scored)
    figures = {"accuracy_percent": interval.estimate, "ci95_low": interval.low, "ci95_high": interval.high}
    varied = {name: getattr(variant, name) for name in ("kind", "layers", "grid", "pooling", "batchnorm")}
    return {"variant": variant.name} | varied | figures | found


def picture(record: results.Record) -> bytes:
    """Draw a record as SVG: a bar with its interval for each variant."""
    shown = ("kind", "variant", "accuracy_percent", "ci95_low", "ci95_high")
    bars = [tuple(row[name] for name in shown) for row in record.solver["variants"]]
    label = f"% of {record.n_test:,} held-out training images; 95 % intervals"
    return bar_plot(bars, title=record.method, label=label)

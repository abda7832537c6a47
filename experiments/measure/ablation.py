"""What each choice of the protocol is worth: a network's CIFAR-10 accuracy with one thing varied at a time.

Choices are made on training images: a fifth of them is held out and scored, C is chosen on another fifth, the test
images are never loaded. The images go through the network once for each way of batch norm, pooled so that the columns
of every variant can be taken from what is stored (features.NestedGrids).
"""

import dataclasses
import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import evaluation
import features
import results
from experiments.data import load as datasets
from experiments.measure.classify import Split, all_labels
from experiments.measure.svm import BATCH
from experiments.networks.backbones import Contender, resolve
from experiments.run.circumstances import circumstances, timed
from experiments.run.context import ROOT, Run
from experiments.run.errors import UserError
from experiments.run.files import write_bytes
from experiments.run.progress import silent

TABLE, PROTOCOL = "ablation", "cifar10/ablation"
DATA = "cifar10-train"
SHARE = 5  # one image in so many is scored, and C is chosen on as many
PAPER, GRIDS = 4, (1, 2, 4, 8)
CALIBRATED, RUNNING = "calibrated", "running"  # ways of batch norm that do not depend on which images share a batch
POOL = features.NestedGrids(max(GRIDS))
ROWS = 1024  # of stored features, at once

FOUND = ("features", "C", "right", "tried", "seconds")  # of a setting

Setting = tuple[tuple[str, ...], int, str, str]  # layers, grid, kind of pooling, batch norm: what is measured once


@dataclass(frozen=True)
class AblationSpec:
    """Everything that decides the figures, apart from data, weights and code."""

    backbone: str
    layers: tuple[str, ...] | None = None
    subset: int | None = None  # training images used in all; every one where None
    seed: int = 0  # of the parts, the calibration images and random: weights
    calibration_batches: int = 80
    Cs: tuple[float, ...] = evaluation.DEFAULT_GRID  # to begin with

    def __post_init__(self) -> None:
        if self.subset is not None and self.subset < SHARE * BATCH:
            raise ValueError(f"subset must be at least {SHARE * BATCH} images, got {self.subset}")

    @property
    def column(self) -> str:
        """The protocol column."""
        return PROTOCOL if self.subset is None else f"{PROTOCOL}-subset-{self.subset}"


@dataclass(frozen=True)
class Variant:
    """A row of the table; all but what it is about as in the protocol."""

    kind: str
    name: str
    layers: tuple[str, ...]
    grid: int = PAPER
    pooling: str = "max"
    batchnorm: str = CALIBRATED

    @property
    def setting(self) -> Setting:
        """Rows that share it share their figures."""
        return self.layers, self.grid, self.pooling, self.batchnorm


@dataclass(frozen=True)
class Prepared:
    """What a run rests on, loaded and checked before any long work."""

    spec: AblationSpec
    contender: Contender
    variants: tuple[Variant, ...]
    images: np.ndarray  # uint8 [N, H, W, C], those that are scored last
    labels: np.ndarray  # int64 [N]
    fitted: int  # images before those that are scored
    holdout: np.ndarray  # indices of those on which C is chosen
    shown: np.ndarray  # indices of those that calibrate batch norm: neither scored nor chosen on
    digest: str  # of images and labels, in this order
    keys: dict[str, dict[str, Any]]  # way of batch norm -> key of its features
    device: torch.device

    @property
    def scored(self) -> int:
        """Images that are scored."""
        return len(self.labels) - self.fitted


def prepare(
    spec: AblationSpec,
    *,
    data_root: Path,
    runs_root: Path,
    device: torch.device | str = "cpu",
    progress: datasets.Progress | None = None,
) -> Prepared:
    """Loads training images and the backbone and parts the images. Raises UserError for what cannot be had."""
    contender = resolved(spec)
    rows_of = variants(contender.backbone)
    contender.backbone.model.to(device)
    train = datasets.load(DATA, Run(data_root, runs_root, progress=progress or silent))
    assert train.labels is not None
    used = np.arange(len(train.labels))
    if spec.subset is not None:
        if spec.subset >= len(used):
            raise UserError(f"a subset must be smaller than the set of {len(used)}, got {spec.subset}")
        used = evaluation.stratified_holdout(train.labels, spec.subset, seed=spec.seed)[1]
    part = len(used) // SHARE
    rest, scored = evaluation.stratified_holdout(train.labels[used], part, seed=spec.seed)
    order = used[np.concatenate([rest, scored])]
    labels = train.labels[order]
    fit, holdout = evaluation.stratified_holdout(labels[: len(rest)], part, seed=spec.seed)
    shown = np.random.default_rng(spec.seed).permutation(fit)[: BATCH * spec.calibration_batches]
    shown = np.sort(shown[: len(shown) // BATCH * BATCH])
    digest = hashlib.sha256(f"{train.digest} {_digest(order)}".encode()).hexdigest()
    norms: dict[str, dict[str, Any]] = {
        RUNNING: {"mode": RUNNING},
        CALIBRATED: {"mode": CALIBRATED, "data": digest, "rows": _digest(shown), "batch_size": BATCH},
    }
    keys = {
        mode: features.feature_key(
            contender.backbone, data_digest=digest, batchnorm=norms[mode], pool=_pool(mode), device=device
        )
        for mode in norms
        if mode in {variant.batchnorm for variant in rows_of}
    }
    images = np.ascontiguousarray(train.images[order])
    return Prepared(
        *(spec, contender, rows_of, images, labels, len(rest), holdout, shown, digest, keys, torch.device(device))
    )


def resolved(spec: AblationSpec) -> Contender:
    """The network. Raises UserError for one that cannot run or that is not pooled as the paper does."""
    contender = resolve(spec.backbone, layers=spec.layers, seed=spec.seed)
    if contender.pool != features.max_grid(PAPER):
        raise UserError(f"{spec.backbone} has no layers and grid to vary; name a network, e.g. random:imagenet32")
    try:
        features.layer_shapes(contender.backbone)
    except ValueError as error:
        raise UserError(f"backbone {spec.backbone!r}: {error}; dcgan-eval check names the fix") from error
    return contender


def variants(backbone: features.Backbone) -> tuple[Variant, ...]:
    """The rows, in order. A kind of which the network allows but one is left out."""
    shapes, layers = features.layer_shapes(backbone), tuple(backbone.layers)
    rows = [Variant("protocol", "protocol", layers)]
    if len(layers) > 1:
        rows += [Variant("layer", name, (name,)) for name in layers]
        rows += [Variant("first layers", layers[0], layers[:1])]
        rows += [Variant("first layers", f"{layers[0]} to {layers[k]}", layers[: k + 1]) for k in range(1, len(layers))]
    smaller = [name for name, (_, *size) in shapes.items() if min(size) < max(GRIDS)]
    for grid in GRIDS:
        if grid <= PAPER or len(smaller) < len(layers):
            but = f" ({PAPER}x{PAPER} of {', '.join(smaller)})" if grid > PAPER and smaller else ""
            rows.append(Variant("grid", f"{grid}x{grid}{but}", layers, grid=grid))
    rows += [Variant("pooling", kind, layers, pooling=kind) for kind in ("max", "mean")]
    if _has_running_statistics(backbone.model):
        rows += [Variant("batch norm", mode, layers, batchnorm=mode) for mode in (CALIBRATED, RUNNING)]
    return tuple(rows)


def identity(prepared: Prepared, roots: dict[str, Path]) -> tuple[dict, dict[str, str]]:
    """(resolved spec, digests of the inputs): runs that agree in both measure the same figures."""
    inputs = {
        "train": prepared.digest,
        "weights": prepared.contender.weights,
        "features": hashlib.sha256(json.dumps(prepared.keys, sort_keys=True).encode()).hexdigest(),
        "source": results.source_digest([ROOT / name for name in ("gan", "features", "evaluation", "experiments")]),
    }
    return results.portable(dataclasses.asdict(prepared.spec), roots), inputs


def ablate(
    prepared: Prepared,
    *,
    runs_root: Path,
    command: list[str],
    roots: dict[str, Path],
    say: Callable[[str], None],
    progress: datasets.Progress | None = None,
) -> results.Record:
    """Measures every variant; one record of them all, whose value is the protocol's.

    What has been measured is kept below RUNS_ROOT/ablations as it comes, so that a run that was stopped goes on.
    `roots` names the folders that may not appear in the record.
    """
    spec, started, seconds = prepared.spec, results.utc_now(), dict[str, float]()
    ids = identity(prepared, roots)
    key = hashlib.sha256(json.dumps(ids, sort_keys=True).encode()).hexdigest()[:16]
    with timed(seconds, "all"):
        measured = _measured(prepared, runs_root, runs_root / "ablations" / f"{key}.json", say, progress)
    rows = [_row(variant, measured[_text(variant.setting)], prepared.scored) for variant in prepared.variants]
    seconds["classify"] = sum(found["seconds"] for found in measured.values())  # those before a stop, too
    return results.Record(
        run_id=results.run_id(*ids, started),
        table=TABLE,
        method=f"{prepared.contender.name} + L2-SVM",
        protocol=spec.column,
        metric="accuracy_percent",
        value=rows[0]["accuracy_percent"],
        n_runs=1,
        n_test=prepared.scored,
        features=rows[0]["features"],
        max_units=features.max_units(prepared.contender.backbone),
        command=results.portable(command, roots),
        spec=ids[0],
        seed=spec.seed,
        inputs=ids[1],
        selection={"holdout": len(prepared.holdout)},
        solver={"variants": rows},
        **circumstances(ROOT, prepared.device, seconds),
        started=started,
    )


def _measured(
    prepared: Prepared,
    runs_root: Path,
    file: Path,
    say: Callable[[str], None],
    progress: datasets.Progress | None,
) -> dict[str, dict[str, Any]]:
    """Setting, as text -> what was found, for all; those in `file` are not measured again."""
    file.parent.mkdir(parents=True, exist_ok=True)
    found = _kept(file)
    total = len({v.setting for v in prepared.variants})
    if found:
        say(f"{len(found)} of {total} variants were measured before ({file})")
    for mode, key in prepared.keys.items():  # running first: calibration changes the model
        mine = [v for v in prepared.variants if v.batchnorm == mode]
        if all(_text(v.setting) in found for v in mine):
            continue
        stored = _extracted(prepared, mode, key, runs_root, say, progress)
        for variant in mine:
            if _text(variant.setting) in found:
                continue
            begun = time.monotonic()
            with _features(prepared, variant, stored, runs_root) as X:
                answer = _classified(prepared, X, progress)
            found[_text(variant.setting)] = answer | {"seconds": round(time.monotonic() - begun, 1)}
            write_bytes(file, json.dumps(found).encode())
            share, place = 100 * answer["right"] / prepared.scored, f"{len(found)} of {total}"
            what = f"{answer['features']:,} features, C {answer['C']:.4g}"
            say(f"{place}, {variant.kind} {variant.name}: {share:.2f} % ({what})")
    return found


def _kept(file: Path) -> dict[str, dict[str, Any]]:
    if not file.exists():
        return {}
    try:
        kept = json.loads(file.read_bytes())
        return {text: {name: found[name] for name in FOUND} for text, found in kept.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        warnings.warn(f"measuring from the beginning: {file} is damaged ({error})", stacklevel=2)
        return {}


def _extracted(
    prepared: Prepared,
    mode: str,
    key: dict[str, Any],
    runs_root: Path,
    say: Callable[[str], None],
    progress: datasets.Progress | None,
) -> np.ndarray:
    """What is stored of all images, float32 [N, D] below RUNS_ROOT/features: kept, resumed, verified."""
    backbone, images, pool = prepared.contender.backbone, prepared.images, _pool(mode)
    width = features.feature_width(backbone, pool=pool)
    store = features.FeatureStore(runs_root / "features", key, rows=len(images), width=width, progress=progress)
    if store.rejected:
        say(f"{store.rejected} damaged chunks of stored features are computed again ({store.folder})")
    device = prepared.device
    if not store.complete and mode == CALIBRATED:
        shown = images[prepared.shown]
        features.calibrate_batchnorm(backbone, shown, batch_size=BATCH, device=device, progress=progress)
    return features.extract(backbone, images, pool=pool, batch_size=BATCH, device=device, out=store, progress=progress)


@contextmanager
def _features(prepared: Prepared, variant: Variant, stored: np.ndarray, runs_root: Path) -> Iterator[np.ndarray]:
    """The variant's features, float32 [N, d], as eval would extract them; in a file that goes with the block."""
    if variant.batchnorm != CALIBRATED:
        yield stored
        return
    shapes = features.layer_shapes(prepared.contender.backbone)
    widths = features.layer_widths(prepared.contender.backbone, pool=POOL)
    ends = dict(zip(widths, np.cumsum(list(widths.values())), strict=True))
    with tempfile.TemporaryFile(dir=runs_root / "features") as file:
        for start in range(0, len(stored), ROWS):
            parts = []
            for layer in variant.layers:
                columns = slice(ends[layer] - widths[layer], ends[layer])
                pooled = torch.from_numpy(np.array(stored[start : start + ROWS, columns]))
                parts.append(POOL.grid(pooled, shapes[layer], size=variant.grid, kind=variant.pooling))
            file.write(torch.cat(parts, 1).numpy().data)
        file.flush()
        yield np.memmap(file, np.float32, "r").reshape(len(stored), -1)


def _classified(prepared: Prepared, X: np.ndarray, progress: datasets.Progress | None) -> dict[str, Any]:
    """C chosen on the hold-out, all but the scored rows fitted, those scored once."""
    n, y = prepared.fitted, prepared.labels
    split = Split(X[:n], y[:n], X[n:], y[n:], prepared.holdout)
    answer = all_labels(split, prepared.spec.Cs, device=prepared.device, say=lambda text: None, progress=progress)
    return {
        "features": X.shape[1],
        "C": answer.solver["C"],
        "right": int(answer.right.sum()),
        "tried": [[entry["C"], entry["accuracy"]] for entry in answer.selection["grid"]],
    }


def _row(variant: Variant, found: dict[str, Any], scored: int) -> dict[str, Any]:
    interval = evaluation.interval95_of_proportion(found["right"], scored)
    figures = {"accuracy_percent": interval.estimate, "ci95_low": interval.low, "ci95_high": interval.high}
    varied = {name: getattr(variant, name) for name in ("kind", "layers", "grid", "pooling", "batchnorm")}
    return {"variant": variant.name} | varied | figures | found


def _pool(mode: str) -> Callable:
    return POOL if mode == CALIBRATED else features.max_grid(PAPER)


def _has_running_statistics(model: nn.Module) -> bool:
    """Whether training left some: neither none nor those of an initialisation, mean 0 and variance 1."""
    return any(
        bool(norm.running_mean.any()) or bool((norm.running_var != 1).any())
        for norm in model.modules()
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None
    )


def _text(setting: Setting) -> str:
    return json.dumps(setting)


def _digest(rows: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows, np.int64).tobytes()).hexdigest()

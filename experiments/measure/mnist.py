"""Rows of the paper's MNIST table: test error of the nearest neighbour in pixels, among real digits or samples.

As the authors' train_cond_dcgan.py has it: Euclidean distance of 28x28 images, one neighbour, its label the answer; of
a class-conditional generator the label is what the sample was drawn for. Samples are rounded to 8 bits, so that both
kinds of references lie on the scale of the official files. Real digits must give 3.34 % with the first 50,000 training
images and 3.09 % with all 60,000.
"""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import evaluation
import gan
import results
from experiments.data import load as datasets
from experiments.run import kept as sealed
from experiments.run.circumstances import circumstances, timed
from experiments.run.context import ROOT, Run
from experiments.run.errors import UserError
from experiments.run.progress import silent

REAL = "real"
CHUNK = 1_000  # references at a time; every count of a curve is a multiple
CURVE_COLUMNS = ["method", "run_id", "references", "error_percent"]
PAPER, ALL = 50_000, 60_000  # training images: those of the paper's row, and all
SAVED = 10 * CHUNK  # references between two states of a search on disk
CURVE = tuple(m * 10**e for e in range(3, 9) for m in (1, 2, 5))  # sample counts at which the error is written


@dataclass(frozen=True)
class NearestSpec:
    """Everything that decides the figures, apart from data, weights and code."""

    source: str  # "real", or the file of a class-conditional generator
    samples: int = PAPER  # drawn from the generator; of real digits all are used
    seed: int = 0  # of z
    batch: int = 100  # samples that share the statistics of batch norm: ten of each digit (128 in the authors' code)
    k: int = 1

    def __post_init__(self) -> None:
        if self.source == REAL:
            object.__setattr__(self, "samples", ALL)
        if self.samples < 1 or self.samples % CHUNK:
            raise ValueError(f"samples must be a positive multiple of {CHUNK:,}, got {self.samples}")

    @property
    def recorded(self) -> list[int]:
        """Reference counts that answer a row: the paper's, where it is reached, and the last."""
        return sorted({PAPER, self.samples}) if self.samples >= PAPER else [self.samples]

    @property
    def method(self) -> str:
        """The method column."""
        return "real data" if self.source == REAL else "class-conditional DCGAN"


@dataclass(frozen=True)
class Prepared:
    """What a run rests on, loaded and checked before any long work."""

    spec: NearestSpec
    test: datasets.PackedSet
    references: datasets.PackedSet | gan.ConditionalGenerator
    weights: str  # digest of the real digits or of the generator's file
    device: torch.device


def protocol(references: int) -> str:
    """The protocol column: mnist-1nn/50k, mnist-1nn/1m."""
    for unit, name in ((10**6, "m"), (10**3, "k")):
        if references % unit == 0:
            return f"mnist-1nn/{references // unit}{name}"
    return f"mnist-1nn/{references}"


def prepare(
    spec: NearestSpec,
    *,
    data_root: Path,
    runs_root: Path,
    device: torch.device | str = "cpu",
    progress: datasets.Progress | None = None,
) -> Prepared:
    """Loads the test digits, and the training digits or the generator. Raises UserError for what cannot be had."""
    generator = None if spec.source == REAL else _generator(Path(spec.source))
    test = datasets.load("mnist-test-28", Run(data_root, runs_root, progress=progress or silent))
    if generator is not None:
        sha256 = hashlib.sha256(Path(spec.source).read_bytes()).hexdigest()
        return Prepared(spec, test, generator.to(device), sha256, torch.device(device))
    train = datasets.load("mnist-28", Run(data_root, runs_root, progress=progress or silent))
    return Prepared(spec, test, train, train.digest, torch.device(device))


def _generator(file: Path) -> gan.ConditionalGenerator:
    try:
        network = gan.load(file)
    except FileNotFoundError as error:
        raise UserError(f"{error}; name the generator.safetensors of a training run, or {REAL}") from error
    if not isinstance(network, gan.ConditionalGenerator):
        raise UserError(
            f"{file} holds a {type(network).__name__}; this table takes a class-conditional generator "
            f"(dcgan-eval train mnist-conditional), or {REAL}"
        )
    if network.arch.image_shape != (1, 28, 28) or network.arch.classes != 10:
        raise UserError(
            f"{file} draws {network.arch.classes} classes of {network.arch.image_shape}, not 10 of (1, 28, 28)"
        )
    return network


def identity(prepared: Prepared, roots: dict[str, Path]) -> tuple[dict, dict[str, str]]:
    """(resolved spec, digests of the inputs): runs that agree in both measure the same figures."""
    resolved = results.portable(dataclasses.asdict(prepared.spec), roots)
    inputs = {
        "test": prepared.test.digest,
        "references": prepared.weights,
        "source": results.source_digest([ROOT / name for name in ("gan", "evaluation", "experiments")]),
    }
    return resolved, inputs


def measure(
    prepared: Prepared,
    *,
    command: list[str],
    roots: dict[str, Path],
    keep: Path | None = None,
    progress: datasets.Progress | None = None,
) -> list[results.Record]:
    """The records of one pass over the references, one for each of `NearestSpec.recorded`.

    The error after each count of CURVE up to there stands in `solver["curve"]`. `roots` names the folders that may not
    appear in the records. In the folder `keep` the search among samples is kept, so that one that was stopped goes on,
    and one of more samples begins where that of fewer ended.
    """
    spec, started = prepared.spec, results.utc_now()
    seconds: dict[str, float] = {}
    resolved, inputs = identity(prepared, roots)
    with timed(seconds, "search"):
        curve = _curve(prepared, None if spec.source == REAL else keep, (resolved, inputs), progress)
    return [
        results.Record(
            run_id=results.run_id(resolved, inputs, started),
            table="mnist",
            method=spec.method,
            protocol=protocol(count),
            metric="error_percent",
            value=curve[count],
            n_runs=1,
            n_test=len(prepared.test.images),
            features=int(np.prod(prepared.test.images.shape[1:])),
            command=results.portable(command, roots),
            spec=resolved,
            seed=None if spec.source == REAL else spec.seed,
            inputs=inputs,
            solver={"curve": [{"references": n, "error_percent": e} for n, e in curve.items() if n <= count]},
            **circumstances(ROOT, prepared.device, seconds),
            started=started,
        )
        for count in spec.recorded
    ]


def curve_csv(records: Sequence[results.Record]) -> bytes:
    """The longest curve of each run among `records` as CSV: method, run_id, references, error_percent."""
    longest = {r.run_id: r for r in sorted(records, key=lambda r: len(r.solver["curve"]))}
    parts = [
        pd.DataFrame(r.solver["curve"]).assign(method=r.method, run_id=run)[CURVE_COLUMNS]
        for run, r in sorted(longest.items())
    ]
    return pd.concat(parts).to_csv(index=False, float_format="%.2f").encode()


def _curve(
    prepared: Prepared, keep: Path | None, identity: tuple[dict, dict], progress: datasets.Progress | None
) -> dict[int, float]:
    """Reference count -> test error in percent."""
    spec, test = prepared.spec, prepared.test
    assert test.labels is not None
    search = evaluation.RunningKnn(torch.from_numpy(np.array(test.images)).to(prepared.device), k=spec.k)
    resolved, inputs = identity
    key = hashlib.sha256(json.dumps([resolved | {"samples": None}, inputs], sort_keys=True).encode()).hexdigest()[:32]
    file = None if keep is None else keep / f"{key}.safetensors"
    curve = {} if file is None else _resumed(search, file, spec.samples)
    chunks: Iterator[tuple[Tensor, np.ndarray]] = references(prepared, search.seen)
    if progress is not None:
        total = (spec.samples - search.seen) // CHUNK
        chunks = iter(progress(chunks, total=total, desc="nearest neighbours", unit="thousand images"))
    for images, labels in chunks:
        search.add(images, labels)
        if search.seen in {*CURVE, *spec.recorded}:
            curve[search.seen] = 100 * float((search.predict() != test.labels).mean())
        if file is not None and (search.seen % SAVED == 0 or search.seen == spec.samples):
            found = {"references": list(curve), "errors": list(curve.values())}
            state = search.state() | {name: np.array(values) for name, values in found.items()}
            sealed.write(file, {name: torch.from_numpy(array) for name, array in state.items()})
    return {count: error for count, error in curve.items() if count in {*CURVE, *spec.recorded}}


def _resumed(search: evaluation.RunningKnn, file: Path, samples: int) -> dict[int, float]:
    """Brings `search` to where the kept one ended; the curve up to there. Nothing of one that went farther."""
    if not file.exists():
        return {}
    try:
        state = {name: tensor.numpy() for name, tensor in sealed.read(file).items()}
        if state["seen"][0] > samples:
            return {}
        search.restore(state)
        return dict(zip(state["references"].tolist(), state["errors"].tolist(), strict=True))
    except (OSError, ValueError, KeyError) as error:
        warnings.warn(f"searching from the beginning: {error}", stacklevel=2)
        return {}


def references(prepared: Prepared, start: int = 0) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Images uint8 [1000, 28, 28, 1] on the run's device and labels int64 [1000], again and again, from `start` on."""
    spec, source = prepared.spec, prepared.references
    if isinstance(source, gan.ConditionalGenerator):
        noise = torch.Generator().manual_seed(spec.seed)
        labels = torch.arange(spec.batch) % source.arch.classes
        for _ in range(0, start, spec.batch):
            gan.sample_z(source.arch, spec.batch, noise)
        for _ in range(start, spec.samples, CHUNK):
            drawn = []
            for _ in range(0, CHUNK, spec.batch):
                z = gan.sample_z(source.arch, spec.batch, noise)
                with torch.inference_mode():
                    drawn.append(gan.sample(source, z.to(prepared.device), labels.to(prepared.device)))
            yield torch.cat(drawn), labels.repeat(CHUNK // spec.batch).numpy()
        return
    assert source.labels is not None
    for at in range(start, spec.samples, CHUNK):
        part = slice(at, at + CHUNK)
        yield torch.from_numpy(np.array(source.images[part])).to(prepared.device), source.labels[part]

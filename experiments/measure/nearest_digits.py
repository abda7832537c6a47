"""Rows of the paper's MNIST table: the test error of the nearest neighbour in pixels, among real digits or samples.

As in the authors' train_cond_dcgan.py, the distance between 28x28 images is Euclidean, and the label of the one nearest
neighbour is the prediction. A sample of a class-conditional generator has the label that it was drawn for. Samples are
rounded to 8 bits, so that both kinds of references have the scale of the official files. Real digits must give 3.34 %
with the first 50,000 training images and 3.09 % with all 60,000.
"""

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
from experiments.data.load import load
from experiments.data.packed import PackedSet
from experiments.measure.measurement import Figure, Measurement, identity
from experiments.run import kept
from experiments.run.context import Run
from experiments.run.environment import timed
from experiments.run.errors import UserError

REAL = "real"
CHUNK = 1_000  # references added at once; every count of a curve is a multiple of it
CURVE_COLUMNS = ["method", "run_id", "references", "error_percent"]
PAPER, ALL = 50_000, 60_000  # training images in the paper's row, and in all
CURVE = tuple(m * 10**e for e in range(3, 9) for m in (1, 2, 5))  # numbers of references at which the error is recorded


@dataclass(frozen=True)
class NearestSpec:
    """Everything that decides the figures, apart from data, weights and code."""

    source: str  # "real", or the file of a class-conditional generator
    samples: int = PAPER  # samples drawn from the generator; all real digits are used
    seed: int = 0  # for z
    batch: int = 100  # samples that share the statistics of batch norm: ten of each digit (128 in the authors' code)
    k: int = 1

    def __post_init__(self) -> None:
        if self.source == REAL:
            object.__setattr__(self, "samples", ALL)
        if self.samples < 1 or self.samples % CHUNK:
            raise ValueError(f"samples must be a positive multiple of {CHUNK:,}, got {self.samples}")
        if self.samples > CURVE[-1]:
            raise ValueError(f"samples must be at most {CURVE[-1]:,}, got {self.samples:,}")

    @property
    def counts(self) -> list[int]:
        """Numbers of references that have a row: the paper's, if it is reached, and the last."""
        return sorted({PAPER, self.samples}) if self.samples >= PAPER else [self.samples]

    @property
    def rows(self) -> list[str]:
        """The protocols of the figures."""
        return [protocol(count) for count in self.counts]

    @property
    def method(self) -> str:
        """The text of the method column."""
        return "real data" if self.source == REAL else "class-conditional DCGAN"


@dataclass(frozen=True)
class NearestDigits(Measurement):
    """The nearest neighbours of the test digits, for `measurement.recorded`; see `prepare`."""

    spec: NearestSpec
    test: PackedSet
    references: PackedSet | gan.ConditionalGenerator
    weights: str  # digest of the real digits, or of the generator's file
    saved: int = 10 * CHUNK  # the search is saved whenever this many more references were searched
    table: str = "mnist"

    @property
    def seed(self) -> int | None:
        """The spec's seed; None for real digits, which are not drawn."""
        return None if self.spec.source == REAL else self.spec.seed

    @property
    def inputs(self) -> dict[str, str]:
        """Digests of the test digits and of the references."""
        return {"test": self.test.digest, "references": self.weights}

    def measure(self, run: Run) -> list[Figure]:
        """Measure all figures in one pass over the references, each with the curve of errors up to its count.

        A search among samples is saved in RUNS_ROOT/nearest, so that a stopped search continues, and a search with more
        samples begins where one with fewer ended.
        """
        seconds: dict[str, float] = {}
        with timed(seconds, "search"):
            curve = self._curve(run)
        return [
            Figure(
                method=self.spec.method,
                protocol=protocol(count),
                metric="error_percent",
                value=curve[count],
                n_test=len(self.test.images),
                features=int(np.prod(self.test.images.shape[1:])),
                solver={"curve": [{"references": n, "error_percent": e} for n, e in curve.items() if n <= count]},
                seconds=seconds,
            )
            for count in self.spec.counts
        ]

    def _curve(self, run: Run) -> dict[int, float]:
        """Return number of references -> test error in percent."""
        spec, test, told = self.spec, self.test, {*CURVE, *self.spec.counts}
        search = evaluation.RunningKnn(torch.from_numpy(np.array(test.images)).to(run.device), k=spec.k)
        file = None if spec.source == REAL else self._kept(run)
        curve = {} if file is None else _resumed(search, file, spec.samples)
        left = references(self, run.device, search.seen)
        total = (spec.samples - search.seen) // CHUNK
        for images, labels in run.progress(left, total=total, desc="nearest neighbours", unit="thousand images"):
            search.add(images, labels)
            if search.seen in told:
                curve[search.seen] = 100 * float((search.predict() != test.labels).mean())
            if file is not None and (search.seen % self.saved == 0 or search.seen == spec.samples):
                found = {"references": list(curve), "errors": list(curve.values())}
                state = search.state() | {name: np.array(values) for name, values in found.items()}
                kept.write(file, state)
        return {count: error for count, error in curve.items() if count in told}

    def _kept(self, run: Run) -> Path:
        """Return the file of the search; it is the same for every number of samples."""
        spec, inputs = identity(self, run)
        key = json.dumps([spec | {"samples": None}, inputs], sort_keys=True).encode()
        return run.runs_root / "nearest" / f"{hashlib.sha256(key).hexdigest()[:32]}.safetensors"


def protocol(count: int) -> str:
    """Name the protocol for a number of references, for example mnist-1nn/50k or mnist-1nn/1m."""
    for unit, name in ((10**6, "m"), (10**3, "k")):
        if count % unit == 0:
            return f"mnist-1nn/{count // unit}{name}"
    return f"mnist-1nn/{count}"


def prepare(spec: NearestSpec, run: Run) -> NearestDigits:
    """Load the test digits, and the training digits or the generator. Raises UserError if one cannot be loaded."""
    generator = None if spec.source == REAL else _generator(Path(spec.source))
    test = load("mnist-test-28", run)
    if generator is not None:
        sha256 = hashlib.sha256(Path(spec.source).read_bytes()).hexdigest()
        return NearestDigits(spec, test, generator.to(run.device), sha256)
    train = load("mnist-28", run)
    return NearestDigits(spec, test, train, train.digest)


def describe(spec: NearestSpec, run: Run) -> list[str]:
    """Return a line that says what a long run would do. Raises UserError if the generator cannot be loaded."""
    if spec.source != REAL:
        _generator(Path(spec.source))
    return [f"{spec.method}: {spec.samples:,} images, {', '.join(sorted(spec.rows))}, on {run.device}"]


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


def curve_csv(records: Sequence[results.Record]) -> bytes:
    """Write the longest curve of each run among `records` as CSV: method, run_id, references, error_percent."""
    longest = {r.run_id: r for r in sorted(records, key=lambda r: len(r.solver["curve"]))}
    parts = [
        pd.DataFrame(r.solver["curve"]).assign(method=r.method, run_id=run)[CURVE_COLUMNS]
        for run, r in sorted(longest.items())
    ]
    return pd.concat(parts).to_csv(index=False, float_format="%.2f").encode()


def _resumed(search: evaluation.RunningKnn, file: Path, samples: int) -> dict[int, float]:
    """Restore `search` from `file` and return its curve; if it is missing, damaged or too long, return an empty one."""
    if not file.exists():
        return {}
    try:
        state, _ = kept.read(file)
        if state["seen"][0] > samples:
            return {}
        search.restore(state)
        return dict(zip(state["references"].tolist(), state["errors"].tolist(), strict=True))
    except (OSError, ValueError, KeyError) as error:
        warnings.warn(f"searching from the beginning: {error}", stacklevel=2)
        return {}


def references(
    measurement: NearestDigits, device: torch.device | str, start: int = 0
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Yield chunks from `start` on: images uint8 [1000, 28, 28, 1] on the device, and labels int64 [1000]."""
    spec, source = measurement.spec, measurement.references
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
                    drawn.append(gan.sample(source, z.to(device), labels.to(device)))
            yield torch.cat(drawn), labels.repeat(CHUNK // spec.batch).numpy()
        return
    assert source.labels is not None
    for at in range(start, spec.samples, CHUNK):
        part = slice(at, at + CHUNK)
        yield torch.from_numpy(np.array(source.images[part])).to(device), source.labels[part]

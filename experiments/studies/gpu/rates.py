"""Rates: training, the command `train`, extraction, the L2-SVM, a row of CIFAR-10."""

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import evaluation
import features
import gan
from experiments.data.load import is_packed
from experiments.data.packed import pack
from experiments.measure import svm
from experiments.run.context import Run
from experiments.studies.benchmark_training import reference
from experiments.studies.gpu.parity import random_network
from experiments.studies.gpu.table import BATCH, RECIPE, SEED, Row, photographs
from experiments.training.recipe import load_recipe
from experiments.training.session import train

REPEATS, WINDOW = 5, 0.6  # runs of each side, and seconds of a run of training
WHOLE = 20  # seconds of the run that is timed as a whole
ROWS, COLUMNS = 50_000, 28_672  # of CIFAR-10's features at full width


def training(run: Run) -> Iterator[Row]:
    """Updates of both networks per second, with pytorch/examples' loop on the same networks beside them."""
    arch, device = gan.PRESETS["imagenet32"], run.device
    long = 10**9
    plain = gan.TrainingConfig(long, decay_from=long, batch_size=BATCH)
    small = torch.from_numpy(photographs(4 * BATCH, 32))
    resident = small.to(device)
    larger = torch.from_numpy(photographs(4 * BATCH, 64)).to(device)
    recipe = dataclasses.replace(load_recipe(RECIPE).training, images=long, decay_from=long)
    half = dataclasses.replace(plain, precision="bfloat16")
    loops = {
        "pytorch/examples": reference(arch, plain, small, str(device)),
        "float32": _pairs(arch, plain, resident, device),
        "bfloat16": _pairs(arch, half, resident, device),
        f"the recipe {RECIPE}": _pairs(arch, recipe, larger, device),
        "float32, without graphs": _pairs(arch, plain, resident, device, graphs=False),
    }
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        _rate(loop, 0.5)
    for _ in range(REPEATS):
        for name, loop in loops.items():
            rates[name].append(_rate(loop, WINDOW))
    theirs = rates.pop("pytorch/examples")
    for name, ours in rates.items():
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        rate = statistics.median(ours)
        bar = ">= 3" if name == "bfloat16" else ""
        yield Row(f"training: {name}, width 128, batch {BATCH}", rate, "pairs/s", "pytorch/examples", rate / ratio, bar)
    del loops
    torch.cuda.empty_cache()
    yield _whole_command(run, statistics.median(rates[f"the recipe {RECIPE}"]))


def _pairs(
    arch: gan.Architecture, config: gan.TrainingConfig, images: torch.Tensor, device: torch.device, graphs: bool = True
) -> Iterator[None]:
    steps = gan.train(gan.new_state(arch, config, device), images, config, graphs=graphs)
    for _ in zip(steps, steps, strict=True):
        yield


def _rate(updates: Iterator[None], seconds: float) -> float:
    torch.cuda.synchronize()
    began, done = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for _ in range(10):
            next(updates)
        torch.cuda.synchronize()  # once in ten, or the host would run ahead of what is timed
        done += 10
    return done / (time.monotonic() - began)


def _whole_command(run: Run, bare: float) -> Row:
    """Time a run as `train` does it, with its looks and checkpoints, and set its images/s beside the bare loop's."""
    with tempfile.TemporaryDirectory() as folder:
        inside = dataclasses.replace(run, data_root=Path(folder) / "data", runs_root=Path(folder))
        images, times = photographs(20_000, 64), 5
        shape = (times * len(images), *images.shape[1:])
        pack(inside.runs_root / "packed" / "made", [images] * times, shape=shape, source="made", transform="none")
        pairs = int(WHOLE * bare)
        changes = [f"training.images={pairs * 2 * BATCH}", "dataset=made"]
        recipe = load_recipe(RECIPE, changes)
        began = time.monotonic()
        out = train(dataclasses.replace(recipe, dedup=None), Path(folder) / "run", inside)
        spent = time.monotonic() - began
        written = json.loads((out.parent / "training.json").read_text())
    say = f"train as a whole, {written['seconds']:.0f} of {spent:.0f} s: its rate with looks and checkpoints"
    return Row(say, float(written["images_per_second"]), "images/s", "the bare loop", bare * 2 * BATCH, ">= 0.9")


def extraction(run: Run) -> Iterator[Row]:
    """Set the rate of extraction beside that of the bare forward pass."""
    images, there = photographs(20_000, 32), random_network(run.device)
    features.calibrate_batchnorm(there, images[: 2 * BATCH])
    stages = torch.nn.Sequential(*(there.model.get_submodule(name) for name in there.layers)).eval()
    host = np.empty((len(images), features.feature_width(there)), np.float32)
    device_rows = torch.empty(host.shape, device=run.device)
    for batch in (128, 512):
        batches = [there.prepare(images[i : i + batch]) for i in range(0, len(images), batch)]

        def bare(batches: list[torch.Tensor] = batches) -> None:
            with torch.inference_mode():
                for x in batches:
                    stages(x)

        def extract(out: np.ndarray | torch.Tensor, batch: int = batch) -> Callable[[], object]:
            return lambda: features.extract(there, images, batch_size=batch, out=out)  # type: ignore[call-overload]

        ways = {"bare": bare, "left on the GPU": extract(device_rows), "to the host": extract(host)}
        spent = _alternate(ways)
        forward = len(images) / statistics.median(spent["bare"])
        for name in ("left on the GPU", "to the host"):
            ratio = statistics.median(a / b for a, b in zip(spent["bare"], spent[name], strict=True))
            what = f"extraction: features {name}, batch {batch}"
            yield Row(what, forward * ratio, "images/s", "the bare forward pass", forward, ">= 0.5")


def _alternate(ways: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Time each in turn, after a run of each that does not count; return the seconds of each run."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(REPEATS + 1):
        for name, work in ways.items():
            torch.cuda.synchronize()
            began = time.monotonic()
            work()
            torch.cuda.synchronize()
            if repeat:
                spent[name].append(time.monotonic() - began)
    return spent


def solver(run: Run) -> Iterator[Row]:
    """Time the choice of C and the final fit at CIFAR-10's size, on features made on the GPU."""
    made = torch.Generator(run.device).manual_seed(SEED)
    big = torch.randn(ROWS, COLUMNS, device=run.device, generator=made)
    labels = (big[:, :10] + torch.randn(ROWS, 10, device=run.device, generator=made)).argmax(1).cpu().numpy()
    _, held = evaluation.stratified_holdout(labels, 10_000, seed=SEED)
    torch.cuda.synchronize()
    began = time.monotonic()
    chosen = evaluation.select_C(big, labels, held, device=run.device)  # type: ignore[arg-type]
    torch.cuda.synchronize()
    middle = time.monotonic()
    evaluation.fit_selected(big, labels, chosen, device=run.device)  # type: ignore[arg-type]
    torch.cuda.synchronize()
    shape = f"{ROWS:,} x {COLUMNS:,}"
    yield Row(f"L2-SVM: choice of C, {shape}, {len(chosen.grid)} values", middle - began, "s")
    yield Row(f"L2-SVM: final fit, {shape}", time.monotonic() - middle, "s")


def cifar10(run: Run) -> Iterator[Row]:
    """Measure the row of a network that comes with the project, from packed images on."""
    if not (is_packed("cifar10-train", run) and is_packed("cifar10-test", run)):
        return
    began = time.monotonic()
    figures = svm.prepare(svm.EvalSpec(RECIPE), run).measure(run)
    yield Row(f"eval: from packed images to the row of {RECIPE}", time.monotonic() - began, "s", bar="<= 20")
    yield Row(f"eval: CIFAR-10 accuracy of {RECIPE}", figures[0].value, "%")

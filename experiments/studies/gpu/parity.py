"""Equality: replayed steps with steps one by one, and features and L2-SVM with the CPU's."""

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

import evaluation
import features
import gan
from experiments.run.context import Run
from experiments.studies.gpu.table import BATCH, RECIPE, SEED, Row, photographs
from experiments.training.recipe import load_recipe

BEGUN, TRAINED = 10, 40  # steps before both ways part, and steps after that; the rate falls in half of these
PARITY_BATCH = 32


def training(run: Run) -> Iterator[Row]:
    """Compare replayed steps with steps one by one, from one state, with every objective, in float32."""
    recipe = load_recipe(RECIPE)
    steps = BEGUN + TRAINED
    config = dataclasses.replace(
        recipe.training,
        images=steps * PARITY_BATCH,
        decay_from=(BEGUN + TRAINED // 2) * PARITY_BATCH,
        batch_size=PARITY_BATCH,
        precision="float32",
        r1=1.0,
        augment=("color", "translation", "cutout"),
    )
    images = torch.from_numpy(photographs(512, 64)).to(run.device)
    state = gan.new_state(recipe.architecture, config, run.device)
    for _ in itertools.islice(gan.train(state, images, config, graphs=False), BEGUN):
        pass
    ended = []
    with tempfile.TemporaryDirectory() as folder, _exact_convolutions():
        gan.save_state(Path(folder) / "state", state, config)
        for graphs in (True, False, False):
            begun = gan.load_state(Path(folder) / "state", recipe.architecture, config, run.device)
            for _ in gan.train(begun, images, config, graphs=graphs):
                pass
            ended.append(tensors(begun))
    replayed, alone, again = ended
    for kind in ("weights", "batch-norm buffers", "Adam"):
        keys = [key for key in replayed if key.startswith(kind)]
        apart, floor = (max(_distance(a[key], alone[key]) for key in keys) for a in (replayed, again))
        what = f"training: {kind} after {TRAINED} steps replayed, relative distance to one by one"
        yield Row(what, apart, "", "one by one twice", floor, "float32 order")


def synchronisations(run: Run) -> Iterator[Row]:
    """Train with synchronisation forbidden: any in a step would raise RuntimeError."""
    recipe = load_recipe(RECIPE)
    config = dataclasses.replace(recipe.training, batch_size=PARITY_BATCH, augment=("color", "translation", "cutout"))
    images = torch.from_numpy(photographs(512, 64)).to(run.device)
    done = 0
    for graphs in (False, True):
        steps = gan.train(gan.new_state(recipe.architecture, config, run.device), images, config, graphs=graphs)
        for _ in itertools.islice(steps, BEGUN):  # compiled, allocated and captured
            pass
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in itertools.islice(steps, 20):
                done += 1
        finally:
            torch.cuda.set_sync_debug_mode("default")
    yield Row("training: steps without a synchronisation", done, "steps", "tried", 40, "all")


def extraction(run: Run) -> Iterator[Row]:
    """Compare features of a random network with the CPU's."""
    images = photographs(2 * BATCH, 32)
    found = []
    for device in (run.device, torch.device("cpu")):
        backbone = random_network(device)
        features.calibrate_batchnorm(backbone, images)
        found.append(features.extract(backbone, images))
    ours, theirs = found
    apart = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    yield Row("extraction: features, relative distance to the CPU's", apart, "", bar="tf32 or float32 order")


def random_network(device: torch.device) -> features.Backbone:
    """Make the full-width network with seeded weights."""
    net = gan.Discriminator("imagenet32")
    gan.initialise(net, torch.Generator().manual_seed(SEED))
    return features.Backbone(net.to(device), net.arch.stage_names, net.arch.image_shape, net.arch.value_range)


def solver(run: Run) -> Iterator[Row]:
    """Compare the L2-SVM with the CPU's."""
    rng = np.random.default_rng(SEED)
    X = rng.standard_normal((4000, 2000), np.float32)
    y = (X[:, :10] + rng.standard_normal((4000, 10))).argmax(1)
    ours, theirs = (evaluation.L2SVM(1e-3, device=device).fit(X, y) for device in (run.device, "cpu"))
    apart = float(np.max(np.abs(ours.objective_ / theirs.objective_ - 1)))
    yield Row("L2-SVM: objective, relative distance to the CPU's", apart, "", bar="1e-4, its tolerance")
    agree = 100 * float(np.mean(ours.predict(X) == theirs.predict(X)))
    yield Row("L2-SVM: predictions as on the CPU", agree, "%")


def tensors(state: gan.TrainingState) -> dict[str, torch.Tensor]:
    """Return weights, batch-norm buffers and Adam's moments by kind and name."""
    found = {}
    for name, network in state.networks.items():
        buffers = {key for key, _ in network.named_buffers()}
        for key, value in network.state_dict().items():
            found[f"{'batch-norm buffers' if key in buffers else 'weights'} {name} {key}"] = value
    for name, optimizer in state.optimizers.items():
        for index, slots in enumerate(optimizer.state.values()):
            found |= {f"Adam {name} {index} {key}": value for key, value in slots.items()}
    return {key: value.double().cpu() for key, value in found.items()}


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp(min=1e-12))


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    """Within the block, convolutions are deterministic and in float32."""
    backend = torch.backends.cudnn
    before = backend.deterministic, backend.allow_tf32
    backend.deterministic, backend.allow_tf32 = True, False
    try:
        yield
    finally:
        backend.deterministic, backend.allow_tf32 = before

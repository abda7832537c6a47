"""A curve over made-up snapshots, each row of its own network."""

import dataclasses

import numpy as np
import pytest
import torch

import gan
from experiments.data.packed import PackedSet
from experiments.measure.quick_accuracy import GRID, accuracy, part
from experiments.studies.accuracy_along_training import curve

ARCH = dataclasses.replace(gan.PRESETS["imagenet32"], width=2)
RNG = np.random.default_rng(0)


def a_set(n=400):
    labels = np.arange(n) % 10
    images = RNG.integers(0, 60, (n, 32, 32, 3), dtype=np.uint8) + (labels * 18).astype(np.uint8)[:, None, None, None]
    return PackedSet("cifar10-train", images, labels, {})


def test_a_curve_has_the_initialisation_and_the_chosen_snapshots(tmp_path):
    folder = tmp_path / "run" / "snapshots"
    folder.mkdir(parents=True)
    for seen in range(10, 60, 10):
        net = gan.Discriminator(ARCH)
        gan.initialise(net, torch.Generator().manual_seed(seen))
        gan.save(folder / f"{seen:012d}.safetensors", net, dtype=torch.float16)
    images, device = part(a_set(), fitted=200, scored=100), torch.device("cpu")
    rows = list(curve(tmp_path / "run", images, points=2, device=device))
    assert [r["images_seen"] for r in rows] == [0, 20, 50] and {r["run"] for r in rows} == {"run"}
    assert all(10 < r["accuracy_percent"] <= 100 and r["C"] in GRID for r in rows)
    share = rows[1]["accuracy_percent"] / 100
    assert rows[1]["ci95"] == pytest.approx(196 * (share * (1 - share) / 100) ** 0.5)
    again = accuracy(gan.load(folder / f"{20:012d}.safetensors"), images, device=device).numbers
    assert again == {k: rows[1][k] for k in again}
    every = curve(tmp_path / "run", images, points=20, device=device)
    assert [r["images_seen"] for r in every] == [*range(0, 60, 10)]


def test_a_run_without_snapshots_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no snapshots in .*: train a recipe there first"):
        next(curve(tmp_path, part(a_set(), fitted=200, scored=100), points=3, device=torch.device("cpu")))

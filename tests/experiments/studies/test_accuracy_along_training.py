"""The part of the training images, and a curve over made-up snapshots, each row of its own network."""

import dataclasses

import numpy as np
import pytest
import torch

import gan
from experiments.data.load import PackedSet
from experiments.studies import accuracy_along_training as module

ARCH = dataclasses.replace(gan.PRESETS["imagenet32"], width=2)
RNG = np.random.default_rng(0)


def a_set(n=400):
    labels = np.arange(n) % 10
    images = RNG.integers(0, 60, (n, 32, 32, 3), dtype=np.uint8) + (labels * 18).astype(np.uint8)[:, None, None, None]
    return PackedSet("cifar10-train", images, labels, {})


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in (("FITTED", 200), ("SCORED", 100), ("CALIBRATED", 128)):
        monkeypatch.setattr(module, name, value)


def test_the_part_is_stratified_disjoint_and_the_same_always():
    train = a_set()
    images, labels = module.part(train)
    assert len(images) == len(labels) == 300 and len({i.tobytes() for i in images}) == 300
    assert np.bincount(labels[:200]).tolist() == [20] * 10 and np.bincount(labels[200:]).tolist() == [10] * 10
    assert np.array_equal(module.part(train)[0], images)


def test_a_curve_has_the_initialisation_and_the_chosen_snapshots(tmp_path):
    folder = tmp_path / "run" / module.SNAPSHOTS
    folder.mkdir(parents=True)
    for seen in range(10, 60, 10):
        net = gan.Discriminator(ARCH)
        gan.initialise(net, torch.Generator().manual_seed(seen))
        gan.save(folder / f"{seen:012d}.safetensors", net, dtype=torch.float16)
    train = a_set()
    rows = list(module.curve(tmp_path / "run", train, points=2, device="cpu"))
    assert [r["images_seen"] for r in rows] == [0, 20, 50] and {r["run"] for r in rows} == {"run"}
    assert all(10 < r["accuracy_percent"] <= 100 and r["C"] in module.GRID for r in rows)
    share = rows[1]["accuracy_percent"] / 100
    assert rows[1]["ci95"] == pytest.approx(196 * (share * (1 - share) / 100) ** 0.5)
    images, labels = module.part(train)
    again = module.accuracy(gan.load(folder / f"{20:012d}.safetensors"), images, labels, device="cpu")
    assert again == {k: rows[1][k] for k in again}
    assert [r["images_seen"] for r in module.curve(tmp_path / "run", train, points=20, device="cpu")] == [
        *range(0, 60, 10)
    ]


def test_a_run_without_snapshots_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no snapshots in .*: train a recipe there first"):
        next(module.curve(tmp_path, a_set(), points=3, device="cpu"))

"""The part of the training images that the probe takes, and what it finds; more is tested along training."""

import dataclasses

import numpy as np
import torch

import gan
from experiments.data.packed import PackedSet
from experiments.measure import quick_accuracy
from experiments.measure.quick_accuracy import accuracy, in_folds, part, random_init

ARCH = dataclasses.replace(gan.PRESETS["svhn32"], width=2)


def test_the_part_is_stratified_disjoint_and_the_same_always():
    labels = np.arange(400) % 10
    images = np.random.default_rng(0).integers(0, 256, (400, 8, 8, 3), dtype=np.uint8)
    train = PackedSet("made-up", images, labels, {})
    drawn = part(train, fitted=200, scored=100)
    ((fitted, scored),) = drawn.folds
    assert len(drawn.images) == len(drawn.labels) == 300 and len({i.tobytes() for i in drawn.images}) == 300
    index = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    assert [index[image.tobytes()] for image in drawn.images] == drawn.labels.tolist()
    assert np.bincount(drawn.labels[fitted]).tolist() == [20] * 10
    assert np.bincount(drawn.labels[scored]).tolist() == [10] * 10
    assert np.array_equal(part(train, fitted=200, scored=100).images, drawn.images)


def test_folds_score_every_image_once_and_never_fit_what_they_score():
    labels = np.arange(103) % 10
    drawn = in_folds(PackedSet("made-up", np.zeros((103, 8, 8, 3), np.uint8), labels, {}))
    assert np.array_equal(np.sort(np.concatenate([scored for _, scored in drawn.folds])), np.arange(103))
    for fitted, scored in drawn.folds:
        assert np.array_equal(np.sort(np.concatenate([fitted, scored])), np.arange(103))
        assert np.bincount(labels[scored]).min() >= 2  # stratified


def test_the_smallest_of_the_best_values_wins(monkeypatch):
    drawn = in_folds(
        PackedSet("made-up", np.zeros((400, 32, 32, 3), np.uint8), np.arange(400) % 4, {}), (0.1, 0.2, 0.3)
    )
    right = {0.1: 60, 0.2: 80, 0.3: 80}  # of the 80 images of a fold

    def counted(X, part, fitted, scored, device):
        assert len(X) == 400
        return np.stack([np.arange(len(scored)) < right[C] for C in part.grid])

    monkeypatch.setattr(quick_accuracy, "_right", counted)
    found = accuracy(random_init(gan.Discriminator(ARCH)), drawn, device=torch.device("cpu"))
    assert found.C == 0.2 and found.right.shape == (400,) and found.numbers["accuracy_percent"] == 100

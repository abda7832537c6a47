"""The part of the training images that the probe takes; what it measures is tested along training."""

import numpy as np

from experiments.data.packed import PackedSet
from experiments.measure.quick_accuracy import part


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

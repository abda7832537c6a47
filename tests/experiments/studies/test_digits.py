"""The classifier learns made-up classes; noise is not taken for digits, and a missing digit shows."""

import numpy as np
import torch

import gan
from experiments.studies import digits

RNG = np.random.default_rng(0)


def drawn(n, side=32, classes=range(10)):
    """Bars whose place says the class, in some noise."""
    labels = RNG.choice(list(classes), n)
    images = RNG.integers(0, 40, (n, side, side, 1), dtype=np.uint8)
    step = side // 10
    for image, label in zip(images, labels, strict=True):
        image[:, label * step : (label + 1) * step] = 220
    return images, labels.astype(np.int64)


def test_classes_are_told_and_counted():
    torch.set_num_threads(1)
    net = digits.classifier(*drawn(3000))
    images, labels = drawn(500)
    found = digits.judged(net, images)
    assert found["images"] == 500 and found["sure_percent"] > 95
    counts = [found[f"digit_{d}"] for d in range(10)]
    assert all(abs(c - n) <= 10 for c, n in zip(counts, np.bincount(labels, minlength=10), strict=True))
    without = digits.judged(net, drawn(300, classes=range(1, 10))[0])
    assert without["digit_0"] == 0 and without["digit_1"] > 10
    larger = np.repeat(np.repeat(images, 2, 1), 2, 2)
    assert digits.judged(net, larger) == found  # 64x64 is halved


def test_samples_are_of_the_seed():
    generator = gan.Generator(gan.Architecture(**SMALL))
    a, b, c = (digits.samples(generator, n=200, seed=s) for s in (0, 0, 1))
    assert a.shape == (200, 16, 16, 1) and np.array_equal(a, b) and not np.array_equal(a, c)


SMALL = {
    "width": 4,
    "multipliers": (1, 2),
    "strides": (2, 2),
    "kernel": 5,
    "nz": 6,
    "z_distribution": "uniform",
    "up_multipliers": (2, 1),
    "size": 16,
    "channels": 1,
}

"""Lanczos as matrix products against Pillow, byte for byte."""

import numpy as np
import pytest
from PIL import Image

from dedup import lanczos

SIZES = [(1, 1), (1, 40), (40, 1), (7, 300), (8, 8), (31, 33), (32, 64), (64, 64), (109, 89), (500, 5), (700, 1100)]


def pillow(images, width, height):
    resized = [Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS) for image in images]
    return np.array([np.asarray(image) for image in resized])


@pytest.mark.parametrize("target", [(32, 32), (8, 8), (9, 8)])
@pytest.mark.parametrize("height, width", SIZES)
def test_equals_pillow(height, width, target):
    rng = np.random.default_rng(height * width)
    noise = rng.integers(0, 256, (4, height, width), dtype=np.uint8)
    images = np.concatenate(
        [noise, noise // 128 * 255, np.full((1, height, width), 255, np.uint8)]
    )  # over- and undershoot
    assert np.array_equal(lanczos.resized(images, *target), pillow(images, *target))
    assert lanczos._rows_first(width, height, *target) is not None  # and it was not Pillow that did it


def test_coefficients_add_up_to_one_but_for_rounding():
    for before, after in ((1600, 32), (64, 32), (5, 9), (1, 8)):
        totals = np.concatenate([block.weights.sum(axis=0) for block in lanczos._blocks(before, after)])
        assert len(totals) == after and np.abs(totals - 1).max() < before * 2.0**-22


def test_pillow_resizes_where_the_products_would_differ(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (3, 41, 43), dtype=np.uint8)
    monkeypatch.setattr(lanczos, "_lanczos", lambda x: max(0.0, 1 - abs(x)))
    assert lanczos._rows_first(43, 41, 32, 32) is None
    assert np.array_equal(lanczos.resized(images, 32, 32), pillow(images, 32, 32))
    for cache in (lanczos._rows_first, lanczos._blocks):
        cache.cache_clear()

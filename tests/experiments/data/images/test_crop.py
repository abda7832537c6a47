"""The centre square: the authors' transform in closed forms, and compared with Pillow's two steps."""

import numpy as np
import pytest
from PIL import Image

from experiments.data.images.crop import centre_square
from experiments.data.sets.tiny_imagenet import halve


def test_at_half_size_it_is_tiny_imagenets() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(centre_square(Image.fromarray(image), 32)), halve(image[None])[0])


@pytest.mark.parametrize("factor", [3, 5])
def test_at_whole_ratios_it_is_the_block_mean(factor: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32 * factor, 32 * factor), dtype=np.uint8)
    means = image.reshape(32, factor, 32, factor).mean(axis=(1, 3))
    assert np.abs(np.asarray(centre_square(Image.fromarray(image), 32)) - means).max() < 0.6


@pytest.mark.parametrize("size", [(89, 109), (109, 89), (50, 31), (20, 27), (33, 400)])
def test_it_is_resize_then_crop(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    image = coarse.resize(size, Image.Resampling.BICUBIC)
    scale = 32 / min(size)
    whole = tuple(round(n * scale) for n in size)
    how = Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.BOX
    left, top = ((n - 32) // 2 for n in whole)
    expected = image.resize(whole, how).crop((left, top, left + 32, top + 32))
    difference = np.abs(np.asarray(expected).astype(int) - np.asarray(centre_square(image, 32)).astype(int))
    assert difference.max() <= (1 if min(size) < 64 else 12)  # from two times on, blocks come first: other weights
    assert difference.mean() < 2


def test_a_line_a_mile_long_costs_nothing() -> None:
    assert centre_square(Image.new("L", (200_000, 1)), 64).size == (64, 64)

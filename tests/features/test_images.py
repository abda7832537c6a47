"""uint8 images to network input: scaling, resizing, channels; the same batches from arrays and streams."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from features.images import batches, to_input

CPU = torch.device("cpu")


def some_images(n=5, size=8, channels=3):
    return np.random.default_rng(n).integers(0, 256, (n, size, size, channels), dtype=np.uint8)


def test_paper_scaling_to_the_last_bit():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = to_input(images, image_shape=(1, 16, 16), value_range=(-1, 1), device=CPU)
    expected = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16) / 127.5 - 1
    assert torch.equal(x, expected)
    assert (x.min(), x.max()) == (-1, 1)


def test_unit_range_equals_division_by_255():
    images = some_images()
    x = to_input(images, image_shape=(3, 8, 8), value_range=(0, 1), device=CPU)
    assert torch.equal(x, torch.from_numpy(images).permute(0, 3, 1, 2) / 255)


@pytest.mark.parametrize("size", [16, 5])
def test_resize_equals_antialiased_interpolate(size):
    images = some_images(size=12)
    x = to_input(images, image_shape=(3, size, size), value_range=(-1, 1), device=CPU)
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    expected = F.interpolate(floats, (size, size), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-6)  # a few float32 roundings at values up to 1


def test_gray_is_repeated_and_other_mismatches_refused():
    gray = some_images(channels=1)
    x = to_input(gray, image_shape=(3, 8, 8), value_range=(-1, 1), device=CPU)
    assert x.shape == (5, 3, 8, 8)
    assert torch.equal(x[:, 0], x[:, 2])
    with pytest.raises(ValueError, match=r"images must have 1 channels .* got 3"):
        to_input(some_images(), image_shape=(1, 8, 8), value_range=(-1, 1), device=CPU)


def test_images_are_left_as_they_were():
    images = some_images()
    before = images.copy()
    images.flags.writeable = False  # as a read-only memory map
    to_input(images, image_shape=(3, 8, 8), value_range=(-1, 1), device=CPU)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [4], [7, 7, 20], [22]])
def test_a_stream_gives_the_batches_of_the_array(cuts):
    images = some_images(23)
    from_array = list(batches(images, 4))
    from_stream = list(batches(iter(np.split(images, cuts)), 4))
    assert [start for start, _ in from_stream] == [start for start, _ in from_array] == [0, 4, 8, 12, 16, 20]
    for (_, a), (_, b) in zip(from_array, from_stream, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("bad", [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)])
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [a]])
def test_wrong_dtype_or_shape_is_named(bad, wrap):
    with pytest.raises(ValueError, match=r"images must be uint8 \[N, H, W, C\], got (float32|uint8)"):
        list(batches(wrap(bad), 4))


def test_a_stream_must_keep_its_shape():
    with pytest.raises(ValueError, match=r"share a shape, got \(9, 9, 3\) after \(8, 8, 3\)"):
        list(batches([some_images(size=8), some_images(size=9)], 2))


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        list(batches(some_images(), 0))

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


WRAPS = [lambda a: a, lambda a: [a], lambda a: [(a, [0, 1])]]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize(
    ("bad", "given", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), None, r"images must be uint8 \[N, H, W, C\], or .*DataLoader"),
        (np.zeros((2, 8, 8, 3), np.int64), (0, 255), r"images must be uint8 .* got int64 \[2, 8, 8, 3\]"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.bool), None, r"got bool \[2, 3, 8, 8\]"),
        (torch.zeros(2, 3, 8, 8), None, r"float images need given_range=\(low, high\), .*: \(0, 1\) after ToTensor"),
        (np.zeros((2, 3, 8, 8), np.float32), None, "float images need given_range"),
        (np.zeros((2, 8, 8, 3), np.uint8), (0, 1), "leave it out for uint8"),
        (torch.zeros(2, 3, 8, 8), (1, 0), r"given_range must be \(low, high\), finite, low < high"),
        (torch.zeros(2, 3, 8, 8), ((0, 0), (1, 1)), "given_range must be numbers, or 3 of each"),
        (torch.full((2, 3, 8, 8), -1.0), (0, 1), r"must lie in given_range \(0, 1\), got values from -1 to -1"),
        (torch.full((2, 3, 8, 8), torch.nan), (0, 1), "images must be finite, got NaN; leave such images out"),
    ],
)
def test_images_that_are_refused(bad, given, message, wrap):
    with pytest.raises(ValueError, match=message) as told:
        list(batches(wrap(bad), 4, given))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ({"image": torch.zeros(2, 3, 8, 8), "label": [0, 1]}, "got dict of 'image', 'label'; pass a generator"),
        ((torch.zeros(2, 3, 8, 8), [0, 1], [7, 8]), "got tuple of Tensor, list, list"),
        ([["a.png", "b.png"], [0, 1]], "got list of list, list"),
        ("a.png", "got str"),
    ],
)
def test_batches_that_are_no_images_are_refused(batch, got):
    with pytest.raises(ValueError, match=rf"a batch must be images or \(images, labels\), .* {got}"):
        list(batches([batch], 4, (0, 1)))


def as_float(images, low=0.0, high=1.0):
    """torchvision's ToTensor, then a normalisation."""
    low, high = (torch.tensor(bound).reshape(-1, 1, 1) for bound in (low, high))
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255 * (high - low) + low


@pytest.mark.parametrize("size", [16, 12])
@pytest.mark.parametrize("value_range", [(-1, 1), (0, 255), ((-2, -2.1, -1.9), (2.5, 2.6, 2.7))])
def test_to_tensor_gives_the_input_of_uint8_to_the_last_bit(value_range, size):
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    images = np.concatenate([levels, some_images(4, 16)])
    options = {"image_shape": (3, size, size), "value_range": value_range, "device": CPU}
    expected = to_input(images, **options)
    for floats in (as_float(images), as_float(images).numpy(), as_float(images).double()):
        [(_, batch)] = batches(floats, 8, (0, 1))
        assert torch.equal(to_input(batch, **options), expected)
    [(_, batch)] = batches(torch.from_numpy(images).permute(0, 3, 1, 2), 8)  # a uint8 tensor is [N, C, H, W]
    assert torch.equal(to_input(batch, **options), expected)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), ([-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.6400])])
def test_other_ranges_give_it_within_rounding(low, high):
    images = some_images(8, 16)
    options = {"image_shape": (3, 16, 16), "value_range": (0, 1), "device": CPU}
    [(_, batch)] = batches(as_float(images, low, high), 8, (low, high))
    # a few float32 roundings of values up to 3 over a span of 4: well below a thousandth of a grey level
    torch.testing.assert_close(to_input(batch, **options), to_input(images, **options), rtol=0, atol=1e-6)


def test_rounding_may_leave_the_range_by_half_a_grey_level():
    inside, outside = torch.full((1, 3, 2, 2), 1 + 0.49 / 255), torch.full((1, 3, 2, 2), 1 + 0.51 / 255)
    assert list(batches(inside, 1, (0, 1)))
    with pytest.raises(ValueError, match="given_range"):
        list(batches(outside, 1, (0, 1)))


def test_float_images_are_left_as_they_were():
    floats = torch.rand(5, 3, 8, 8) * 255
    before = floats.clone()
    for _, batch in batches(floats, 2, (0, 255)):
        to_input(batch, image_shape=(3, 8, 8), value_range=(-1, 1), device=CPU)
    assert torch.equal(floats, before)


@pytest.mark.parametrize("images", [np.zeros((2, 3, 8, 8), np.uint8), torch.zeros(2, 8, 8, 3, dtype=torch.uint8)])
def test_axes_in_the_other_order_are_named(images):
    [(_, batch)] = batches(images, 2)
    with pytest.raises(ValueError, match=r"must have 3 channels .*, got 8; uint8 arrays are \[N, H, W, C\], .* turn"):
        to_input(batch, image_shape=(3, 8, 8), value_range=(-1, 1), device=CPU)


def test_a_stream_must_keep_its_shape():
    with pytest.raises(ValueError, match=r"share a shape, got \(9, 9, 3\) after \(8, 8, 3\)"):
        list(batches([some_images(size=8), some_images(size=9)], 2))


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size must be at least 1, a whole number, got 0"):
        list(batches(some_images(), 0))

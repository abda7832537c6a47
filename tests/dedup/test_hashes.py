"""phash against imagehash, bit for bit, on images of every kind."""

import imagehash
import numpy as np
import pytest
from PIL import Image

import dedup
from dedup import hashes

RNG = np.random.default_rng(0)


HASHES = {"phash": imagehash.phash, "ahash": imagehash.average_hash, "dhash": imagehash.dhash}


def reference(image, name="phash"):
    return int(str(HASHES[name](image)), 16)


def pillow(array):
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def check_arrays(images):
    for name in HASHES:
        codes = getattr(dedup, name)(images)
        assert codes.dtype == np.uint64 and codes.shape == (len(images),)
        assert codes.tolist() == [reference(pillow(image), name) for image in images]


def noise(n, height, width, channels=3):
    return RNG.integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def smooth(n):
    """Low frequencies alone, as photographs have them."""
    coarse = noise(n, 5, 5)
    return np.stack([np.asarray(Image.fromarray(c).resize((32, 32), Image.Resampling.BICUBIC)) for c in coarse])


def symmetric():
    """Images whose coefficients cancel to rounding errors, where the order of operations decides bits."""
    half, ramp = noise(20, 32, 16), np.arange(32, dtype=np.uint8)
    mirrored = np.concatenate([half, half[:, :, ::-1]], axis=2)
    turned = np.concatenate([half, 255 - half[:, ::-1, ::-1]], axis=2)
    across = np.broadcast_to(ramp[:, None] * 8, (32, 32))
    checks = np.indices((32, 32)).sum(0) % 2 * 255
    planes = np.stack([across, across.T, checks, across // 64 * 64, np.maximum(across, across.T)]).astype(np.uint8)
    return np.concatenate([mirrored, mirrored.swapaxes(1, 2), turned, np.repeat(planes[..., None], 3, axis=3)])


@pytest.mark.parametrize(
    "images",
    [
        noise(500, 32, 32),
        smooth(500),
        symmetric(),
        np.stack([np.full((32, 32, 3), value, np.uint8) for value in (0, 1, 7, 100, 128, 254, 255)]),
        noise(50, 32, 32) // 128 + 127,
    ],
    ids=["random", "smooth", "symmetric", "flat", "faint"],
)
def test_arrays_equal_imagehash(images):
    check_arrays(images)
    check_arrays(images[..., :1])


@pytest.mark.parametrize(
    "height, width", [(1, 1), (1, 40), (40, 1), (31, 33), (8, 8), (64, 64), (109, 89), (32, 16), (9, 8), (500, 5)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_other_sizes_equal_imagehash(height, width, channels):
    check_arrays(noise(3, height, width, channels))


def test_pillow_images_of_any_mode_equal_imagehash():
    color, alpha = Image.fromarray(smooth(1)[0]), Image.fromarray(noise(1, 32, 32, 1)[0, ..., 0])
    transparent = color.copy()
    transparent.putalpha(alpha)
    palette = color.quantize(9)
    with_transparency = color.quantize(9)
    with_transparency.info["transparency"] = bytes(range(9))
    images = [color, alpha, transparent, palette, *(color.convert(m) for m in ("1", "LA", "CMYK", "YCbCr", "I", "F"))]
    images += [
        with_transparency.convert("RGBA"),
        color.resize((301, 77)),
        alpha.resize((5, 500)),
        transparent.resize((9, 9)),
    ]
    for name in HASHES:
        assert getattr(dedup, name)(iter(images)).tolist() == [reference(image, name) for image in images]


def test_gray_conversion_is_pillows_for_a_million_colours():
    r, g, b = np.meshgrid(np.arange(256), np.arange(256), np.arange(3, 256, 16), indexing="ij")
    colors = np.stack([r, g, b], axis=3).astype(np.uint8).reshape(1, 1024, 1024, 3)
    assert np.array_equal(hashes._luma(colors)[0], np.asarray(Image.fromarray(colors[0]).convert("L")))


def test_an_images_code_does_not_depend_on_its_neighbours(monkeypatch):
    images = np.concatenate([symmetric(), smooth(9)])
    together = dedup.phash(images)
    assert [int(dedup.phash(image[None])[0]) for image in images] == together.tolist()
    assert dedup.phash(Image.fromarray(image) for image in images).tolist() == together.tolist()
    monkeypatch.setattr(hashes, "_CHUNK", 7)
    assert dedup.phash(images).tolist() == together.tolist()


def test_pinned_codes():
    """Of a ramp downwards only the mean exceeds the median 0; of noise drawn from a fixed seed, half of the bits."""
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 8, (1, 32, 32, 1))
    assert dedup.phash(ramp).tolist() == [0x8000000000000000]
    fixed = np.random.RandomState(0).bytes(32 * 32 * 3)
    assert dedup.phash(np.frombuffer(fixed, np.uint8).reshape(1, 32, 32, 3)).tolist() == [12301534247509224002]


def test_no_images_no_codes():
    for nothing in (np.empty((0, 32, 32, 3), np.uint8), np.empty((0, 9, 9, 1), np.uint8), []):
        codes = dedup.phash(nothing)
        assert codes.dtype == np.uint64 and codes.shape == (0,)


@pytest.mark.parametrize(
    "images, got",
    [
        (np.zeros((2, 32, 32, 3)), r"float64 \(2, 32, 32, 3\)"),
        (np.zeros((32, 32, 3), np.uint8), r"uint8 \(32, 32, 3\)"),
        (np.zeros((2, 32, 32, 4), np.uint8), r"uint8 \(2, 32, 32, 4\)"),
    ],
)
def test_other_arrays_are_refused(images, got):
    with pytest.raises(ValueError, match=rf"images must be uint8 \[N, H, W, 1 or 3\], got {got}"):
        dedup.phash(images)

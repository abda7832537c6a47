"""What people see of an image: upright, on white, 8 bits; other pixels stay what they are."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import dedup
from dedup.pictures import TREATMENTS, as_seen, describe

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # about odd files, which these are
RED, WHITE = (255, 0, 0), (255, 255, 255)


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return Image.open(file)


def pixels(image):
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_turned_back(orientation, kind):
    marked = Image.fromarray(np.kron(np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3), np.ones((16, 16), np.uint8)))
    back = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: np.transpose,
        6: lambda a: np.rot90(a),  # EXIF 6: the camera was turned, so that a viewer turns by 90 degrees clockwise
        7: lambda a: a.T[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }.get(orientation, lambda a: a)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    image = saved(Image.fromarray(np.ascontiguousarray(back(np.asarray(marked)))), kind, exif=exif, **options)
    seen, done = as_seen(image)
    assert seen.size == marked.size and np.abs(pixels(seen).astype(int) - pixels(marked)).max() <= 4
    assert done == (("upright",) if orientation > 1 and kind != "TIFF" else ())  # Pillow itself turns TIFF


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"x"])
def test_a_damaged_orientation_is_upright(exif):
    image = saved(Image.new("RGB", (8, 4), RED), "JPEG", exif=exif)
    seen, done = as_seen(image)
    assert seen.size == (8, 4) and done == ()


def transparent(mode):
    """Two pixels, the second wholly transparent, of black."""
    if mode == "P":
        image = Image.new("P", (2, 1))
        image.putpalette([*RED, 0, 0, 0])
        image.putpixel((1, 0), 1)
        return saved(image, transparency=1)
    if mode in ("RGB", "L"):
        image = Image.new(mode, (2, 1), "white")
        image.putpixel((1, 0), 0 if mode == "L" else (0, 0, 0))
        return saved(image, transparency=0 if mode == "L" else (0, 0, 0))
    image = Image.new(mode, (2, 1), "white")
    image.putpixel((1, 0), (0,) * len(mode))
    return saved(image)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparency_is_on_white(mode):
    seen, done = as_seen(transparent(mode))
    assert pixels(seen).tolist() == [[list(RED if mode == "P" else WHITE), list(WHITE)]] and done == ("white",)


def test_half_transparent_is_half_white():
    seen, _ = as_seen(saved(Image.new("RGBA", (1, 1), (255, 0, 100, 128))))
    assert pixels(seen).tolist() == [[[255, 127, 177]]]  # value * 128/255 + 255 * 127/255


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_opaque_pixels_are_as_they_are(mode):
    color = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
    given = saved(color.convert("L").convert("LA") if mode == "LA" else color.convert(mode))
    if mode == "P":  # a transparent color that no pixel has
        given = saved(color.quantize(4), transparency=200)
    seen, done = as_seen(given)
    assert done == () and np.array_equal(pixels(seen), pixels(given))
    assert dedup.phash([seen]) == dedup.phash([given])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_divided_by_257(kind):
    values = np.array([[0, 128, 129, 256, 257, 385, 386, 65406, 65407, 65535]], np.uint16)
    seen, done = as_seen(saved(Image.fromarray(values), kind))
    assert np.asarray(seen).tolist() == [[0, 0, 1, 1, 1, 1, 2, 254, 255, 255]] and done == ("integers",)
    whole, _ = as_seen(saved(Image.fromarray(values.astype(np.int32)), "TIFF"))
    assert np.array_equal(whole, seen)


def test_the_transparent_gray_of_sixteen_bits_is_white():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 2, 1, 16, 0, 0, 0, 0),
        b"tRNS": struct.pack(">H", 7),
        b"IDAT": zlib.compress(b"\0" + struct.pack(">2H", 7, 257)),
        b"IEND": b"",
    }
    data = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in parts.items())
    assert np.asarray(as_seen(Image.open(io.BytesIO(data))).image).tolist() == [[255, 1]]


@pytest.mark.parametrize(
    ("values", "seen"),
    [([0, 0.5, 1], [0, 128, 255]), ([0, 0.4, 200.6, 255], [0, 0, 201, 255]), ([0, 0, 0], [0, 0, 0])],
)
def test_floats(values, seen):
    image = saved(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert np.asarray(as_seen(image).image).tolist() == [seen] and as_seen(image).done == ("floats",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32([-0.5, 1]), "floats must be in 0 to 1 or in 0 to 255, got -0.5 to 1"),
        (np.float32([0, 255.5]), "floats must be in 0 to 1 or in 0 to 255, got 0 to 255.5"),
        (np.float32([0, np.nan]), "floats must be in 0 to 1 or in 0 to 255, got nan to nan"),
        (np.int32([-1, 5]), "integers must be in 0 to 65,535, got -1 to 5"),
        (np.int32([0, 65536]), "integers must be in 0 to 65,535, got 0 to 65,536"),
    ],
)
def test_other_numbers_are_refused(values, message):
    with pytest.raises(ValueError) as caught:
        as_seen(saved(Image.fromarray(values[None]), "TIFF"))
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_several(kind):
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, (0, 0, 255))]
    image = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    seen, done = as_seen(image)
    assert np.abs(pixels(seen).astype(int) - RED).max() <= 3 and done == ("first",)
    assert as_seen(saved(frames[0], kind)).done == ()


def test_lab_and_cmyk_are_as_pillow_converts_them():
    color = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
    for given in (saved(Image.merge("LAB", color.split()), "TIFF"), saved(color.convert("CMYK"), "TIFF")):
        seen, done = as_seen(given)
        assert done == () and np.array_equal(pixels(seen), pixels(given)) and seen.convert("L").size == (9, 6)


def test_what_was_done_in_words():
    assert describe({"white": 3, "upright": 1200}) == "1,200 turned upright, 3 composited on white"
    assert describe({}) == "" and describe(dict.fromkeys(TREATMENTS, 1)).count(",") >= len(TREATMENTS) - 1

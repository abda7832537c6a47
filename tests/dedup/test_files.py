"""Image files of every kind: imagehash's bits, and the broken ones told apart."""

import io
import os
import struct
import warnings
import zipfile
import zlib
from functools import partial

import imagehash
import numpy as np
import pytest
from PIL import Image

import dedup
from dedup.pictures import as_seen

IMAGEHASH = {"phash": imagehash.phash, "ahash": imagehash.average_hash, "dhash": imagehash.dhash}
RNG = np.random.default_rng(0)


def smooth(width, height, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_alpha(image):
    image = image.copy()
    image.putalpha(Image.fromarray(RNG.integers(0, 256, image.size[::-1], dtype=np.uint8)))
    return image


def files():
    """name -> the file's bytes: every mode that a format can hold, and odd sizes."""
    color = smooth(120, 90)
    deep = Image.fromarray((RNG.integers(0, 65536, (40, 50))).astype(np.uint16))
    real = Image.fromarray(RNG.normal(100, 80, (40, 50)).astype(np.float32))
    whole = Image.fromarray(RNG.integers(-70000, 70000, (40, 50)).astype(np.int32))
    palette = color.quantize(20)
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [smooth(40, 30, seed) for seed in (1, 2, 3)]
    return {
        "rgb.jpg": encoded(color, "JPEG"),
        "gray.jpg": encoded(color.convert("L"), "JPEG"),
        "cmyk.jpg": encoded(color.convert("CMYK"), "JPEG"),
        "turned.jpg": encoded(color, "JPEG", exif=turned),
        "progressive.jpg": encoded(color, "JPEG", progressive=True),
        "rgba.png": encoded(with_alpha(color), "PNG"),
        "la.png": encoded(with_alpha(color.convert("L")), "PNG"),
        "p.png": encoded(palette, "PNG"),
        "p-one-transparent.png": encoded(palette, "PNG", transparency=3),
        "p-transparent.png": encoded(palette, "PNG", transparency=bytes(range(0, 200, 10))),
        "1.png": encoded(color.convert("1"), "PNG"),
        "i16.png": encoded(deep, "PNG"),
        "i16.tif": encoded(deep, "TIFF"),
        "i.tif": encoded(whole, "TIFF"),
        "f.tif": encoded(real, "TIFF"),
        "cmyk.tif": encoded(color.convert("CMYK"), "TIFF"),
        "moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "moving.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "pages.tif": encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "rgb.bmp": encoded(color, "BMP"),
        "rgb.ppm": encoded(color, "PPM"),
        "1x1.png": encoded(smooth(1, 1), "PNG"),
        "1xN.png": encoded(smooth(1, 77), "PNG"),
        "Nx1.png": encoded(smooth(77, 1), "PNG"),
        "2000x3.png": encoded(smooth(2000, 3), "PNG"),
        "900x700.jpg": encoded(smooth(900, 700), "JPEG"),
    }


SEEN_OTHERWISE = {  # files that people see otherwise than imagehash takes them -> what is done to them
    "turned.jpg": "upright",
    "rgba.png": "white",
    "la.png": "white",
    "p-one-transparent.png": "white",
    "p-transparent.png": "white",
    "i16.png": "integers",
    "i16.tif": "integers",
}
REFUSED = ("i.tif", "f.tif")


def reference(data, name):
    with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as image:
        warnings.simplefilter("ignore")
        return int(str(IMAGEHASH[name](image)), 16)


def test_every_kind_of_file_has_imagehashs_bits_where_people_see_the_same(tmp_path):
    content = files()
    for name in REFUSED:
        (tmp_path / name).write_bytes(content.pop(name))
    paths = [tmp_path / name for name in content]
    for path in paths:
        path.write_bytes(content[path.name])
    for given in (paths, [partial(bytes, data) for data in content.values()]):
        found = dedup.hash_files(given, hashes=["phash", "dhash", "ahash"])
        assert found.skipped == [] and found.kept.tolist() == list(range(len(content)))
        assert found.images.shape == (len(content), 64, 64, 3) and found.images.dtype == np.uint8
        assert found.treated == {"upright": 1, "white": 4, "integers": 2, "first": 3}
        for name, codes in found.codes.items():
            assert codes.dtype == np.uint64
            same = {f: code for f, code in zip(content, codes.tolist(), strict=True) if f not in SEEN_OTHERWISE}
            assert same == {f: reference(content[f], name) for f in same}
            with_shown = [as_seen(Image.open(io.BytesIO(content[f]))) for f in SEEN_OTHERWISE]
            assert [shown.done for shown in with_shown] == [(what,) for what in SEEN_OTHERWISE.values()]
            otherwise = [code for f, code in zip(content, codes.tolist(), strict=True) if f in SEEN_OTHERWISE]
            order = [f for f in content if f in SEEN_OTHERWISE]
            assert otherwise == [
                int(str(IMAGEHASH[name](as_seen(Image.open(io.BytesIO(content[f]))).image)), 16) for f in order
            ]
    refused = dedup.hash_files([tmp_path / name for name in REFUSED])
    assert refused.kept.tolist() == [] and not any(file.unread for file in refused.skipped)
    assert [file.reason.partition(", got")[0] for file in refused.skipped] == [
        "integers must be in 0 to 65,535",
        "floats must be in 0 to 1 or in 0 to 255",
    ]


def test_many_files_of_a_size_have_the_bits_of_each_alone():
    content = [encoded(smooth(width, 50, seed), "PNG") for seed in range(12) for width in (61, 64)]
    found = dedup.hash_files([partial(bytes, data) for data in content], side=None)
    assert found.codes["phash"].tolist() == [reference(data, "phash") for data in content]
    assert found.images is None


def test_thumbnails_are_the_image_squashed():
    color = smooth(640, 320)
    content = {
        "rgb": color,
        "rgba": color.convert("RGBA"),
        "l": color.convert("L"),
        "i16": Image.fromarray(np.asarray(color.convert("L")).astype(np.uint16) * 257),
    }
    found = dedup.hash_files([partial(encoded, image, "PNG") for image in content.values()], side=32)
    rgb, rgba, gray, deep = found.images.astype(int)
    assert np.abs(rgb - boxes(color)).max() <= 1 and np.array_equal(rgb, rgba)
    assert np.abs(gray - boxes(color.convert("L"))[..., None]).max() <= 1 and np.array_equal(gray, deep)


def boxes(image):
    """Means of blocks of 10x20 pixels."""
    pixels = np.asarray(image)
    return pixels.reshape(32, 10, 32, 20, *pixels.shape[2:]).mean(axis=(1, 3))


def png_of(width, height):
    """A PNG's beginning: what it announces is all that is looked at."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = struct.pack(">I", 9) + b"IDAT" + bytes(13)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + data


def test_bad_files_cost_themselves_alone(tmp_path):
    good = encoded(smooth(200, 150), "JPEG")
    png = encoded(smooth(200, 150), "PNG")
    content = {
        "a-good.jpg": good,
        "cut.jpg": good[:1500],
        "cut.png": png[: len(png) // 2],
        "damaged.png": png[:60] + bytes([png[60] ^ 255]) + png[61:],
        "empty.jpg": b"",
        "phone.jpg": b"\0\0\0\x20ftypheic" + bytes(50),
        "new.jpg": b"\xff\x0a" + bytes(50),
        "huge.png": png_of(10_000, 9_000),  # Pillow would warn
        "vast.png": png_of(20_000, 20_000),  # Pillow refuses
        "text.jpg": b"not an image",
        "z-good.jpg": good,
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "big.jpg").write_bytes(good + bytes(20_000))
    paths = sorted(tmp_path.iterdir())
    found = dedup.hash_files(paths, max_file_bytes=20_000)
    assert [paths[i].name for i in found.kept] == ["a-good.jpg", "z-good.jpg"]
    assert found.codes["phash"].tolist() == [reference(good, "phash")] * 2
    reasons = {paths[file.place].name: (file.reason, file.unread) for file in found.skipped}
    assert reasons.keys() == {path.name for path in paths} - {"a-good.jpg", "z-good.jpg"}
    assert reasons["empty.jpg"] == ("empty", False)
    assert reasons["phone.jpg"] == ("HEIC, which Pillow does not read: convert it to JPEG or PNG", False)
    assert reasons["new.jpg"] == ("JPEG XL, which Pillow does not read: convert it to JPEG or PNG", False)
    assert reasons["text.jpg"] == ("no image format that Pillow knows", False)
    assert reasons["huge.png"] == ("must have at most 89,478,485 pixels, got 90,000,000", False)
    assert "decompression bomb" in reasons["vast.png"][0]
    assert "truncated" in reasons["cut.jpg"][0] and "truncated" in reasons["cut.png"][0]
    assert reasons["folder.jpg"] == ("a folder", True)
    assert reasons["link.jpg"] == ("No such file or directory", True)
    assert reasons["pipe.jpg"] == ("not a regular file", True)
    assert reasons["big.jpg"][0].startswith("must hold at most 20,000 bytes, got 2") and reasons["big.jpg"][1]
    assert not any("\n" in reason for reason, _ in reasons.values())


def test_a_reader_that_raises_costs_its_file_alone():
    def refuse():
        raise PermissionError(13, "Permission denied", "x.jpg")

    found = dedup.hash_files([refuse, partial(encoded, smooth(9, 9), "PNG")])
    assert found.kept.tolist() == [1] and found.skipped == [dedup.Skipped(0, "Permission denied", True)]


def test_nothing_gives_nothing():
    found = dedup.hash_files([], hashes=["ahash"])
    assert found.codes["ahash"].shape == (0,) and found.images.shape == (0, 64, 64, 3) and found.skipped == []


def test_unknown_hashes_are_refused():
    with pytest.raises(ValueError, match="hashes must be of phash, ahash, dhash, got 'whash'"):
        dedup.hash_files([], hashes=["phash", "whash"])


@pytest.mark.data
def test_real_photographs_have_imagehashs_bits(data_root):
    source = data_root / "tiny-imagenet-200" / "train-6.zip"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    with zipfile.ZipFile(source) as archive:
        content = [archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".JPEG")][:1000]
    found = dedup.hash_files([partial(bytes, data) for data in content], hashes=list(IMAGEHASH))
    assert len(content) == 1000 and found.skipped == []
    for name in IMAGEHASH:
        assert found.codes[name].tolist() == [reference(data, name) for data in content]

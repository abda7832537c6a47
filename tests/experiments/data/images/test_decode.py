"""Image files -> squares: upright, gray or RGB, the first frame, sixteen bits; too large ones are refused."""

import io

import numpy as np
import pytest
from PIL import Image

from experiments.data.images.decode import decode_squares


def square(data: bytes, side: int, channels: int) -> np.ndarray:
    return decode_squares([("", lambda: data)], side=side, channels=channels, most=1).arrays["images"][0]


def png(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("L", size, 77).save(file, "PNG")
    return file.getvalue()


def test_orientation_gray_and_first_frame() -> None:
    marked = Image.new("RGB", (64, 64))
    marked.paste((255, 255, 255), (0, 0, 64, 20))  # the top, once upright: on the right
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    marked.save(file, "PNG", exif=exif)
    upright = square(file.getvalue(), 32, 3)
    assert upright[:, -5:].min() == 255 and upright[:, :5].max() == 0
    gray = io.BytesIO()
    Image.new("L", (40, 40), 77).save(gray, "PNG")
    assert square(gray.getvalue(), 32, 3).tolist() == np.full((32, 32, 3), 77).tolist()
    assert square(gray.getvalue(), 32, 1).shape == (32, 32, 1)
    frames = io.BytesIO()
    Image.new("L", (32, 32), 10).save(frames, "GIF", save_all=True, append_images=[Image.new("L", (32, 32), 200)])
    assert set(square(frames.getvalue(), 32, 1).ravel()) == {10}
    deep = io.BytesIO()
    Image.fromarray(np.full((32, 32), 0x4D00, np.uint16)).save(deep, "PNG")
    assert set(square(deep.getvalue(), 32, 1).ravel()) == {0x4D}


def test_what_cannot_be_decoded_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)

    def gone() -> bytes:
        raise FileNotFoundError(2, "No such file or directory", "c")

    records = [("a", lambda: png((40, 40))), ("b", lambda: png((32, 32))), ("c", gone), ("d", lambda: png((9, 9)))]
    found = decode_squares(records, side=8, channels=3, most=4)
    assert found.arrays["images"].shape == (2, 8, 8, 3) and set(found.arrays["images"].ravel()) == {77}
    assert (found.arrays["places"].tolist(), found.header["gray"], found.final) == ([1, 3], 2, False)
    reasons = [("a", "must have at most 1,500 pixels, got 1,600"), ("c", "No such file or directory")]
    assert found.header["skipped"] == reasons
    exact = decode_squares(records[1::2], side=8, channels=1, most=2, exact=32)
    assert exact.arrays["images"].shape == (1, 8, 8, 1) and exact.final
    assert exact.header["skipped"] == [("d", "must be 32x32 pixels, got 9x9")]

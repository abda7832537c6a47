"""Image files: decoded alike from everywhere, and broken ones told apart."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from experiments.data.images.decode import decode_rgb


def _encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def test_rgb_and_gray() -> None:
    np.testing.assert_array_equal(decode_rgb(_encoded(RGB)), RGB)
    np.testing.assert_array_equal(decode_rgb(_encoded(RGB[..., 0])), np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    "data", [b"", b"not an image", _encoded(RGB)[:-60], _encoded(np.tile(RGB, (20, 20, 1)), "JPEG")[:900]]
)
def test_broken_files(data: bytes) -> None:
    with pytest.raises((OSError, ValueError, SyntaxError)):
        decode_rgb(data)


@pytest.mark.parametrize("limit", [29, 10])  # one pixel over, where Pillow would only warn, and three times over
def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the caller's filter does not soften it
        with pytest.raises(ValueError, match="decompression bomb"):
            decode_rgb(_encoded(RGB))

"""One image file's pixels as RGB, and how large such a file may be. No data set's names here."""

import io
import warnings

import numpy as np
from PIL import Image

__all__ = ["MAX_FILE_BYTES", "decode_rgb"]

MAX_FILE_BYTES = 64 * 2**20  # of one image file, uncompressed: a zip's small member can unfold to anything


def decode_rgb(data: bytes) -> np.ndarray:
    """Decode one image file: uint8 [H, W, 3] in [0, 255]. Gray becomes three equal channels.

    Raises OSError, ValueError or SyntaxError for what is no image, is cut short, or has more pixels than
    `Image.MAX_IMAGE_PIXELS` (up to twice that number Pillow itself only warns).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(data)) as image:
                return np.asarray(image.convert("RGB"))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"decompression bomb: {error}") from error

"""Decode image files to pixels, in this process. A file that cannot be decoded is skipped."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import PIL
from PIL import Image, ImageFile, features

from dedup.files import one_line, open_image
from dedup.pictures import as_seen
from experiments.data.images.chunks import Outcome
from experiments.data.images.crop import SHRUNK, centre_square

MAX_FILE_BYTES = 64 * 2**20  # of one image file, uncompressed: a small member of a zip can unpack to any size
DECODER = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}"


def describe_transform(side: int, channels: int) -> str:
    """Describe how `decode_squares` makes its squares, for the sidecar of a packed set."""
    mode = "gray" if channels == 1 else "RGB"
    draft = f"a JPEG of {4 * side} pixels and more at a fraction (DCT scaling to no less than {2 * side})"
    return f"{mode}; EXIF orientation; {SHRUNK.format(side=side)}, bilinear where smaller; {draft}"


def decode_squares(
    records: Iterable[tuple[str, Callable[[], bytes]]], *, side: int, channels: int, most: int, exact: int | None = None
) -> Outcome:
    """Decode every record (name, function that reads its bytes) to a square: the centre of its first frame.

    The frame is taken as people see it: upright, opaque, of 8 bits (see `dedup.pictures.as_seen`).

    most: the largest possible number of records. exact: the height and width in pixels that every image must have.

    The outcome's arrays are `images`, uint8 [n, side, side, channels], the images that could be decoded, and `places`,
    int64 [n], the index of each one's record. Its header holds `gray`, the number of gray images among them,
    `treated`, treatment -> number of images, and `skipped`, (name, reason) of each file that could not be decoded. The
    outcome is not final if a file could not be read, since that may be temporary.
    """
    sheet = Image.new("L" if channels == 1 else "RGB", (side, side * most))  # one conversion to an array, not `most`
    places: list[int] = []
    treated: Counter[str] = Counter()
    header: dict[str, Any] = {"gray": 0, "treated": treated, "skipped": []}
    final = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about files: there would be thousands
        for place, (name, read) in enumerate(records):
            unread = True
            try:
                data = read()
                unread = False
                image = open_image(data)
                if exact is not None and image.size != (exact, exact):
                    raise ValueError(f"must be {exact}x{exact} pixels, got {image.width}x{image.height}")
                is_gray = image.mode == "L"
                square, done = _square(image, side, channels)
                sheet.paste(square, (0, side * len(places)))
                places.append(place)
                if done:
                    treated.update(done)
                header["gray"] += is_gray
            except MemoryError:
                header["skipped"].append((name, "not enough memory"))
                final = False
            except Exception as error:  # Pillow's plugins raise nearly anything for a malformed file
                header["skipped"].append((name, one_line(error)))
                final &= not unread
    images = np.asarray(sheet).reshape(most, side, side, channels)[: len(places)]
    return Outcome({"images": images, "places": np.array(places, np.int64)}, header, final)


def _square(image: ImageFile.ImageFile, side: int, channels: int) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the square, and what was done to the image's pixels (see `dedup.pictures.TREATMENTS`)."""
    if min(image.size) >= 4 * side:
        image.draft(None, (2 * side, 2 * side))  # libjpeg itself halves the image, down to twice the side at least
    seen, done = as_seen(image)
    mode = "L" if channels == 1 else "RGB"
    small = centre_square(seen if seen.mode in (mode, "L") else seen.convert(mode), side)
    return small if small.mode == mode else small.convert(mode), done

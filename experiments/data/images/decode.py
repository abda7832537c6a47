"""Decode image files to pixels, in this process. A file that cannot be decoded is skipped."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import PIL
from PIL import Image, ImageFile, ImageOps, features

from dedup.files import one_line, open_image
from experiments.data.images.chunks import Outcome
from experiments.data.images.crop import SHRUNK, centre_square

MAX_FILE_BYTES = 64 * 2**20  # of one image file, uncompressed: a small member of a zip can unpack to any size
DECODER = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}"
ORIENTATION = 0x0112  # the EXIF tag


def describe_transform(side: int, channels: int) -> str:
    """Describe how `decode_squares` makes its squares, for the sidecar of a packed set."""
    mode = "gray" if channels == 1 else "RGB"
    draft = f"a JPEG of {4 * side} pixels and more at a fraction (DCT scaling to no less than {2 * side})"
    return f"{mode}; EXIF orientation; {SHRUNK.format(side=side)}, bilinear where smaller; {draft}"


def decode_squares(
    records: Iterable[tuple[str, Callable[[], bytes]]], *, side: int, channels: int, most: int, exact: int | None = None
) -> Outcome:
    """Decode every record (name, function that reads its bytes) to a square: the centre of its first frame, upright.

    most: the largest possible number of records. exact: the height and width in pixels that every image must have.

    The outcome's arrays are `images`, uint8 [n, side, side, channels], the images that could be decoded, and `places`,
    int64 [n], the index of each one's record. Its header holds `gray`, the number of gray images among them, and
    `skipped`, (name, reason) of each file that could not be decoded. The outcome is not final if a file could not be
    read, since that may be temporary.
    """
    sheet = Image.new("L" if channels == 1 else "RGB", (side, side * most))  # one conversion to an array, not `most`
    places: list[int] = []
    header: dict[str, Any] = {"gray": 0, "skipped": []}
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
                sheet.paste(_square(image, side, channels), (0, side * len(places)))
                places.append(place)
                header["gray"] += is_gray
            except MemoryError:
                header["skipped"].append((name, "not enough memory"))
                final = False
            except Exception as error:  # Pillow's plugins raise nearly anything for a malformed file
                header["skipped"].append((name, one_line(error)))
                final &= not unread
    images = np.asarray(sheet).reshape(most, side, side, channels)[: len(places)]
    return Outcome({"images": images, "places": np.array(places, np.int64)}, header, final)


def _square(image: ImageFile.ImageFile, side: int, channels: int) -> Image.Image:
    upright: Image.Image = image
    if min(image.size) >= 4 * side:
        image.draft(None, (2 * side, 2 * side))  # libjpeg itself halves the image, down to twice the side at least
    # a JPEG without EXIF and XMP has no orientation, and reading it would take a tenth of the time
    may_be_turned = image.format != "JPEG" or "exif" in image.info or "xmp" in image.info
    if may_be_turned and image.getexif().get(ORIENTATION, 1) != 1:
        upright = ImageOps.exif_transpose(image)
    mode = "L" if channels == 1 else "RGB"
    if upright.mode.startswith("I;16"):  # convert() clips such values to a byte: nearly all become white
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    small = centre_square(upright if upright.mode in (mode, "L") else upright.convert(mode), side)
    return small if small.mode == mode else small.convert(mode)

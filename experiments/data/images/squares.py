"""Encoded photographs -> uint8 squares, in one process; one that cannot be decoded costs itself alone."""

import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageFile, ImageOps, features

from dedup.files import open_image
from experiments.data.images.crop import SHRUNK, centre_square

__all__ = ["DECODER", "Squares", "square", "squares", "transform"]

DECODER = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}"
ORIENTATION = 0x0112  # the EXIF tag


class Squares(NamedTuple):
    """What became of the records.

    images: uint8 [n, side, side, channels]. places: int64 [n], which of the records they are. gray: of how many the
    file is gray. skipped: the others, (name, reason). may_pass: whether some of that may pass (a disk's error).
    """

    images: np.ndarray
    places: np.ndarray
    gray: int
    skipped: list[tuple[str, str]]
    may_pass: bool


def transform(side: int, channels: int) -> str:
    """What `square` does, for the sidecar."""
    mode = "gray" if channels == 1 else "RGB"
    draft = f"a JPEG of {4 * side} pixels and more at a fraction (DCT scaling to no less than {2 * side})"
    return f"{mode}; EXIF orientation; {SHRUNK.format(side=side)}, bilinear where smaller; {draft}"


def square(data: bytes, side: int, channels: int) -> Image.Image:
    """`side` x `side` pixels of an image file, mode L or RGB: its first frame, upright.

    Raises whatever Pillow's plugins do for what is no image, and what `open_image` does.
    """
    return _fitted(open_image(data), side, channels)


def _fitted(image: ImageFile.ImageFile, side: int, channels: int) -> Image.Image:
    upright: Image.Image = image
    if min(image.size) >= 4 * side:
        image.draft(None, (2 * side, 2 * side))  # the libjpeg's own halving, where twice the size is left
    # of a JPEG that has neither it is not asked: that takes a tenth of the time
    told = image.format != "JPEG" or "exif" in image.info or "xmp" in image.info
    if told and image.getexif().get(ORIENTATION, 1) != 1:
        upright = ImageOps.exif_transpose(image)
    mode = "L" if channels == 1 else "RGB"
    if upright.mode.startswith("I;16"):  # convert() clips it to a byte: white nearly all over
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    small = centre_square(upright if upright.mode in (mode, "L") else upright.convert(mode), side)
    return small if small.mode == mode else small.convert(mode)


def squares(
    records: Iterable[tuple[str, Callable[[], bytes]]], *, side: int, channels: int, most: int, exact: int | None = None
) -> Squares:
    """`square` of every record (name, what reads it), of which there are `most` at most.

    exact: pixels of both sides that every image must have.
    """
    sheet = Image.new("L" if channels == 1 else "RGB", (side, side * most))  # one conversion to an array, not `most`
    places: list[int] = []
    gray = 0
    skipped: list[tuple[str, str]] = []
    may_pass = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about files: they would come by the thousand
        for place, (name, read) in enumerate(records):
            unread = True
            try:
                data = read()
                unread = False
                image = open_image(data)
                if exact is not None and image.size != (exact, exact):
                    raise ValueError(f"must be {exact}x{exact} pixels, got {image.width}x{image.height}")
                of_gray = image.mode == "L"
                sheet.paste(_fitted(image, side, channels), (0, side * len(places)))
                places.append(place)
                gray += of_gray
            except MemoryError:
                skipped.append((name, "not enough memory"))
                may_pass = True
            except Exception as error:  # Pillow's plugins raise nearly anything for a malformed file
                skipped.append((name, one_line(error)))
                may_pass |= unread
    images = np.asarray(sheet).reshape(most, side, side, channels)[: len(places)]
    return Squares(images, np.array(places, np.int64), gray, skipped, may_pass)


def one_line(error: Exception) -> str:
    """The reason, without what only a programmer could read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the path, which the caller knows
    if isinstance(error, Image.UnidentifiedImageError):  # its text names a buffer in memory
        return "no image format that Pillow knows"
    return " ".join(str(error).split()) or type(error).__name__

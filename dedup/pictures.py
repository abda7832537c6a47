"""Turn an image that Pillow opens into what people see: upright, on white where it is transparent, 8 bits a channel."""

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

TREATMENTS = {  # what can be done to an image -> the same in words, after a number of images
    "upright": "turned upright",
    "white": "composited on white",
    "integers": "scaled from 16 or 32 bits",
    "floats": "scaled from floats",
    "first": "taken as the first of several frames or pages",
}
ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN = ("1", "L", "P", "RGB", "CMYK", "YCbCr")  # modes that Pillow converts to L and to RGB
_BYTE_OF = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # value / 257, rounded


class Picture(NamedTuple):
    """What people see of an image.

    image: upright, without transparency, of mode 1, L, P, RGB, CMYK or YCbCr.
    done: what that took, names of TREATMENTS.
    """

    image: Image.Image
    done: tuple[str, ...]


def as_seen(image: ImageFile.ImageFile) -> Picture:
    """Return the first frame as people see it; its pixels are the image's own where nothing of the following applies.

    - It is turned upright by the orientation in EXIF or XMP. A damaged orientation counts as upright.
    - Transparency is composited on white.
    - Integers of 16 and 32 bits in 0 to 65535 are divided by 257 and rounded.
    - Floats in 0 to 1 are multiplied by 255, and others in 0 to 255 stay; both are rounded.

    Raises ValueError for other integers and floats, and any error of Pillow's plugins for a malformed file.
    """
    # nothing applies to a JPEG without EXIF and XMP, and to look for an orientation would take a tenth of the time
    if image.format == "JPEG" and "exif" not in image.info and "xmp" not in image.info:
        return Picture(image, ())
    done = []
    seen: Image.Image = image
    if (turn := _TURNS.get(_orientation(image))) is not None:
        seen = image.transpose(turn)
        done.append("upright")
    if seen.mode[0] == "I" or seen.mode == "F":
        done.append("floats" if seen.mode == "F" else "integers")
        seen = _in_bytes(seen)
    elif seen.has_transparency_data:
        seen, is_transparent = _opaque(seen)
        if is_transparent:
            done.append("white")
    if seen.mode not in _PLAIN:
        seen = seen.convert("RGB")
    if image.format == "GIF" and seen is image:
        seen = image.copy()  # to look for a second frame moves the image
    if _has_more(image):
        done.append("first")
    return Picture(seen, tuple(done))


def describe(treated: Mapping[str, int]) -> str:
    """Return in words how many images were treated in which way; empty if none was."""
    return ", ".join(f"{treated[name]:,} {words}" for name, words in TREATMENTS.items() if treated.get(name))


def _orientation(image: ImageFile.ImageFile) -> int:
    if image.format == "TIFF":  # Pillow turns it when it decodes it
        return 1
    with contextlib.suppress(Exception):  # Pillow raises nearly anything for malformed EXIF
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _in_bytes(image: Image.Image) -> Image.Image:
    """Return an image of integers or floats in mode L."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not 0 <= low <= high <= 255:  # NaN, too
            raise ValueError(f"floats must be in 0 to 1 or in 0 to 255, got {low:g} to {high:g}")
        return Image.fromarray(np.rint(values * np.float32(255) if high <= 1 else values).astype(np.uint8))
    if not 0 <= low <= high <= 65535:
        raise ValueError(f"integers must be in 0 to 65,535, got {low:,} to {high:,}")
    gray = _BYTE_OF[values]
    if isinstance(key := image.info.get("transparency"), int):
        gray[values == key] = 255
    return Image.fromarray(gray)


def _opaque(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return the image composited on white, and whether any of its pixels is transparent."""
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    with_alpha = image.convert("LA" if mode == "L" else "RGBA")
    alpha = with_alpha.getchannel("A")
    if alpha.getextrema()[0] == 255:  # without a copy where the mode has no alpha
        return image if image.mode in _PLAIN else with_alpha.convert(mode), False
    white = Image.new(mode, image.size, "white")
    white.paste(with_alpha.convert(mode), mask=alpha)
    return white, True


def _has_more(image: ImageFile.ImageFile) -> bool:
    """Whether there are frames or pages after the first. The other images of an MPO are of the same scene."""
    with contextlib.suppress(Exception):  # a second frame can be malformed
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    return False

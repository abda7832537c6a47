"""The authors' transform: resize the shorter side to the wanted size, then take the centre square.

Shrinking takes means over areas; enlarging is bilinear. Resizing and cropping are one step, done only for the pixels
that the crop keeps: an image one pixel high and a mile wide costs no more than another.
"""

import numpy as np
from PIL import Image

SHRUNK = "shorter side to {side} pixels by block means (box filter for the rest), centre crop"
ENLARGED = "bilinear to {side}x{side}"


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """Return the image, of mode L or RGB, as `side` x `side` pixels.

    At a whole ratio f the pixels are the rounded means of f x f blocks (at f = 2 exactly, with halves rounded up).
    """
    if image.width == image.height and image.width % side == 0:
        return image.reduce(image.width // side)  # the same as below, but faster
    scale = side / min(image.size)
    width, height = (max(side, round(n * scale)) for n in image.size)  # of the whole image, resized
    left, top = (width - side) // 2, (height - side) // 2
    x, y = image.width / width, image.height / height  # back to the image's own pixels
    box = (left * x, top * y, min((left + side) * x, image.width), min((top + side) * y, image.height))
    if scale > 1:
        return image.resize((side, side), Image.Resampling.BILINEAR, box=box)
    # the gap makes Pillow take whole blocks first: exact at whole ratios, and fast
    return image.resize((side, side), Image.Resampling.BOX, box=box, reducing_gap=1.0)


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 [N, H, W, 1] -> uint8 [N, side, side, 1]; the same array if it already has that size."""
    if images.shape[1:3] == (side, side):
        return images
    small = [np.asarray(centre_square(Image.fromarray(image[..., 0]), side)) for image in images]
    return np.stack(small)[..., None]

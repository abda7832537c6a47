"""Reduce images of any size to the 32x32 that are compared."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32


def check(images: NDArray[np.uint8]) -> None:
    """Raise ValueError unless `images` are uint8 [N, H, W, 1 or 3]."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise ValueError(f"images must be uint8 [N, H, W, 1 or 3], got {images.dtype} {list(images.shape)}")


def small(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Squash each image to a square with Pillow's box filter: uint8 [N, H, W, 1 or 3] -> uint8 [N, 32, 32, 3]."""
    check(images)
    if images.shape[1:3] != (SIDE, SIDE):
        pictures = (Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image) for image in images)
        shrunk = [np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX)) for picture in pictures]
        images = np.array(shrunk, np.uint8).reshape(len(images), SIDE, SIDE, images.shape[3])
    return np.ascontiguousarray(np.broadcast_to(images, (*images.shape[:3], 3)))

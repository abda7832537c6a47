"""Perceptual hashes, many images at a time, bit for bit those of the `imagehash` library."""

from collections.abc import Iterable

import numpy as np
import scipy.fftpack
from numpy.typing import NDArray
from PIL import Image

_SIDE = 32  # pixels of the gray image that the DCT sees: imagehash's hash_size 8 x highfreq_factor 4
_KEPT = 8  # low frequencies kept in each direction: 8 x 8 = 64 bits
_CHUNK = 4096  # images hashed at once: 33 MB of float64


def phash(images: NDArray[np.uint8] | Iterable[Image.Image]) -> NDArray[np.uint64]:
    """DCT hash of each image: uint64 [N], the integer of `str(imagehash.phash(image))` read as hexadecimal.

    `images`: uint8 [N, H, W, C] with C = 1 or 3, or an iterable of Pillow images of any size and mode. Gray conversion
    and resizing are Pillow's own; a bit is set where a low-frequency DCT coefficient exceeds their median.
    """
    grays = _grays(images)
    codes = [_dct_codes(grays[i : i + _CHUNK]) for i in range(0, len(grays), _CHUNK)]
    return np.concatenate(codes) if codes else np.empty(0, np.uint64)


def _dct_codes(grays: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint8 [n, 32, 32] -> uint64 [n]."""
    # imagehash transforms columns, then rows, without normalisation, and only then cuts out the low frequencies;
    # cutting after the first transform leaves every remaining operation, and so every bit, as it is
    columns = scipy.fftpack.dct(grays.astype(np.float64), axis=1)[:, :_KEPT]
    low = scipy.fftpack.dct(columns, axis=2)[:, :, :_KEPT].reshape(len(grays), -1)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64)[:, 0]


def _grays(images: NDArray[np.uint8] | Iterable[Image.Image]) -> NDArray[np.uint8]:
    """Gray images as imagehash makes them: uint8 [N, 32, 32]."""
    if not isinstance(images, np.ndarray):
        return np.array([_gray(image) for image in images], np.uint8).reshape(-1, _SIDE, _SIDE)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(f"images must be uint8 [N, H, W, 1 or 3], got {images.dtype} {images.shape}")
    if images.shape[1:3] != (_SIDE, _SIDE):
        return _grays(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image) for image in images)
    gray = np.empty(images.shape[:3], np.uint8)
    for i in range(0, len(images), _CHUNK):
        gray[i : i + _CHUNK] = _luma(images[i : i + _CHUNK])
    return gray


def _luma(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pillow's conversion to mode L: ITU-R 601 weights in 16-bit fixed point, rounded. [n, H, W, C] -> [n, H, W]."""
    if images.shape[3] == 1:
        return images[..., 0]
    r, g, b = (images[..., c].astype(np.uint32) for c in range(3))
    return ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8)


def _gray(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))

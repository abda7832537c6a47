"""Perceptual hashes, many images at a time, bit for bit those of the `imagehash` library.

`phash` is its phash, `ahash` its average_hash, `dhash` its dhash, all at the default size of 64 bits. Gray conversion
and resizing are Pillow's own: equally large images are laid one below the other and go through it as one.
"""

import functools
from collections.abc import Iterable

import numpy as np
import scipy.fftpack
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8] | Iterable[Image.Image]
Gray = NDArray[np.uint8]  # [n, height, width]

_BITS = 8  # an image's bits in each direction
_SIDE = 32  # pixels of the gray image that the DCT sees: imagehash's hash_size 8 x highfreq_factor 4
_CHUNK = 4096  # images hashed at once: 33 MB of float64
_PIXELS = 1 << 24  # ... and pixels of larger ones
# imagehash's two transforms, cut to the low frequencies, as one matrix: [32 * 32, 8 * 8]
_DCT = scipy.fftpack.dct(np.eye(_SIDE), axis=0)[:_BITS]
_LOW = np.einsum("ky,lx->yxkl", _DCT, _DCT).reshape(_SIDE**2, _BITS**2)
# Rounding in either way of computing a coefficient, at most 1025 x 2^-53 x (255 x 4 x 1024), with room to spare
_ROUNDING = 1e-6


def phash(images: Images) -> NDArray[np.uint64]:
    """DCT hash: uint64 [N], the integer of `str(imagehash.phash(image))` read as hexadecimal.

    `images`: uint8 [N, H, W, C] with C = 1 or 3, or an iterable of Pillow images of any size and mode. A bit is set
    where a low-frequency DCT coefficient exceeds the median of all 64.
    """
    return _codes([_dct_bits(gray) for gray in _grays(images, _SIDE, _SIDE)])


def ahash(images: Images) -> NDArray[np.uint64]:
    """Average hash, as `phash`: a bit is set where a pixel of the image at 8x8 exceeds their mean."""
    return _codes([gray > gray.mean((1, 2), keepdims=True) for gray in _grays(images, _BITS, _BITS)])


def dhash(images: Images) -> NDArray[np.uint64]:
    """Difference hash, as `phash`: a bit is set where a pixel of the image at 9x8 exceeds its left neighbour."""
    return _codes([gray[:, :, 1:] > gray[:, :, :-1] for gray in _grays(images, _BITS + 1, _BITS)])


def _codes(bits: list[NDArray[np.bool_]]) -> NDArray[np.uint64]:
    """bool [n, 64] or [n, 8, 8] each -> uint64 [N], the first bit the highest."""
    rows = [np.packbits(b.reshape(-1, _BITS**2), axis=1) for b in bits]
    return np.concatenate([np.empty((0, 8), np.uint8), *rows]).view(">u8").astype(np.uint64)[:, 0]


def _dct_bits(gray: Gray) -> NDArray[np.bool_]:
    """uint8 [n, 32, 32] -> bool [n, 64].

    One product with float64 rounding decides all bits but those that hang on the last digits (flat and symmetric
    images): these images are transformed as imagehash does it, operation by operation.
    """
    low = gray.reshape(-1, _SIDE**2).astype(np.float64) @ _LOW
    bits, close = _above_median(low)
    index = np.flatnonzero(close)
    if len(index):
        exact = scipy.fftpack.dct(scipy.fftpack.dct(gray[index], axis=1), axis=2)[:, :_BITS, :_BITS]
        bits[index] = _above_median(exact.reshape(len(index), -1))[0]
    return bits


def _above_median(low: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(which values exceed the median of their row, in which rows one is too close to it to be sure)."""
    middle = np.sort(low, axis=1)[:, _BITS**2 // 2 - 1 : _BITS**2 // 2 + 1]
    median = middle.mean(axis=1)
    return low > median[:, None], middle[:, 1] - median < _ROUNDING


def _grays(images: Images, width: int, height: int) -> Iterable[Gray]:
    """Gray images as imagehash makes them, in pieces: uint8 [n, height, width]."""
    if not isinstance(images, np.ndarray):
        grays = [np.asarray(i.convert("L").resize((width, height), Image.Resampling.LANCZOS)) for i in images]
        yield np.array(grays, np.uint8).reshape(-1, height, width)
        return
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(f"images must be uint8 [N, H, W, 1 or 3], got {images.dtype} {images.shape}")
    piece = max(1, min(_CHUNK, _PIXELS // max(1, images.shape[1] * images.shape[2])))
    for i in range(0, len(images), piece):
        yield _shrunk(_luma(images[i : i + piece]), width, height)


def _luma(images: NDArray[np.uint8]) -> Gray:
    """Pillow's conversion to mode L: uint8 [n, H, W, 1 or 3] -> [n, H, W]."""
    n, height, width, channels = images.shape
    if channels == 1:
        return images[..., 0]
    tall = Image.fromarray(np.ascontiguousarray(images).reshape(n * height, width, channels))
    return np.asarray(tall.convert("L")).reshape(n, height, width)


def _shrunk(gray: Gray, width: int, height: int) -> Gray:
    """Pillow's Lanczos resize, of all images at once. It works on one axis, rounds, and works on the other."""
    if _rows_first(gray.shape[2], gray.shape[1], width, height):
        return _rows(_rows(gray, width).swapaxes(1, 2), height).swapaxes(1, 2)
    return _rows(_rows(gray.swapaxes(1, 2), height).swapaxes(1, 2), width)


@functools.cache
def _rows_first(old_width: int, old_height: int, width: int, height: int) -> bool:
    """Whether Pillow, from one size to another, begins with the rows: its releases choose differently."""
    probe = np.random.default_rng(0).integers(0, 256, (1, old_height, old_width), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(probe[0]).resize((width, height), Image.Resampling.LANCZOS))
    return np.array_equal(_rows(_rows(probe, width).swapaxes(1, 2), height).swapaxes(1, 2)[0], whole)


def _rows(gray: Gray, width: int) -> Gray:
    """Every row resized: uint8 [n, H, W] -> [n, H, width]."""
    n, height, before = gray.shape
    if before == width:
        return gray
    tall = Image.fromarray(np.ascontiguousarray(gray).reshape(n * height, before))
    return np.asarray(tall.resize((width, n * height), Image.Resampling.LANCZOS)).reshape(n, height, width)

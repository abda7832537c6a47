"""Perceptual hashes, many images at a time, bit for bit those of the `imagehash` library.

`phash` is its phash, `ahash` its average_hash, `dhash` its dhash, all at the default size of 64 bits. Pillow converts
to gray. Pillow also resizes images of rare sizes; images of the same size are resized together by `dedup.lanczos`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fftpack
from numpy.typing import NDArray
from PIL import Image

from dedup import lanczos

Images = NDArray[np.uint8] | Iterable[Image.Image]
Gray = NDArray[np.uint8]  # [n, height, width]

_BITS = 8  # bits of a hash in each direction
_SIDE = 32  # side of the gray image that the DCT sees: imagehash's hash_size 8 x highfreq_factor 4
_CHUNK = 512  # images hashed at once: 4 MB of float64, which fit in caches ...
_PIXELS = 1 << 20  # ... or, for larger images, so many pixels at once
_DCT = scipy.fftpack.dct(np.eye(_SIDE), axis=0)[:_BITS]  # imagehash's transform, cut to the low frequencies: [8, 32]
# Either way of computing a coefficient rounds by at most 70 x 2^-53 x (255 x 4 x 1024); this leaves room to spare
_ROUNDING = 1e-6
_ORIENTATIONS = 8  # of a rectangle: four quarter turns, of the image and of its mirror image
_OFTEN = 4  # from so many images of one size on, it pays to find out how Pillow resizes that size


def phash(images: Images) -> NDArray[np.uint64]:
    """Compute the DCT hash: uint64 [N], the integer of `str(imagehash.phash(image))` read as hexadecimal.

    `images`: uint8 [N, H, W, C] with C = 1 or 3, or an iterable of Pillow images of any size and mode; a few of these
    are held at a time. A bit is set if a low-frequency DCT coefficient exceeds the median of all 64.

    >>> ramp = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))  # brighter to the right
    >>> hex(dedup.phash(ramp[None, :, :, None])[0])
    '0x8000000000000000'
    """
    return _codes(images, "phash")


def ahash(images: Images) -> NDArray[np.uint64]:
    """Compute the average hash; types as in `phash`. A bit is set if a pixel of the image at 8x8 exceeds their mean.

    >>> ramp = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))  # brighter to the right
    >>> hex(dedup.ahash(ramp[None, :, :, None])[0])
    '0xf0f0f0f0f0f0f0f'
    """
    return _codes(images, "ahash")


def dhash(images: Images) -> NDArray[np.uint64]:
    """Compute the difference hash; types as in `phash`.

    A bit is set if a pixel of the image at 9x8 exceeds its left neighbour.

    >>> ramp = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))  # brighter to the right
    >>> hex(dedup.dhash(ramp[None, :, :, None])[0])
    '0xffffffffffffffff'
    """
    return _codes(images, "dhash")


def turned_codes(images: Images, hash: str = "phash") -> NDArray[np.uint64]:
    """Hash each image in its eight orientations: uint64 [N, 8], for `turned_pairs` and `turned_representatives`.

    `images`: as for `phash`. `hash`: "phash", "dhash" or "ahash". Every code is that of the turned image itself, and
    equals imagehash's bit for bit. The columns are the image as it is, mirrored left to right, mirrored top to bottom,
    turned by 180 degrees, transposed, turned by 90 degrees clockwise, turned by 90 degrees counterclockwise, and
    mirrored along the other diagonal. Raises ValueError for another hash.

    >>> image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    >>> codes = dedup.turned_codes(np.stack([image, np.rot90(image)]))  # counterclockwise
    >>> codes.shape, np.flatnonzero(codes[0] == codes[1, 0]).tolist()
    ((2, 8), [6])
    """
    if hash not in HASHES:
        raise ValueError(f"hash must be one of {', '.join(HASHES)}, got {hash!r}")
    if isinstance(images, np.ndarray):
        pieces = [_turned(hash, gray) for gray in _lumas(images)]
    else:
        pieces = [gray_codes(batch, hash, turned=True) for batch in batches(image.convert("L") for image in images)]
    return np.concatenate([np.empty((0, _ORIENTATIONS), np.uint64), *pieces])


def _codes(images: Images, name: str) -> NDArray[np.uint64]:
    if isinstance(images, np.ndarray):
        width, height = HASHES[name].size
        pieces = [_packed(name, lanczos.resized(gray, width, height)) for gray in _lumas(images)]
    else:
        pieces = [gray_codes(batch, name) for batch in batches(image.convert("L") for image in images)]
    return np.concatenate([np.empty(0, np.uint64), *pieces])


def batches(grays: Iterable[Image.Image]) -> Iterator[list[Image.Image]]:
    """Yield the images in lists that are short enough for caches and memory."""
    batch: list[Image.Image] = []
    pixels = 0
    for gray in grays:
        batch.append(gray)
        pixels += gray.width * gray.height
        if len(batch) == _CHUNK or pixels >= _PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def gray_codes(grays: Sequence[Image.Image], name: str, *, turned: bool = False) -> NDArray[np.uint64]:
    """Compute the hash `name` (a key of HASHES) of Pillow images of mode L: uint64 [n], or [n, 8] if `turned`."""
    width, height = HASHES[name].size
    by_size: dict[tuple[int, int], list[int]] = {}
    for i, gray in enumerate(grays):
        by_size.setdefault(gray.size, []).append(i)
    if turned:
        codes = np.empty((len(grays), _ORIENTATIONS), np.uint64)
        for index in by_size.values():
            codes[index] = _turned(name, _stacked(grays, index))
        return codes
    small = np.empty((len(grays), height, width), np.uint8)
    for size, index in by_size.items():
        _met[size, name] += len(index)
        if _met[size, name] >= _OFTEN:
            small[index] = lanczos.resized(_stacked(grays, index), width, height)
        else:
            for i in index:
                small[i] = np.asarray(grays[i].resize((width, height), Image.Resampling.LANCZOS))
    return _packed(name, small)


def _stacked(grays: Sequence[Image.Image], index: list[int]) -> Gray:
    arrays = [np.asarray(grays[i]) for i in index]
    return np.stack(arrays) if len(arrays) > 1 else arrays[0][None]  # one large image is not copied


def _turned(name: str, gray: Gray) -> NDArray[np.uint64]:
    """Return the codes of gray images of one size, uint8 [n, H, W], in their eight orientations: uint64 [n, 8]."""
    return np.stack([_packed(name, small) for small in lanczos.resized_turned(gray, *HASHES[name].size)], axis=1)


_met: Counter[tuple[tuple[int, int], str]] = Counter()  # images met of each size; it changes the speed, never the bits


def _packed(name: str, small: Gray) -> NDArray[np.uint64]:
    """Turn gray images at the hash's size into codes uint64 [n]; the first bit is the highest."""
    return np.packbits(HASHES[name].bits(small).reshape(-1, _BITS**2), axis=1).view(">u8").astype(np.uint64)[:, 0]


def _dct_bits(gray: Gray) -> NDArray[np.bool_]:
    """Compute the bits of the DCT hash: uint8 [n, 32, 32] -> bool [n, 64].

    Two matrix products in float64 decide nearly all bits. Images with a bit that depends on the last digits (flat and
    symmetric images) are transformed again as imagehash does it, operation by operation.
    """
    # matmul takes one image at a time: such a small product runs in one thread, where more would cost time
    low = np.matmul(np.matmul(_DCT, gray.astype(np.float64)), _DCT.T).reshape(-1, _BITS**2)
    bits, close = _above_median(low)
    index = np.flatnonzero(close)
    if len(index):
        exact = scipy.fftpack.dct(scipy.fftpack.dct(gray[index], axis=1), axis=2)[:, :_BITS, :_BITS]
        bits[index] = _above_median(exact.reshape(len(index), -1))[0]
    return bits


def _above_median(low: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (which values exceed their row's median, which rows have a value too close to it to be sure)."""
    middle = np.sort(low, axis=1)[:, _BITS**2 // 2 - 1 : _BITS**2 // 2 + 1]
    median = middle.mean(axis=1)
    return low > median[:, None], middle[:, 1] - median < _ROUNDING


def _mean_bits(gray: Gray) -> NDArray[np.bool_]:
    return gray > gray.mean((1, 2), keepdims=True)


def _difference_bits(gray: Gray) -> NDArray[np.bool_]:
    return gray[:, :, 1:] > gray[:, :, :-1]


@dataclass(frozen=True)
class _Hash:
    size: tuple[int, int]  # (width, height) of the gray image that it reads
    bits: Callable[[Gray], NDArray[np.bool_]]  # uint8 [n, height, width] -> bool [n, 64] or [n, 8, 8]


HASHES = {
    "phash": _Hash((_SIDE, _SIDE), _dct_bits),
    "ahash": _Hash((_BITS, _BITS), _mean_bits),
    "dhash": _Hash((_BITS + 1, _BITS), _difference_bits),
}


def _lumas(images: NDArray[np.uint8]) -> Iterator[Gray]:
    """Yield gray images in pieces: uint8 [n, H, W]."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(f"images must be uint8 [N, H, W, 1 or 3], got {images.dtype} {images.shape}")
    piece = max(1, min(_CHUNK, _PIXELS // max(1, images.shape[1] * images.shape[2])))
    for i in range(0, len(images), piece):
        yield _luma(images[i : i + piece])


def _luma(images: NDArray[np.uint8]) -> Gray:
    """Convert to gray as Pillow's mode L does: uint8 [n, H, W, 1 or 3] -> [n, H, W]."""
    n, height, width, channels = images.shape
    if channels == 1:
        return images[..., 0]
    tall = Image.fromarray(np.ascontiguousarray(images).reshape(n * height, width, channels))
    return np.asarray(tall.convert("L")).reshape(n, height, width)

"""Hash sets that are too large for one core or one machine, in pieces that are hashed independently."""

import mmap
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from dedup.hashes import phash

Hash = Callable[[NDArray[np.uint8]], NDArray[np.uint64]]

_BYTES = 1 << 26  # bytes of images in a piece


def hash_chunks(
    images: NDArray[np.uint8], hash: Hash = phash, *, executor: Executor | None = None
) -> NDArray[np.uint64]:
    """Return `hash(images)` of uint8 [N, H, W, C], computed piece by piece: uint64 [N]. A piece is 64 MB of images.

    `hash`: `phash`, `dhash`, `ahash`, or `turned_codes`, which gives uint64 [N, 8].

    `executor`: where the work runs; by default in threads, one for each core. The executor's workers open a memory map
    themselves: only its name is sent, and their machines must see the same file. From other arrays, each worker is sent
    its pieces.

    >>> images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    >>> np.array_equal(dedup.hash_chunks(images, dedup.dhash), dedup.dhash(images))
    True
    """
    each = max(1, _BYTES // max(1, images[:1].nbytes))
    spans = [(i, min(i + each, len(images))) for i in range(0, len(images), each)]
    if executor is None:
        with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
            codes = list(threads.map(lambda span: hash(images[slice(*span)]), spans))
    elif _is_whole_file(images):
        file = Path(str(images.filename)).resolve()
        job = partial(_hashed, file, images.offset, images.shape[1:], hash)
        codes = list(executor.map(job, spans))
    else:
        codes = list(executor.map(hash, (images[slice(*span)] for span in spans)))
    return np.concatenate(codes) if codes else hash(images)


def _is_whole_file(images: NDArray[np.uint8]) -> TypeGuard[np.memmap]:
    """Tell whether file name, offset and shape describe the array. For a view they do not: it has its base's offset."""
    named = isinstance(images, np.memmap) and images.filename is not None and images.mode != "c"
    return named and isinstance(images.base, mmap.mmap) and images.flags.c_contiguous and images.dtype == np.uint8


def _hashed(file: Path, offset: int, shape: tuple[int, ...], hash: Hash, span: tuple[int, int]) -> NDArray[np.uint64]:
    """Return the codes of images [first, last) of a file that holds images of `shape` after `offset` bytes."""
    first, last = span
    start = offset + first * int(np.prod(shape, dtype=np.int64))
    return hash(np.memmap(file, np.uint8, "r", start, (last - first, *shape)))

"""Hashes of sets too large for one core or one machine: pieces of the images, each hashed on its own."""

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

_BYTES = 1 << 26  # of images in a piece


def hash_chunks(
    images: NDArray[np.uint8], hash: Hash = phash, *, executor: Executor | None = None
) -> NDArray[np.uint64]:
    """`hash(images)` of uint8 [N, H, W, C], piece by piece: uint64 [N].

    `executor`: where the work runs; by default threads, one for each core. Its workers open a memory map themselves, so
    that only its name travels and their machines must see the same file; of other arrays each is sent its piece. A
    piece is 64 MB of images.
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
    return np.concatenate([np.empty(0, np.uint64), *codes])


def _is_whole_file(images: NDArray[np.uint8]) -> TypeGuard[np.memmap]:
    """Whether a file's name, an offset and the shape tell it all: of a view the offset is not its own."""
    named = isinstance(images, np.memmap) and images.filename is not None and images.mode != "c"
    return named and isinstance(images.base, mmap.mmap) and images.flags.c_contiguous and images.dtype == np.uint8


def _hashed(file: Path, offset: int, shape: tuple[int, ...], hash: Hash, span: tuple[int, int]) -> NDArray[np.uint64]:
    """The codes of images [first, last) of a file of images of `shape`, after `offset` bytes."""
    first, last = span
    start = offset + first * int(np.prod(shape, dtype=np.int64))
    return hash(np.memmap(file, np.uint8, "r", start, (last - first, *shape)))

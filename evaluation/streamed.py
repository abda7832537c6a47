"""Rows of a matrix that is larger than memory: read from its file into buffers, ahead of their use.

A memory map would do, but its pages count as the process's memory, and they are read one fault at a time. Here, threads
read the next blocks while one is in use. Every other pass runs backwards, so that it begins with what the system's page
cache still holds of the last one.
"""

import mmap
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MEMORY_SHARE = 0.5  # of the machine's memory: the pages of smaller files stay in the page cache, and are mapped
AHEAD = 2  # blocks read while one is in use, each by a thread of its own


class Streamed:
    """Rows [n, D] of a C-ordered matrix in a file. `blocks` and `take` read them; nothing is mapped.

    Raises OSError, with the row, for a file that ends too early.
    """

    def __init__(self, file: str | os.PathLike[str], offset: int, shape: tuple[int, int], dtype: np.dtype) -> None:
        self.file, self.offset, self.shape, self.dtype = Path(file), offset, shape, dtype
        self._row_bytes = shape[1] * dtype.itemsize
        self._backwards = False

    def blocks(self, rows: int, *, pinned: bool = False) -> Iterator[tuple[slice, Tensor]]:
        """Yield (which rows, their features [at most `rows`, D]); a block is valid until the next one is taken.

        pinned: whether the buffers are in pinned memory, from which copies to a GPU are fast.
        """
        starts = list(range(0, self.shape[0], rows))
        if self._backwards:
            starts.reverse()
        self._backwards = not self._backwards
        length = min(rows, self.shape[0])
        dtype = torch.from_numpy(np.empty(0, self.dtype)).dtype
        buffers = [
            torch.empty(length, self.shape[1], dtype=dtype, pin_memory=pinned)
            for _ in range(min(AHEAD + 1, len(starts)))
        ]
        waiting: list[tuple[slice, Tensor, Future[None]]] = []
        with self.file.open("rb", buffering=0) as file, ThreadPoolExecutor(AHEAD) as threads:

            def read(number: int) -> None:
                where = slice(starts[number], min(starts[number] + rows, self.shape[0]))
                part = buffers[number % len(buffers)][: where.stop - where.start]
                waiting.append((where, part, threads.submit(self._read, file.fileno(), where.start, part)))

            for number in range(min(AHEAD, len(starts))):
                read(number)
            for number in range(len(starts)):
                if number + AHEAD < len(starts):
                    read(number + AHEAD)
                where, part, done = waiting.pop(0)
                done.result()
                yield where, part

    def take(self, index: Tensor) -> Tensor:
        """Return some rows [m, D], by their indices int64 [m]."""
        out = torch.from_numpy(np.empty((len(index), self.shape[1]), self.dtype))
        with self.file.open("rb", buffering=0) as file:
            for place, row in enumerate(index.tolist()):
                self._read(file.fileno(), row, out[place : place + 1])
        return out

    def _read(self, descriptor: int, row: int, into: Tensor) -> None:
        place, at = into.numpy().data.cast("B"), self.offset + row * self._row_bytes
        while len(place):
            count = os.preadv(descriptor, [place], at)
            if not count:
                raise OSError(f"{self.file} ends before row {row + len(into)} of {self.shape[0]}; make it again")
            place, at = place[count:], at + count


def streamed(X: np.ndarray) -> Streamed | None:
    """Return how to stream X [n, D], or None unless it is a memory map of C order and its file is large."""
    owner: object = X
    mapped: np.memmap | None = None
    while isinstance(owner, np.ndarray):
        mapped = owner if isinstance(owner, np.memmap) else mapped
        owner = owner.base
    if mapped is None or mapped.mode == "c" or mapped.filename is None or not isinstance(owner, mmap.mmap):
        return None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if not X.flags.c_contiguous or not X.size or os.path.getsize(mapped.filename) <= MEMORY_SHARE * memory:
        return None
    begin = np.frombuffer(owner, np.uint8).ctypes.data
    at = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY + X.ctypes.data - begin
    return Streamed(mapped.filename, at, X.shape, X.dtype)

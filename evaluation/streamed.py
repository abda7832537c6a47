"""Rows of a matrix that is larger than memory: read from its file into buffers, ahead of their use.

A memory map would do, but its pages count as the process's memory, and they are read one fault at a time. Here, threads
read the next blocks while one is in use. What the page cache cannot hold is read past it, where the system can: copies
through the cache took 3 to 20 times as much processor time. Every other pass runs backwards, so that it begins with
what the cache still holds of the last one.
"""

import math
import mmap
import os
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GROUPS, CGROUP = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
MEMORY_SHARE = 0.5  # of the machine's memory: the pages of smaller files stay in the page cache, and are mapped
AHEAD = 4  # blocks read while one is in use, each by a thread of its own
COMPARED = 8  # rows that show whether a file is the one that is mapped
ALIGNED = 4096  # bytes to which place, length and memory of a read past the page cache are multiples


class Streamed:
    """Rows [n, D] of a C-ordered matrix in a file. `blocks` and `take` read them; nothing is mapped.

    Raises OSError, with its name, for a file that ends too early, cannot be read, or is no longer the same file.
    """

    def __init__(self, file: str | os.PathLike[str], offset: int, shape: tuple[int, int], dtype: np.dtype) -> None:
        self.file, self.offset, self.shape = Path(file), offset, shape
        self.dtype = torch.from_numpy(np.empty(0, dtype)).dtype
        self._row_bytes = shape[1] * self.dtype.itemsize
        self._identity = _identity(os.stat(file))
        self._backwards = False

    def blocks(self, rows: int, *, pinned: bool = False) -> Generator[tuple[slice, Tensor], None, None]:
        """Yield (which rows, their features [at most `rows`, D]); a block is valid until the next one is taken.

        pinned: whether the buffers are in pinned memory, from which copies to a GPU are fast.
        """
        starts = list(range(0, self.shape[0], rows))
        if self._backwards:
            starts.reverse()
        self._backwards = not self._backwards
        buffers = [self._buffer(min(rows, self.shape[0]), pinned) for _ in range(min(AHEAD + 1, len(starts)))]
        waiting: list[tuple[slice, Future[Tensor]]] = []
        with self._open() as file, ThreadPoolExecutor(AHEAD) as threads:

            def read(number: int) -> None:
                where = slice(starts[number], min(starts[number] + rows, self.shape[0]))
                waiting.append((where, threads.submit(self._read, file, where, buffers[number % len(buffers)])))

            for number in range(min(AHEAD, len(starts))):
                read(number)
            for number in range(len(starts)):
                if number + AHEAD < len(starts):
                    read(number + AHEAD)
                where, done = waiting.pop(0)
                yield where, done.result()

    def take(self, index: Tensor) -> Tensor:
        """Return some rows [m, D], by their indices int64 [m]."""
        out, buffer = torch.empty(len(index), self.shape[1], dtype=self.dtype), self._buffer(1)
        with self._open() as file:
            for place, row in enumerate(index.tolist()):
                out[place] = self._read(file, slice(row, row + 1), buffer)[0]
        return out

    def _open(self) -> FileIO:
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # torchrun's processes on this machine, each with its rows
        past_cache = self.shape[0] * self._row_bytes * beside > _memory()

        def opener(path: str, flags: int) -> int:
            descriptor = (_open_past_cache if past_cache else os.open)(path, flags)
            if _identity(os.fstat(descriptor)) == self._identity:
                return descriptor
            os.close(descriptor)
            raise OSError(f"{self.file} was replaced while it was in use; start again with the new file")

        return open(self.file, "rb", buffering=0, opener=opener)

    def _buffer(self, rows: int, pinned: bool = False) -> Tensor:
        """Return aligned memory, uint8, for the whole pages of the file that hold so many rows."""
        size = rows * self._row_bytes + 2 * ALIGNED
        memory = torch.empty(size + ALIGNED, dtype=torch.uint8, pin_memory=pinned)
        return memory[-memory.data_ptr() % ALIGNED :][:size]

    def _read(self, file: FileIO, where: slice, buffer: Tensor) -> Tensor:
        """Read rows into a buffer, and return them there: [rows, D]."""
        begin, end = (self.offset + row * self._row_bytes for row in (where.start, where.stop))
        if os.fstat(file.fileno()).st_size < end:
            raise OSError(f"{self.file} ends before row {where.stop} of {self.shape[0]}; make it again")
        lead = begin % ALIGNED
        place = buffer.numpy().data[: math.ceil((lead + end - begin) / ALIGNED) * ALIGNED]
        count = 0
        while count < lead + end - begin:
            try:
                found = os.preadv(file.fileno(), [place[count:]], begin - lead + count)
            except OSError as error:  # that of a read names no file
                raise OSError(error.errno, error.strerror, str(self.file)) from error
            if not found:
                raise OSError(f"{self.file} became shorter while it was read; make it again")
            count += found
        return buffer[lead : lead + end - begin].view(self.dtype).view(-1, self.shape[1])


def _identity(status: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from all others."""
    return status.st_dev, status.st_ino


def _open_past_cache(path: str, flags: int) -> int:
    """Open a file to be read past the page cache, or through it where the file system cannot do that."""
    with suppress(AttributeError, OSError):
        descriptor = os.open(path, flags | os.O_DIRECT)
        try:
            os.preadv(descriptor, [mmap.mmap(-1, ALIGNED)], 0)
            return descriptor
        except OSError:
            os.close(descriptor)
    return os.open(path, flags)


def _memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or the limit of its control groups."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError):  # of version 2: a container or a batch job; a limit holds for all groups below
        own = next((line[3:] for line in GROUPS.read_text().splitlines() if line.startswith("0::/")), "/")
        for group in (Path(own), *Path(own).parents):
            with suppress(OSError, ValueError):  # no such file, or "max"
                limits.append(int((CGROUP / group.relative_to("/") / "memory.max").read_text()))
    return min(limits)


def streamed(X: np.ndarray) -> Streamed | None:
    """Return how to stream X [n, D], or None unless it is a memory map of C order and its file is large.

    The file of the map's name must still be the one that is mapped: a map keeps a file that was removed or replaced.
    """
    owner: object = X
    mapped: np.memmap | None = None
    while isinstance(owner, np.ndarray):
        mapped = owner if isinstance(owner, np.memmap) else mapped
        owner = owner.base
    if mapped is None or mapped.mode == "c" or mapped.filename is None or not isinstance(owner, mmap.mmap):
        return None
    if not (X.flags.c_contiguous and X.flags.aligned and X.size):
        return None
    if owner.size() <= MEMORY_SHARE * _memory():
        return None
    begin = np.frombuffer(owner, np.uint8).ctypes.data
    at = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY + X.ctypes.data - begin
    if owner.size() < at + X.nbytes:
        raise OSError(f"{mapped.filename} became shorter after it was opened; make it again")
    with suppress(OSError):
        source = Streamed(mapped.filename, at, X.shape, X.dtype)
        some = torch.linspace(0, len(X) - 1, COMPARED).long()
        if source.take(some).numpy().tobytes() == X[some.numpy()].tobytes():
            return source
    return None

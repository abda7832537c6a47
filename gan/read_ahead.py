"""Images that do not lie on the networks' device: threads read the next minibatches before their steps come."""

import errno
import mmap
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MINIBATCHES = 16  # in memory, read or being read; at 50,000 images/s, 16 minibatches of 128 last for 41 ms
THREADS = 4
COMPARED = 8  # images that show whether a file is the one that is mapped
CAN_ADVISE = hasattr(os, "posix_fadvise")  # not on macOS

Wanted = Iterator[tuple[int, NDArray[np.int64]]]
"""Steps in their order, each with the rows of its images."""


@dataclass
class _Buffer:
    images: Tensor
    copied: torch.cuda.Event | None  # when its last minibatch is on the GPU


class ReadAhead:
    """The minibatches of coming steps, read into a fixed number of buffers.

    A whole np.memmap is read from its file, not through the map. The kernel is told all rows of a minibatch before the
    first one is read, so that many reads are in flight, and nothing but these rows is read: the set may be larger than
    memory. If the file became shorter or the disk fails, that is an OSError; through the map it would be the signal
    SIGBUS, which ends the process. Other images are gathered in memory.

    images: uint8 [N, ...] on the CPU. n: images of a minibatch. wanted: gives the steps to read from a step on. device:
    where minibatches are copied to; for a GPU the buffers are pinned.
    """

    def __init__(
        self, images: NDArray[np.uint8], n: int, wanted: Callable[[int], Wanted], device: torch.device
    ) -> None:
        gpu = device.type == "cuda"
        self._images, self._length = images, images[:1].nbytes
        self._name, self._first = _file_of(images) or ("", 0)
        self._file = _open(self._name, self._first, images) if self._name else None
        if self._file is not None and CAN_ADVISE:  # no reading of what lies around a row
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)
        self._wanted = wanted
        self._coming: Wanted = iter(())
        self._free: deque[_Buffer] = deque()
        for _ in range(MINIBATCHES):
            images_of_one = torch.zeros(n, *images.shape[1:], dtype=torch.uint8, pin_memory=gpu)
            self._free.append(_Buffer(images_of_one, torch.cuda.Event() if gpu else None))
        self._reading: deque[tuple[int, _Buffer, Future[None]]] = deque()
        self._pool = ThreadPoolExecutor(THREADS, "read-ahead")

    def copy(self, step: int, to: Tensor) -> None:
        """Copy the images of `step` to `to`, uint8 [n, ...]; for a GPU without waiting. Raises the reading's OSError.

        The steps are expected in the order of `wanted`. Another step is read now, and reading goes on from there.
        """
        if not self._reading or self._reading[0][0] != step:
            self._stop()
            self._coming = self._wanted(step)
            self._go_on()
        _, buffer, reading = self._reading.popleft()
        self._free.append(buffer)
        reading.result()
        to.copy_(buffer.images, non_blocking=buffer.copied is not None)
        if buffer.copied is not None:
            buffer.copied.record()
        self._go_on()

    def close(self) -> None:
        """End the threads and close the file."""
        self._pool.shutdown(cancel_futures=True)
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _go_on(self) -> None:
        """Let the threads fill free buffers; wait for a copy to the GPU only if no minibatch is on its way.

        Only this thread calls CUDA: a call from another one would spoil the capture of a graph.
        """
        while self._free:
            copied = self._free[0].copied
            if copied is not None and not copied.query():
                if self._reading:
                    return
                copied.synchronize()
            step, rows = next(self._coming, (None, None))
            if step is None or rows is None:
                return
            buffer = self._free.popleft()
            self._reading.append((step, buffer, self._pool.submit(self._read, rows, buffer.images.numpy())))

    def _stop(self) -> None:
        """Free the buffers of all minibatches that are being read."""
        for _, _, reading in self._reading:
            reading.cancel()
        wait([reading for _, _, reading in self._reading])
        self._free.extend(buffer for _, buffer, _ in self._reading)
        self._reading.clear()

    def _read(self, rows: NDArray[np.int64], to: NDArray[np.uint8]) -> None:
        """Read the images `rows`, int64 [n], in a thread."""
        if self._file is None:
            np.take(self._images, rows, axis=0, out=to, mode="clip")  # "raise" would gather into a copy first
            return
        length, view = self._length, to.data.cast("B")
        places = (self._first + rows * length).tolist()
        for place in places if CAN_ADVISE else ():
            os.posix_fadvise(self._file, place, length, os.POSIX_FADV_WILLNEED)
        for i, place in enumerate(places):
            try:
                found = os.preadv(self._file, [view[i * length : (i + 1) * length]], place)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self._name) from error
            if found != length:
                raise OSError(errno.EIO, "the file became shorter while it was in use, make it again", self._name)


def _open(name: str, first: int, images: NDArray[np.uint8]) -> int | None:
    """Open the file that is mapped; None if its name is no longer this file's, which then only the map holds.

    Raises OSError if the file became shorter.
    """
    assert isinstance(images.base, mmap.mmap)
    if images.base.size() < first + images.nbytes:
        raise OSError(errno.EIO, "the file became shorter after it was opened, make it again", name)
    length, rows = images[:1].nbytes, np.linspace(0, len(images) - 1, COMPARED).astype(int)
    try:
        file = os.open(name, os.O_RDONLY)
    except OSError:
        return None
    if all(os.pread(file, length, first + int(row) * length) == images[row].tobytes() for row in rows):
        return file
    os.close(file)
    return None


def _file_of(images: NDArray[np.uint8]) -> tuple[str, int] | None:
    """Return the file that holds these bytes, and where they begin; None for others, slices of a map among them."""
    if not (isinstance(images, np.memmap) and isinstance(images.base, mmap.mmap) and images.flags.c_contiguous):
        return None
    # "c": changes stay in memory
    return None if images.filename is None or images.mode == "c" else (str(images.filename), images.offset)

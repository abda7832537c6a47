"""The feature matrix, read in blocks of rows where it lies.

X is never copied. An array, memory map or tensor stays where it is and passes block by block through the processor's
cache, or through the GPU, where it stays if it fits; a map of a file that is large for the machine's memory is read
from the file, ahead of use; float16 becomes float32 in passing. A pass makes both products of the L2-SVM's Hessian,
W [X 1]' and the product of the weighted scores with [X 1], while a block is in the cache, so every row is read from
memory once. Several processes may hold a matrix together: products with rows are then each one's own, and sums over
rows are the whole matrix's.
"""

import math
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from evaluation.processes import Processes
from evaluation.streamed import Streamed, streamed

FEW_ROWS = 2500  # with at most so many rows, their inner products are cheap
SMALL_BYTES = 2**22  # X of at most so many bytes in float32 is computed in float64: free, better for unscaled features
BLOCK_BYTES = {"cpu": 2**25, "cuda": 2**28}  # about the last-level cache; on a GPU, enough to hide the launches
CONVERTED_BYTES = 2**23  # of a block that is converted on the CPU: it stays in the cache between its uses
ROWS_A_PROBLEM = 4  # a block has so many rows for each problem, because products with fewer take longer,
WIDE_BYTES = 2**27  # if it then has no more bytes than these
RESIDENT_SHARE = 0.7  # X stays on the GPU if it takes less than this share of the free memory; else it is streamed
FILLED = 16  # problems: the width of a vector register, in float32
COLUMNS = 1024  # of chosen rows that are held at once

T = TypeVar("T")
Features = np.ndarray | Tensor  # X [n, D]


class Rows:
    """float16, float32 or float64 X [n, D] with an implied column of ones, so that W [k, D + 1] ends in intercepts.

    Products with X run in `dtype`; everything of size [k, .] is float64.
    sharded: X is this process's rows of a matrix that the processes of torch.distributed hold together, in their order.

    Attributes:
        X: as it was given.
        n, width: the number of rows, and D + 1.
        total, first: the number of rows of all processes, and of those before this one.
        processes: those that hold the rows.
        few: whether all rows are few enough to be solved by their inner products.
        dtype: float64 for float64 X, for small X, and if `double` asks for it; else float32.
        device: where the products run: the device asked for (by default a tensor's own, and the CPU for an array), or
            the CPU if that one has no float64.
    """

    def __init__(
        self,
        X: Features,
        *,
        device: torch.device | str | None = None,
        double: bool = False,
        sharded: bool = False,
    ) -> None:
        self.X = X
        self._X = _as_tensor(X)
        self.processes = Processes(sharded)
        self.device = self.processes.together(lambda: _usable(self._X.device if device is None else device))
        self.n, self.width = X.shape[0], X.shape[1] + 1
        lengths = self.processes.gathered(self.n)
        self.total, self.first = sum(lengths), sum(lengths[: self.processes.rank])
        self.few = self.total <= FEW_ROWS
        small = self.total * X.shape[1] * torch.float32.itemsize <= SMALL_BYTES
        self.dtype = torch.float64 if double or small else torch.promote_types(self._X.dtype, torch.float32)
        if self.device.type == "cuda" and X.nbytes < RESIDENT_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            self._X = self._X.to(self.device)  # a tensor that is there already is not copied
        size = BLOCK_BYTES.get(self.device.type, BLOCK_BYTES["cpu"])
        if self._X.dtype != self.dtype and self.device.type == "cpu":
            size = min(size, CONVERTED_BYTES)
        row_bytes = max(1, X.shape[1]) * self.dtype.itemsize
        self._block, self._wide = max(16, size // row_bytes), WIDE_BYTES // row_bytes
        self._streamed: Streamed | None = None  # from its file
        if isinstance(X, np.ndarray) and self._X.device.type == "cpu":
            self._streamed = streamed(X)

    def blocks(self, problems: int = 1) -> Iterator[tuple[slice, Tensor]]:
        """Yield (which rows, their features [rows, D]); from a file, every other time from last to first.

        problems: how many a block is used for at once. A block is valid until the next one is taken.
        """
        rows = max(self._block, problems, min(ROWS_A_PROBLEM * problems, self._wide))
        if self._streamed is not None:
            source = _one_thread_fewer(self._streamed.blocks(rows, pinned=self.device.type == "cuda"))
        else:
            parts = (slice(start, min(start + rows, self.n)) for start in range(0, self.n, rows))
            source = ((where, self._X[where]) for where in parts)
        converted: Tensor | None = None  # one place for all blocks: fresh memory takes as long as the conversion
        with closing(source):  # now, however the pass ends: who keeps its error keeps what has not ended
            for where, x in source:
                x = x.to(self.device)
                if x.dtype != self.dtype:
                    if converted is None:
                        converted = torch.empty(min(rows, self.n), x.shape[1], dtype=self.dtype, device=self.device)
                    x = converted[: len(x)].copy_(x)
                yield where, x

    def chosen(self, index: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield (which columns, those columns of [X 1]) of some rows of all processes, in every process: [m, columns].

        index: int64 [m], as in the whole matrix.
        """
        place = torch.nonzero((index >= self.first) & (index < self.first + self.n))[:, 0]
        mine = index[place] - self.first
        source = self._X if self._streamed is None else self._streamed.take(mine)
        if self._streamed is not None:
            mine = torch.arange(len(mine))
        for start in range(0, self.width - 1, COLUMNS):
            columns = slice(start, min(start + COLUMNS, self.width - 1))
            part = source[:, columns].index_select(0, mine.to(source.device)).to(self.device).to(self.dtype)
            if self.processes.count > 1:
                whole = part.new_zeros(len(index), part.shape[1])
                whole[place.to(self.device)] = part
                part = self.processes.sum(whole)
            yield columns, part
        ones = torch.ones(len(index), 1, dtype=self.dtype, device=self.device)
        yield slice(self.width - 1, self.width), ones

    def scores(self, W: Tensor) -> Tensor:
        """Return W [X 1]' as float64 [k, n]."""
        weight, bias = self._split(W)
        scores = torch.empty(len(W), self.n, dtype=torch.float64, device=self.device)
        for rows, x in self.blocks(len(W)):
            scores[:, rows] = linear(x, weight, bias)[:, : len(W)].T
        return scores

    def there_and_back(
        self, W: Tensor, way_back: Callable[[Tensor, slice], Tensor], *, scores: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Make in one pass scores = W [X 1]', float64 [k, n], and way_back(scores, rows) [X 1], float64 [k, D + 1].

        `way_back` is called for each block with its scores [k, rows], and returns weights of the same shape.
        scores: where to write them; by default a new tensor.
        The second product is summed over all processes.
        """
        weight, bias = self._split(W)
        if scores is None:
            scores = torch.empty(len(W), self.n, dtype=torch.float64, device=self.device)
        back = torch.zeros(len(W), self.width - 1, dtype=torch.float64, device=self.device)  # faster without the ones
        ones = back.new_zeros(len(W))
        for rows, x in self.blocks(len(W)):
            scores[:, rows] = linear(x, weight, bias)[:, : len(W)].T
            returned = way_back(scores[:, rows], rows)
            back += returned.to(self.dtype) @ x
            ones += returned.sum(1)
        return scores, self.processes.sum(torch.cat([back, ones[:, None]], 1))

    def _split(self, W: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights [k, D] and intercepts [k] in `dtype`, in the form in which products with them are fastest.

        They are contiguous; ten are made sixteen, with zeros: a CPU multiplies those in three quarters of the time.
        """
        if FILLED // 2 < len(W) < FILLED and self.device.type == "cpu":
            W = torch.cat([W, W.new_zeros(FILLED - len(W), self.width)])
        return W[:, :-1].to(self.dtype).contiguous(), W[:, -1].to(self.dtype).contiguous()

    def back(self, beta: Tensor) -> Tensor:
        """Return beta [X 1] as float64 [k, D + 1], for beta [k, n], summed over all processes."""
        total = torch.zeros(len(beta), self.width, dtype=torch.float64, device=self.device)
        total[:, -1] = beta.sum(1)
        for rows, x in self.blocks(len(beta)):
            total[:, :-1] += beta[:, rows].to(self.dtype) @ x
        return self.processes.sum(total)

    def check_finite(self) -> float:
        """Return the mean squared length of the rows of [X 1]: at least 1, and inf if it is beyond float64.

        Raises ValueError, in every process, with the first such row of a process, if X has NaN or infinity. One block
        at a time is held.
        """
        square = self.processes.together(self._square)
        return 1 + sum(self.processes.gathered(square)) / max(1, self.total)

    def _square(self) -> float:
        square, bad = 0.0, dict[int, str]()
        for rows, x in self.blocks():
            norm = float(torch.linalg.vector_norm(x))
            if not math.isfinite(norm):  # in float64 it may be finite
                norm = float(torch.linalg.vector_norm(x, dtype=torch.float64))
            square += norm * norm
            suspects = torch.nonzero(~torch.isfinite(x.sum(1)))[:, 0]  # the sum of finite numbers may overflow, too
            for i in suspects.tolist():
                if not torch.isfinite(x[i]).all():
                    bad[self.first + rows.start + i] = "NaN" if torch.isnan(x[i]).any() else "inf (infinity)"
                    break
        if bad:
            raise ValueError(
                f"feature row {min(bad)} has {bad[min(bad)]}; every feature must be finite (no NaN, no inf): "
                "leave such rows out or extract them again"
            )
        return square


def _one_thread_fewer(blocks: Generator[T, None, None]) -> Generator[T, None, None]:
    """Leave a core to those that read: whenever they take one, all threads that compute would wait for the last one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield from blocks
    finally:
        torch.set_num_threads(threads)


def _as_tensor(X: Features) -> Tensor:
    """Return X as a tensor of the same memory."""
    if isinstance(X, Tensor):
        return X.detach()
    if min(X.strides, default=0) < 0:  # torch has no negative strides
        X = np.ascontiguousarray(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns about read-only memory, but nothing is written
        return torch.from_numpy(X)


def _usable(device: torch.device | str | None) -> torch.device:
    """Return the device itself if it computes in float64, else the CPU. Raises ValueError for an absent device."""
    try:
        wanted = torch.device("cpu" if device is None else device)
        if wanted.type == "cuda":
            torch.cuda.get_device_properties(wanted)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device must be 'cpu' or a 'cuda' device that is there, got {device!r}: {error}") from None
    if wanted.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device must be 'cpu' or a 'cuda' device that is there, got {device!r}")
    return torch.device("cpu") if wanted.type == "mps" else wanted

"""Where a step's images come from: an order that depends only on the seed, and reading that never waits for a GPU."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.config import TrainingConfig
from gan.parallel import processes, share
from gan.read_ahead import ReadAhead, Wanted

AHEAD = 256  # steps whose indices are copied to a GPU at once


def minibatch_indices(n: int, config: TrainingConfig, step: int) -> Tensor:
    """Return the indices int64 [batch_size] of a step's images.

    Every pass over the set has its own permutation, which depends only on the seed and the number of the pass. The last
    incomplete minibatch of a pass is dropped. Raises ValueError for a set smaller than a minibatch.
    """
    per_pass = n // config.batch_size
    if per_pass == 0:
        raise ValueError(f"need at least one minibatch of {config.batch_size} images, got {n}")
    epoch, position = divmod(step, per_pass)
    order = _order(n, config.seed * 1_000_003 + epoch)
    return order[position * config.batch_size : (position + 1) * config.batch_size]


@lru_cache(2)
def _order(n: int, seed: int) -> Tensor:
    """Draw a permutation of n images. Two passes' are kept: for a million images, a draw takes as long as a step."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


class Minibatches:
    """The minibatches of a run. `load` names a step; `images` and `labels` then read that step's. `close` ends it.

    `load` only writes into buffers on the networks' device, so that what reads them can be recorded: indices of many
    steps are copied there at once, and read at a position. Images that lie elsewhere are read ahead (`ReadAhead`) and
    copied for each step. Copies to a GPU are made from pinned memory, so that the host goes on.

    images: uint8 [N, S, S, C], a tensor on the networks' device, or a tensor or array on the CPU. labels: int64 [N] or
    None. rows: int64 [M] on the CPU, the images to train on. device: where the networks are.
    """

    def __init__(
        self,
        images: Tensor | NDArray[np.uint8],
        labels: Tensor | None,
        rows: Tensor,
        config: TrainingConfig,
        device: torch.device,
    ) -> None:
        n = config.batch_size // processes()
        self._rows, self._config = rows, config
        self._labels = None if labels is None else labels.to(device)
        self._steps = range(0)  # those whose indices are in the buffer
        self._ahead = torch.zeros(AHEAD, n, dtype=torch.int64, device=device)
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._reader: ReadAhead | None = None
        if isinstance(images, Tensor) and images.device.type == device.type:
            self._images = images  # all
        else:
            self._images = torch.zeros(n, *images.shape[1:], dtype=torch.uint8, device=device)  # those of a step
            elsewhere = images.numpy() if isinstance(images, Tensor) else images
            self._reader = ReadAhead(elsewhere, n, self._wanted, device)

    def load(self, step: int) -> None:
        """Make `images` and `labels` those of 0-based `step`. Raises OSError if images cannot be read from a file."""
        if step not in self._steps:
            self._steps = range(step, min(step + AHEAD, max(step + 1, self._config.steps)))
            ahead = torch.stack([self._indices(s) for s in self._steps])
            _send(ahead, self._ahead[: len(ahead)])
        self._position.fill_(step - self._steps.start)
        if self._reader is not None and self._config.updated(step) == "discriminator":
            self._reader.copy(step, self._images)

    def images(self) -> Tensor:
        """Return the step's images, uint8 [n, S, S, C], on the networks' device; n is this process's share."""
        return self._images.index_select(0, self._now()) if self._reader is None else self._images

    def labels(self) -> tuple[Tensor, ...]:
        """Return the step's labels, (int64 [n],), or nothing for a set without."""
        return () if self._labels is None else (self._labels.index_select(0, self._now()),)

    def close(self) -> None:
        """End the reading ahead."""
        if self._reader is not None:
            self._reader.close()

    def _wanted(self, step: int) -> Wanted:
        """Yield the steps from `step` on that need images, and their rows."""
        for s in range(step, max(step + 1, self._config.steps)):
            if self._config.updated(s) == "discriminator":
                yield s, self._indices(s).numpy()

    def _indices(self, step: int) -> Tensor:
        return self._rows[share(minibatch_indices(len(self._rows), self._config, step))]

    def _now(self) -> Tensor:
        return self._ahead.index_select(0, self._position)[0]


def _send(values: Tensor, to: Tensor) -> None:
    """Copy values from the CPU; to a GPU from pinned memory, so that the host goes on."""
    gpu = to.device.type == "cuda"
    to.copy_(values.pin_memory() if gpu else values, non_blocking=gpu)

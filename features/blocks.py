"""The features of batches: computed on the network's device, then carried to the host.

A GPU computes the next batch while the last one is copied to pinned memory by a stream of its own. Three places take
turns, so the host waits for a copy only, never for what it has just started, and may still read one block while it
takes the next.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from features.backbone import Backbone, layer_widths
from features.images import Batch
from features.pooling import Pool
from features.taps import tapped

# (first row, [n, D] in host memory, whether its sum is finite: if not, it may hold NaN or infinity)
HostBlock = tuple[int, Tensor, bool]


def device_blocks(
    backbone: Backbone, batches: Iterable[tuple[int, Batch]], pool: Pool, *, mirrored: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first row, float32 [n, D] on the network's device) for each batch (first row, images).

    mirrored: the mean of the features of an image and of its mirror image, in two passes over each batch.
    A tensor is valid only until the next one is taken. No batch may be larger than the first.
    """
    widths = layer_widths(backbone, pool=pool)
    ends = dict(zip(widths, itertools.accumulate(widths.values()), strict=True))
    # One buffer serves all batches: fresh memory for every batch would cost more than the copy into the buffer.
    buffer = nothing = torch.empty(0)
    adding = False

    def pooled(layer: str, output: Any) -> Tensor:
        part = pool(backbone.maps(layer, output))
        columns = buffer[: len(part), ends[layer] - widths[layer] : ends[layer]]
        if adding:
            columns += part
        else:
            columns.copy_(part)
        return nothing

    with tapped(backbone.model, backbone.layers, pooled) as forward:
        for start, images in batches:
            x = backbone.prepare(images)
            if buffer is nothing:
                buffer = torch.empty(len(x), sum(widths.values()), device=x.device)
            for number, view in enumerate((x, x.flip(3)) if mirrored else (x,)):
                adding = number > 0
                forward(view)
            if mirrored:
                buffer *= 0.5
            yield start, buffer[: len(x)]


def host_blocks(blocks: Iterable[tuple[int, Tensor]], dtype: torch.dtype, device: torch.device) -> Iterator[HostBlock]:
    """Bring blocks on `device` to the host, rounded to `dtype`.

    A block is valid only until the next one is taken; from a GPU, until the one after that.
    """
    if device.type == "cuda":
        return carried(blocks, dtype, torch.cuda.Stream(device))
    there = ((start, features.to("cpu", dtype)) for start, features in blocks)
    return ((start, block, math.isfinite(block.sum(dtype=torch.float32))) for start, block in there)


def carried(
    blocks: Iterable[tuple[int, Tensor]], dtype: torch.dtype, stream: torch.cuda.Stream | None
) -> Iterator[HostBlock]:
    """As `host_blocks`, through three places in turn: a block is yielded once the next one has been computed.

    A block stays valid while the next one is taken.
    stream: copies to pinned memory. If None, whoever computes copies, to memory that is not pinned.
    """
    places: list[_Place] = []
    waiting: _Place | None = None
    for number, (start, features) in enumerate(blocks):
        if number < 3:
            places.append(_Place(features, dtype, stream))
        place = places[number % 3]
        place.send(start, features)
        if waiting is not None:
            yield waiting.receive()
        waiting = place
    if waiting is not None:
        yield waiting.receive()


class _Place:
    """Room for one block in the device's memory and in the host's."""

    def __init__(self, like: Tensor, dtype: torch.dtype, stream: torch.cuda.Stream | None) -> None:
        pinned = stream is not None
        self.stream, self.copied = stream, torch.cuda.Event() if pinned else None
        self.there = torch.empty(like.shape, dtype=dtype, device=like.device)
        self.here = torch.empty(like.shape, dtype=dtype, pin_memory=pinned)
        self.sum_there = torch.empty((), device=like.device)
        self.sum_here = torch.empty((), pin_memory=pinned)

    def send(self, start: int, features: Tensor) -> None:
        """Start the copies. What was sent before must have been received."""
        self.start, self.rows = start, len(features)
        there = self.there[: self.rows].copy_(features)
        torch.sum(there, (0, 1), dtype=torch.float32, out=self.sum_there)
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(features.device))
        with nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
            self.here[: self.rows].copy_(there, non_blocking=True)
            self.sum_here.copy_(self.sum_there, non_blocking=True)
            if self.copied is not None:
                self.copied.record()

    def receive(self) -> HostBlock:
        """Wait for the copies."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.start, self.here[: self.rows], math.isfinite(self.sum_here)

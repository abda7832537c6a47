"""Extract features float32 [N, D] from images, batch by batch; a FeatureStore can be continued after a stop."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.backbone import Backbone, feature_width, layer_widths
from features.images import Images, Progress, batches, count
from features.pooling import PAPER_GRID, Pool
from features.store import FeatureStore
from features.taps import tapped


def extract(
    backbone: Backbone,
    images: Images,
    *,
    pool: Pool = PAPER_GRID,
    batch_size: int = 128,
    device: torch.device | str | None = None,
    out: np.ndarray | FeatureStore | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Extract features float32 [N, D]: the layers in the backbone's order, each pooled to [N, d], side by side.

    images: uint8 [N, H, W, C] (array or memory map) or an iterable of such batches. They are scaled, and resized if
    needed, as features.images describes. Batch norm uses the statistics in the model (see features.batchnorm).
    device: where to run; the model is moved there and stays there. By default it runs where it is.
    out: where the rows go: a float32 array or memory map [N, D], or a FeatureStore, in which only missing chunks are
    computed. By default they go into a new array; the rows of a stream are held twice while they are joined.
    Batches begin at multiples of batch_size whether the images come as an array, as a stream, or again after a stop, so
    the rows are the same to the last bit.
    Returns out, or for a FeatureStore its read-only memory map.
    Raises ValueError for images, out or batch_size that do not fit, and for features that are not finite, with the row
    and the layer.
    """
    if device is not None:
        backbone.model.to(device)
    rows, width = count(images), feature_width(backbone, pool=pool)
    if out is None and rows is not None:
        out = np.empty((rows, width), np.float32)
    if out is not None:
        rows = _check_out(out, rows, width)
    store = out if isinstance(out, FeatureStore) else None
    if store is not None and store.chunk_rows % batch_size:
        raise ValueError(f"batch_size must divide the store's chunk of {store.chunk_rows} rows, got {batch_size}")

    if store is not None and store.complete:
        return store.array()
    blocks: list[np.ndarray] = []
    for start, block in feature_blocks(backbone, images, pool, batch_size, rows=rows, store=store, progress=progress):
        if store is not None:
            store.write(start, block)
        elif isinstance(out, np.ndarray):
            out[start : start + len(block)] = block
        else:
            blocks.append(block.copy())
    if store is not None:
        return store.array()
    if isinstance(out, np.ndarray):
        return out
    return np.concatenate(blocks) if blocks else np.empty((0, width), np.float32)


def feature_blocks(
    backbone: Backbone,
    images: Images,
    pool: Pool,
    batch_size: int,
    *,
    rows: int | None = None,
    store: FeatureStore | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, float32 [n, D]) for every batch that the store does not hold yet.

    An array is valid only until the next one is taken.
    """
    widths = layer_widths(backbone, pool=pool)
    ends = dict(zip(widths, itertools.accumulate(widths.values()), strict=True))
    # One buffer serves all batches: fresh memory for every batch would cost more than the copy into the buffer.
    buffer = torch.empty(min(batch_size, rows or batch_size), sum(widths.values()), device=backbone.device)
    nothing = torch.empty(0)

    def pooled(layer: str, output: Any) -> Tensor:
        part = pool(backbone.maps(layer, output))
        buffer[: len(part), ends[layer] - widths[layer] : ends[layer]] = part
        return nothing

    held = store.has if store is not None else lambda row: False
    steps = _missing(images, batch_size, rows, held)
    if progress is not None:
        total = None if rows is None else sum(not held(start) for start in range(0, rows, batch_size))
        steps = progress(steps, total=total, desc="extract", unit="batch")
    with tapped(backbone.model, backbone.layers, pooled) as forward:
        for start, block in steps:
            forward(backbone.prepare(block))
            features = buffer[: len(block)].cpu().numpy()
            if not np.isfinite(features).all():
                row, column = np.argwhere(~np.isfinite(features))[0]
                layer = next(name for name, end in ends.items() if column < end)
                raise ValueError(f"features must be finite, got NaN or infinity in row {start + row}, layer {layer!r}")
            yield start, features


def _missing(
    images: Images, batch_size: int, rows: int | None, held: Callable[[int], bool]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the batches of images that are not held. Raises ValueError unless there are `rows` images (if known)."""
    stop = 0
    for start, block in batches(images, batch_size):
        stop = start + len(block)
        if rows is not None and stop > rows:
            break
        if not held(start):
            yield start, block
    if rows is not None and stop != rows:
        raise ValueError(f"images must number {rows}, the rows of out; got {'at least ' * (stop > rows)}{stop}")


def _check_out(out: np.ndarray | FeatureStore, rows: int | None, width: int) -> int:
    """Return the number of rows of out. Raises ValueError unless it is float32 [rows, width]."""
    if len(out.shape) != 2 or out.shape[1] != width or rows not in (None, out.shape[0]):
        raise ValueError(f"out must have shape [{'N' if rows is None else rows}, {width}], got {list(out.shape)}")
    if isinstance(out, np.ndarray) and out.dtype != np.float32:
        raise ValueError(f"out must be float32, got {out.dtype}")
    return out.shape[0]

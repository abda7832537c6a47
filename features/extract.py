"""Extract features [N, D] from images, batch by batch; a FeatureStore can be continued after a stop."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from features.backbone import Backbone, layer_widths
from features.blocks import HostBlock, device_blocks, host_blocks
from features.device import moved
from features.images import Batch, Images, Labelled, Progress, ValueRange, batches, count
from features.pooling import PAPER_GRID, Pool
from features.store import FeatureStore

FLOAT32, FLOAT16 = np.dtype(np.float32), np.dtype(np.float16)
DTYPES = {FLOAT32: torch.float32, FLOAT16: torch.float16}  # types that features are kept in
GPU_PIXELS = 512 * 32 * 32  # of the images in a forward pass: a GPU runs fewer of them faster than the host starts it


@overload
def extract(
    backbone: Backbone,
    images: Images,
    *,
    pool: Pool = ...,
    batch_size: int = ...,
    mirrored: bool = ...,
    device: torch.device | str | None = ...,
    out: np.ndarray | FeatureStore | None = ...,
    given_range: ValueRange | None = ...,
    progress: Progress | None = ...,
) -> np.ndarray: ...


@overload
def extract(
    backbone: Backbone,
    images: Images,
    *,
    pool: Pool = ...,
    batch_size: int = ...,
    mirrored: bool = ...,
    device: torch.device | str | None = ...,
    out: Tensor,
    given_range: ValueRange | None = ...,
    progress: Progress | None = ...,
) -> Tensor: ...


def extract(
    backbone: Backbone,
    images: Images,
    *,
    pool: Pool = PAPER_GRID,
    batch_size: int = 128,
    mirrored: bool = False,
    device: torch.device | str | None = None,
    out: np.ndarray | FeatureStore | Tensor | None = None,
    given_range: ValueRange | None = None,
    progress: Progress | None = None,
) -> np.ndarray | Tensor:
    """Extract features float32 [N, D]: the layers in the backbone's order, each pooled to [N, d], side by side.

    images: uint8 [N, H, W, C] (array or memory map), uint8 [N, C, H, W] (tensor), float [N, C, H, W] (either), or an
    iterable of such batches or of (batch, labels), such as a DataLoader; labels are ignored (see extract_labelled).
    They are scaled, and resized if needed, as features.images describes. Batch norm uses the statistics in the model
    (see features.batchnorm).
    given_range: for float images, (low, high), the values of black and white: two numbers, or two sequences with a
    number for each channel. (0, 1) after ToTensor() gives the features of the uint8 images to the last bit; other
    ranges within rounding. Values outside by more than half a grey level are refused.
    mirrored: the rows are means of the features of an image and of its mirror image.
    device: where to run; the model is moved there and stays there. By default it runs where it is.
    out: where the rows go: a float32 or float16 array or memory map [N, D], a FeatureStore, in which only missing
    chunks of its part are computed, or a tensor [N, D] of these types on the device where the model runs, which the
    features then never leave. By default they go into a new array; the rows of a stream are held twice while they are
    joined. float16 rows are rounded to nearest.
    Batches begin at multiples of batch_size whether the images come as an array, as a stream, or again after a stop, so
    the rows are the same to the last bit.
    A GPU joins batches of small images into one forward pass where no batch norm uses the statistics of the batch.
    Returns out, or for a FeatureStore the read-only memory map of its part.
    Raises ValueError for images, out or batch_size that do not fit, and for features that are not finite or beyond the
    range of float16 rows, with the row and the layer; for a tensor this is found at the end.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    >>> features.extract(backbone, images).shape
    (20, 128)

    The same images as torchvision's ToTensor makes them, in a DataLoader:

    >>> floats = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    >>> loader = torch.utils.data.DataLoader(floats, batch_size=8)
    >>> X = features.extract(backbone, loader, given_range=(0, 1))
    >>> np.array_equal(X, features.extract(backbone, images))
    True
    """
    moved(backbone, device)
    rows, widths = count(images), layer_widths(backbone, pool=pool)
    width = sum(widths.values())
    if out is None and rows is not None:
        out = np.empty((rows, width), FLOAT32)
    if out is not None:
        rows = _check_out(out, rows, width, backbone.device)
    store = out if isinstance(out, FeatureStore) else None
    if store is not None and store.chunk_rows % batch_size:
        raise ValueError(f"batch_size must divide the store's chunk of {store.chunk_rows} rows, got {batch_size}")
    if store is not None and store.complete:
        return store.array()

    if backbone.device.type == "cuda":
        batch_size = joined_size(backbone, batch_size, None if store is None else store.chunk_rows)

    needed = store.needs if store is not None else lambda row: True
    steps = _missing(batches(images, batch_size, given_range), rows, needed)
    if progress is not None:
        total = None if rows is None else sum(needed(start) for start in range(0, rows, batch_size))
        steps = progress(steps, total=total, desc="extract", unit="batch")
    computed = device_blocks(backbone, steps, pool, mirrored=mirrored)
    if isinstance(out, Tensor):
        for start, features in computed:
            out.detach()[start : start + len(features)] = features
        _check_finite(out.detach(), widths)
        return out
    dtype = DTYPES[FLOAT32 if out is None else out.dtype]
    blocks = host_blocks(computed, dtype, backbone.device)
    return _to_host(blocks, out, widths, beside=backbone.device.type == "cuda")


def extract_labelled(
    backbone: Backbone,
    loader: Iterable[Any],
    *,
    pool: Pool = PAPER_GRID,
    batch_size: int = 128,
    mirrored: bool = False,
    device: torch.device | str | None = None,
    given_range: ValueRange | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Extract features float32 [N, D] and labels int64 [N] from batches of (images, labels), read once.

    loader: any iterable of pairs, such as a DataLoader: images as for extract, labels integers [n]. batch_size: images
    that pass through the network at once; the loader's own batches may have any lengths. The rest is as in extract.
    Raises ValueError as extract does, and for batches without labels or with other labels.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> pairs = torch.utils.data.TensorDataset(torch.rand(20, 3, 32, 32), torch.arange(20) % 10)
    >>> loader = torch.utils.data.DataLoader(pairs, batch_size=8)
    >>> X, y = features.extract_labelled(backbone, loader, given_range=(0, 1))
    >>> X.shape, y.shape
    ((20, 128), (20,))
    """
    pairs = Labelled(loader)
    X = extract(
        backbone,
        pairs,
        pool=pool,
        batch_size=batch_size,
        mirrored=mirrored,
        device=device,
        given_range=given_range,
        progress=progress,
    )
    return X, np.concatenate(pairs.labels)


def joined_size(backbone: Backbone, batch_size: int, chunk_rows: int | None) -> int:
    """Return the multiple of batch_size, dividing chunk_rows if given, that a GPU takes in one forward pass.

    It is batch_size itself for large images, and where a batch norm has no statistics but those of the batch.
    """
    norms = (module for module in backbone.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    by_batch = any(norm.running_mean is None or "forward" in vars(norm) for norm in norms)  # see batch_statistics
    if batch_size < 1 or by_batch:
        return batch_size
    _, height, width = backbone.image_shape
    joined = batch_size * max(1, GPU_PIXELS // (height * width * batch_size))
    return joined if chunk_rows is None else math.gcd(joined, chunk_rows)


def _to_host(
    blocks: Iterable[HostBlock],
    out: np.ndarray | FeatureStore | None,
    widths: Mapping[str, int],
    *,
    beside: bool = False,
) -> np.ndarray:
    """Put the blocks where they go, each once it has been found finite.

    beside: a thread puts each block while the next one is taken, so it must stay valid until the one after that.
    """
    parts: list[Tensor] = [torch.empty(0, sum(widths.values()))]
    into = torch.from_numpy(out) if isinstance(out, np.ndarray) else None

    def put(start: int, block: Tensor) -> None:
        if isinstance(out, FeatureStore):
            out.write(start, block.numpy())
        elif into is not None:
            into[start : start + len(block)] = block  # torch copies with several threads
        else:
            parts.append(block.clone())

    last: Future[None] | None = None
    with ThreadPoolExecutor(1) as thread:
        for start, block, finite in blocks:
            if last is not None:
                last.result()
            if not finite:
                _check_finite(block, widths, start)
            if beside:
                last = thread.submit(put, start, block)
            else:
                put(start, block)
        if last is not None:
            last.result()
    if isinstance(out, FeatureStore):
        return out.array()
    return torch.cat(parts).numpy() if out is None else out


def _missing(
    steps: Iterable[tuple[int, Batch]], rows: int | None, needed: Callable[[int], bool]
) -> Iterator[tuple[int, Batch]]:
    """Yield the batches that are needed. Raises ValueError unless there are `rows` images (if known)."""
    stop = 0
    for start, block in steps:
        stop = start + len(block)
        if rows is not None and stop > rows:
            break
        if needed(start):
            yield start, block
    if rows is not None and stop != rows:
        raise ValueError(f"images must number {rows}, the rows of out; got {'at least ' * (stop > rows)}{stop}")


def _check_out(out: np.ndarray | FeatureStore | Tensor, rows: int | None, width: int, device: torch.device) -> int:
    """Return the number of rows of out. Raises ValueError unless it is float32 or float16 [rows, width]."""
    if len(out.shape) != 2 or out.shape[1] != width or rows not in (None, out.shape[0]):
        raise ValueError(f"out must have shape [{'N' if rows is None else rows}, {width}], got {list(out.shape)}")
    if out.dtype not in (DTYPES.values() if isinstance(out, Tensor) else DTYPES):
        raise ValueError(f"out must be float32 or float16, got {out.dtype}")
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    if isinstance(out, Tensor) and out.layout != torch.strided:
        raise ValueError(f"out must be dense, got {out.layout}")
    if isinstance(out, Tensor) and _overlaps(out):
        raise ValueError(f"out must have a place in memory for each value, got strides {out.stride()}; copy it")
    if isinstance(out, Tensor) and out.device != device:
        raise ValueError(f"out must be on {device}, where the network runs, got {out.device}")
    return out.shape[0]


def _overlaps(out: Tensor) -> bool:
    """Whether several values of a matrix lie in one place, as those of an expanded tensor do."""
    (inner, rows), (outer, columns) = sorted(zip(out.stride(), out.shape, strict=True))
    return (inner == 0 and rows > 1) or (columns > 1 and outer < inner * (rows - 1) + 1)


def _check_finite(block: Tensor, widths: Mapping[str, int], start: int = 0) -> None:
    """Raise ValueError, with its row and layer, for the first value that is not finite. start: number of row 0."""
    suspects = torch.nonzero(~torch.isfinite(block.sum(1, dtype=torch.float32)))[:, 0]  # finite sums may overflow, too
    for row in suspects.tolist():
        bad = torch.nonzero(~torch.isfinite(block[row]))[:, 0].tolist()
        if not bad:
            continue
        ends = zip(widths, itertools.accumulate(widths.values()), strict=True)
        layer = next(name for name, end in ends if bad[0] < end)
        where = f"in row {start + row}, layer {layer!r}"
        if block.dtype == torch.float16 and not torch.isnan(block[row, bad[0]]):
            raise ValueError(
                f"features must lie within +-65,504 to be stored as float16, got a larger one {where}; use float32 "
                "(--store float32)"
            )
        raise ValueError(f"features must be finite, got NaN or infinity {where}")

"""Turn uint8 images into the float tensors that a network takes, in the same way for calibration and extraction.

Images are scaled to the network's value range (PAPER: x/127.5 - 1 for [-1, 1], no augmentation). Images of another size
are resized with an antialiased bilinear filter, the whole picture to the whole input (no crop).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ValueRange = tuple[float, float] | tuple[Sequence[float], Sequence[float]]  # for all channels, or for each
Images = np.ndarray | Iterable[np.ndarray]
# progress(iterable, *, total, desc, unit) -> iterator over the same items
Progress = Callable[..., Any]


def count(images: Images) -> int | None:
    """Return the number of images; None for a stream, whose length is known only at its end."""
    return len(images) if isinstance(images, np.ndarray) else None


def batches(images: Images, batch_size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, uint8 [n, H, W, C]) for batches of exactly batch_size images; the last one may be smaller.

    images: uint8 [N, H, W, C] (array or memory map), or an iterable of such arrays of any lengths. Batches begin at
    multiples of batch_size either way, so an array and a stream of the same images give the same batches.
    Raises ValueError for other dtypes and shapes, for streams whose image shape changes, and for batch_size < 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if isinstance(images, np.ndarray):
        _check(images)
        for start in range(0, len(images), batch_size):
            yield start, images[start : start + batch_size]
        return
    start, waiting, held = 0, [], 0
    shape = None
    for arrived in images:
        array = _check(np.asarray(arrived))
        if array.shape[1:] != (shape := shape or array.shape[1:]):
            raise ValueError(f"images of one stream must share a shape, got {array.shape[1:]} after {shape}")
        waiting.append(array)
        held += len(array)
        if held < batch_size:
            continue
        joined = np.concatenate(waiting)
        whole = held - held % batch_size
        for offset in range(0, whole, batch_size):
            yield start + offset, joined[offset : offset + batch_size]
        start, waiting, held = start + whole, [joined[whole:]], held - whole
    if held:
        yield start, np.concatenate(waiting)


def to_input(
    images: np.ndarray,
    *,
    image_shape: tuple[int, int, int],
    value_range: ValueRange,
    device: torch.device,
) -> Tensor:
    """Convert uint8 [n, H, W, C] to float32 [n, *image_shape] in value_range on device, channels-last in memory.

    A single channel is repeated if image_shape has more; any other difference in channels raises ValueError.
    Scaling divides by 255 / (high - low). For [-1, 1] that is the paper's x / 127.5 - 1 to the last bit.
    """
    channels, height, width = image_shape
    if images.shape[3] not in (1, channels):
        raise ValueError(
            f"images must have {channels} channels (or 1, repeated) for this network, got {images.shape[3]}"
        )
    # NHWC bytes viewed as NCHW are channels-last, in which convolution and max-pooling run fastest, so nothing is
    # transposed. The host does not wait for copies from pinned memory, whose allocator reuses it once they have ended.
    pinned = device.type == "cuda"
    x = torch.empty(images.shape, dtype=torch.uint8, pin_memory=pinned)
    x.numpy()[:] = images
    x = x.to(device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32)
    if x.shape[2:] != (height, width):
        x = F.interpolate(x, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    low, high = value_range
    if isinstance(low, Sequence) or isinstance(high, Sequence):
        lows, highs = (torch.tensor(bound, dtype=torch.float64)[:, None, None] for bound in (low, high))
        both = torch.stack([(255 / (highs - lows)).float(), lows.float()])
        scale, shift = (both.pin_memory() if pinned else both).to(device, non_blocking=True)
        x = x.div(scale).add_(shift)
    else:
        x = x.div_(255 / (high - low)).add_(low)
    return x.expand(-1, channels, -1, -1).contiguous(memory_format=torch.channels_last)


def _check(images: np.ndarray) -> np.ndarray:
    """Return the same array. Raises ValueError unless it is uint8 [N, H, W, C]."""
    if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape[1:]:
        raise ValueError(f"images must be uint8 [N, H, W, C], got {images.dtype} {list(images.shape)}")
    return images

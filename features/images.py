"""Turn images into the float tensors that a network takes, in the same way for calibration and extraction.

Images come as people have them: uint8, or floats in a range that is given. Both are scaled to the network's value range
(PAPER: x/127.5 - 1 for [-1, 1], no augmentation). Images of another size are resized with an antialiased bilinear
filter, the whole picture to the whole input (no crop).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ValueRange = tuple[float, float] | tuple[Sequence[float], Sequence[float]]  # for all channels, or for each
# uint8 arrays [N, H, W, C]; float arrays, and tensors, [N, C, H, W]; iterables of them or of (them, labels)
Images = np.ndarray | Tensor | Iterable[Any]
# one batch: uint8 [n, H, W, C], or float32 [n, C, H, W] in grey levels, 0 to 255
Batch = np.ndarray | Tensor
# progress(iterable, *, total, desc, unit) -> iterator over the same items
Progress = Callable[..., Any]


def count(images: Images) -> int | None:
    """Return the number of images; None for a stream, whose length is known only at its end."""
    return len(images) if isinstance(images, np.ndarray | Tensor) else None


def batches(images: Images, batch_size: int, given_range: ValueRange | None = None) -> Iterator[tuple[int, Batch]]:
    """Yield (first row, batch) for batches of exactly batch_size images; the last one may be smaller.

    images, given_range: as in `features.extract`. A stream's batches may have any lengths. Batches begin at multiples
    of batch_size either way, so an array and a stream of the same images give the same batches.
    Raises ValueError for other dtypes, shapes and values, for streams whose images change, and for batch_size < 1.
    """
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, a whole number, got {batch_size!r}")
    if given_range is not None and not is_range(given_range):
        raise ValueError(
            f"given_range must be (low, high), finite, low < high, numbers or sequences, got {given_range}"
        )
    if isinstance(images, np.ndarray | Tensor):
        check_images(images, given_range)
        for start in range(0, len(images), batch_size):
            yield start, as_batch(images[start : start + batch_size], given_range)
        return
    start, waiting, held = 0, [], 0
    kind = None
    for arrived in _arriving(images):
        block = as_batch(check_images(split_labels(arrived)[0], given_range), given_range)
        if (now := (type(block), tuple(block.shape[1:]))) != (kind := kind or now):
            raise ValueError(f"images of one stream must share a shape, got {now[1]} after {kind[1]}")
        waiting.append(block)
        held += len(block)
        if held < batch_size:
            continue
        joined = _joined(waiting)
        whole = held - held % batch_size
        for offset in range(0, whole, batch_size):
            yield start + offset, joined[offset : offset + batch_size]
        start, waiting, held = start + whole, [joined[whole:]], held - whole
    if held:
        yield start, _joined(waiting)


class Labelled:
    """The images of an iterable of (images, labels). After a pass, `labels` holds an array int64 [n] for each batch.

    A pass raises ValueError for a batch without labels, and for labels that are not an integer for each image.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self.labels = [np.empty(0, np.int64)]

    def __iter__(self) -> Iterator[Any]:
        for arrived in _arriving(self.loader):
            images, labels = split_labels(arrived)
            if labels is None:
                raise ValueError("batches must be (images, labels), got images without labels; take features.extract")
            if isinstance(labels, Mapping):
                keys = ", ".join(map(repr, labels))
                fix = "pick one of them in the loader"
                raise ValueError(f"labels must be integers [n], got a dictionary of {keys}; {fix}")
            self.labels.append(_integers(labels, len(images)))
            yield images


def _arriving(images: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches of a stream. Raises ValueError for what is no stream, and for one that was read before."""
    try:
        stream = None if isinstance(images, str | Mapping) else iter(images)
    except TypeError:
        stream = None
    if stream is None:
        raise ValueError(f"images must be an array, a tensor or an iterable of batches, got {type(images).__name__}")
    arrived = False
    for batch in stream:
        arrived = True
        yield batch
    if stream is images and not arrived:  # as a generator is, but no list and no DataLoader
        raise ValueError("images must hold a batch, got none; a generator is read once: make it anew")


def _integers(labels: Any, count: int) -> np.ndarray:
    """Return labels as int64 [count]. Raises ValueError if they are anything else."""
    try:
        array = labels if isinstance(labels, Tensor) else np.asarray(labels)
        kind, shape = str(array.dtype).removeprefix("torch."), list(array.shape)
    except ValueError:  # lists of different lengths
        kind, shape = "lists of different lengths", []
    fits = shape == [count] and (kind == "bool" or "int" in kind)
    if fits and (not count or int(array.max()) < 2**63):
        return np.asarray(array.cpu() if isinstance(array, Tensor) else array).astype(np.int64)
    fix = "of one-hot take argmax(1)" if shape[1:] else "number classes from 0: np.unique(labels, return_inverse=True)"
    got = f"{kind} {shape} for {count} images"
    raise ValueError(f"labels must be integers [n] below 2**63, one for each image, got {got}; {fix}")


def split_labels(arrived: Any) -> tuple[Any, Any]:
    """Return what a loader yields as (images, labels); labels are None where there are none.

    Raises ValueError for what is neither images nor (images, labels).
    """
    if isinstance(arrived, np.ndarray | Tensor):
        return arrived, None
    if isinstance(arrived, tuple | list) and len(arrived) in (1, 2) and isinstance(arrived[0], np.ndarray | Tensor):
        return arrived[0], arrived[1] if len(arrived) == 2 else None
    got = type(arrived).__name__
    if isinstance(arrived, Mapping):
        got += f" of {', '.join(map(repr, arrived))}"
    elif isinstance(arrived, tuple | list):
        got += f" of {', '.join(type(part).__name__ for part in arrived[:4])}"
    fix = "arrays of equal sizes make a batch with np.stack"
    if isinstance(arrived, Mapping):
        fix = "pass a generator: ((batch['image'], batch['label']) for batch in loader)"
    elif isinstance(arrived, tuple | list) and arrived and isinstance(arrived[0], np.ndarray | Tensor):
        fix = "pass a generator: ((batch[0], batch[1]) for batch in loader)"
    raise ValueError(f"a batch must be images or (images, labels), arrays or tensors, got {got}; {fix}")


def to_input(
    images: Batch,
    *,
    image_shape: tuple[int, int, int],
    value_range: ValueRange,
    device: torch.device,
) -> Tensor:
    """Convert a batch to float32 [n, *image_shape] in value_range on device, channels-last in memory.

    images: uint8 [n, H, W, C], or float32 [n, C, H, W] in grey levels, 0 to 255.
    A single channel is repeated if image_shape has more; any other difference in channels raises ValueError.
    Scaling divides by 255 / (high - low). For [-1, 1] that is the paper's x / 127.5 - 1 to the last bit.
    """
    channels, height, width = image_shape
    axis = 1 if isinstance(images, Tensor) else 3
    if images.shape[axis] not in (1, channels):
        layout = "; uint8 arrays are [N, H, W, C], and floats and tensors [N, C, H, W]: turn the axes"
        raise ValueError(
            f"images must have {channels} channels (or 1, repeated) for this network, got {images.shape[axis]}"
            f"{layout * (not {1, channels}.isdisjoint(images.shape[1:]))}"
        )
    pinned = device.type == "cuda"
    if isinstance(images, Tensor):
        x = images.to(device, memory_format=torch.channels_last, copy=True)
    else:
        # NHWC bytes viewed as NCHW are channels-last, in which convolution and max-pooling run fastest, so nothing is
        # transposed. The host does not wait for copies from pinned memory, whose allocator reuses it once they have
        # ended.
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


def is_range(bounds: Any, channels: int | None = None) -> bool:
    """Tell whether these are two numbers, or two for each channel, with low < high."""
    try:
        low, high = (np.asarray(bound) for bound in bounds)
    except (TypeError, ValueError, RuntimeError):
        return False
    if {low.dtype.kind, high.dtype.kind} - set("iuf"):
        return False
    known = low.shape == high.shape and (not low.shape or low.shape == (channels or low.size,))
    return bool(known and np.isfinite([low, high]).all() and (low < high).all())


def check_images(images: Any, given_range: ValueRange | None) -> Any:
    """Return the same array or tensor. Raises ValueError unless its type and shape are ones of `Images`."""
    kind = str(images.dtype).removeprefix("torch.")
    if images.ndim != 4 or 0 in images.shape[1:] or not (is_float(images) or kind == "uint8"):
        fix = "; images of a data set come in batches from torch.utils.data.DataLoader" if images.ndim == 3 else ""
        raise ValueError(
            "images must be uint8 [N, H, W, C], or floats [N, C, H, W] with given_range, "
            f"got {kind} {list(images.shape)}{fix}"
        )
    if kind == "uint8" and given_range is not None:
        raise ValueError("given_range is the range of float images; leave it out for uint8, which is always 0 to 255")
    if kind != "uint8" and given_range is None:
        raise ValueError(
            "float images need given_range=(low, high), the values of black and white: (0, 1) after ToTensor(), "
            "(-1, 1) after Normalize(0.5, 0.5), (-mean / sd, (1 - mean) / sd) of each channel after Normalize(mean, sd)"
        )
    if kind != "uint8" and not is_range(given_range, images.shape[1]):
        raise ValueError(f"given_range must be numbers, or {images.shape[1]} of each, got {given_range}")
    return images


def as_batch(images: Any, given_range: ValueRange | None) -> Batch:
    """Bring checked images into one of the two forms of `Batch`. A uint8 array is returned as it is."""
    if given_range is None:
        return images.detach().cpu().permute(0, 2, 3, 1).numpy() if isinstance(images, Tensor) else images
    # The grey levels of uint8 / 255 are the uint8, exactly.
    x = as_floats(images)
    low, high = (torch.as_tensor(np.asarray(bound, np.float64).reshape(-1, 1, 1)) for bound in given_range)
    levels = (x - low.to(x)) * (255 / (high - low)).to(x)
    if len(x) and not (-0.5 <= levels.amin() and levels.amax() <= 255.5):  # half a grey level is rounding
        if x.isnan().any():
            raise ValueError("images must be finite, got NaN; leave such images out")
        values = f"values from {x.amin():.4g} to {x.amax():.4g}"
        raise ValueError(
            f"images must lie in given_range {given_range}, got {values}; give the values of black and white, or clip"
        )
    return levels


def as_floats(images: np.ndarray | Tensor) -> Tensor:
    """Return float images of any type, strides and byte order as float32, where they are."""
    return torch.as_tensor(images if isinstance(images, Tensor) else np.array(images, np.float32)).detach().float()


def is_float(images: Any) -> bool:
    """Tell whether an array or a tensor holds floats."""
    return images.is_floating_point() if isinstance(images, Tensor) else images.dtype.kind == "f"


def _joined(blocks: Sequence[Any]) -> Batch:
    return torch.cat([*blocks]) if isinstance(blocks[0], Tensor) else np.concatenate(blocks)

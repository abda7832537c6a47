"""Views of images: square parts of random size and place, perhaps mirrored, read at the network's size.

A view is read by bilinear sampling, which at twice the network's size takes exactly the mean of each 2x2 block of the
whole picture. Larger images are sampled more finely, and the samples averaged, so that no pixel is passed over.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gan.parallel import processes, share

BLOCK = 1024  # images that `full_view` reads at once


def full_view(images: Tensor, size: int) -> Tensor:
    """Read whole pictures at another size: uint8 [N, S, S, C], S >= size, to uint8 [N, size, size, C].

    Means are rounded half up. Images of that size are returned as they are. Raises ValueError for smaller or other
    images.

    >>> gan.full_view(torch.full((5, 64, 64, 3), 7, dtype=torch.uint8), 32).shape
    torch.Size([5, 32, 32, 3])
    """
    check_squares(images, size)
    if images.shape[1] == size:
        return images
    times, rest = divmod(images.shape[1], size)
    whole = _whole(1, images.device)
    viewed = torch.empty(len(images), size, size, images.shape[3], dtype=torch.uint8, device=images.device)
    for block, to in zip(images.split(BLOCK), viewed.split(BLOCK), strict=True):
        maps = block.permute(0, 3, 1, 2).float()
        means = _read(maps, whole.expand(len(block), -1, -1), size) if rest else F.avg_pool2d(maps, times)
        to.copy_((means + 0.5).permute(0, 2, 3, 1))  # the conversion to uint8 rounds down
    return viewed


def check_squares(images: Tensor | NDArray[np.uint8], size: int, channels: int | None = None) -> None:
    """Raise ValueError unless `images` are uint8 [N, S, S, C] with S >= size, and C = channels if these are given."""
    square = images.ndim == 4 and images.shape[1] == images.shape[2] >= size
    if str(images.dtype) not in ("uint8", "torch.uint8") or not square or channels not in (None, images.shape[3]):
        raise ValueError(
            f"images must be uint8 [N, {size}, {size}, {channels or 'C'}] or larger squares, "
            f"got {images.dtype} {tuple(images.shape)}"
        )


def random_view(images: Tensor, size: int, crop: float, mirror: bool, generator: torch.Generator) -> Tensor:
    """Read a view of each image: float32 [N, C, S, S] to float32 [N, C, size, size], channels last in memory.

    The side of a view is drawn uniformly from [crop, 1] of the image's side, then its place from all places inside the
    image; with `mirror`, half of the views are mirrored. Nothing is drawn where there is one view only: the whole
    picture. Draws come from `generator`, on its own device.
    """
    if crop == 1 and not mirror:
        if images.shape[2] == size:
            return images
        return _read(images, _whole(len(images), images.device), size)
    draws = torch.rand(len(images) * processes(), 4, generator=generator, device=generator.device)
    draws = share(draws).to(images.device)
    side = crop + (1 - crop) * draws[:, 0]
    across, down = ((2 * draws[:, 1:3] - 1) * (1 - side)[:, None]).unbind(1)
    width = torch.where(draws[:, 3] < 0.5, -side, side) if mirror else side
    zero = torch.zeros_like(side)
    placed = torch.stack([width, zero, across, zero, side, down], 1).view(-1, 2, 3)
    return _read(images, placed, size)


def _whole(n: int, device: torch.device) -> Tensor:
    """Return the maps of n views of whole pictures."""
    return torch.eye(2, 3, device=device).expand(n, 2, 3)


def _read(images: Tensor, placed: Tensor, size: int) -> Tensor:
    """Sample images [N, C, S, S] at size x size points of their views; means of finer samples where S > 2 size.

    placed: the affine maps [N, 2, 3] from a view's coordinates to the image's, both in [-1, 1].
    """
    finer = max(1, -(-images.shape[2] // (2 * size)))
    shape = [len(images), images.shape[1], size * finer, size * finer]
    grid = F.affine_grid(placed, shape, align_corners=False)
    read = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    read = F.avg_pool2d(read, finer) if finer > 1 else read
    return read.contiguous(memory_format=torch.channels_last)

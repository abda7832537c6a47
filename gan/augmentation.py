"""Random transformations of minibatches during training, all drawn from an explicit generator.

`diff_augment` is DiffAugment (Zhao et al. 2020, arXiv 2006.10738): it transforms real and generated images in the same
way before the discriminator sees them. It is differentiable, so the generator learns through it.
`rotate` makes the images of the self-supervised rotation task (Gidaris et al. 2018; Chen et al. 2019), and
`recolor` changes the colors of the views that NT-Xent compares (Chen et al. 2020).
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from gan.parallel import processes, share

POLICIES = ("color", "translation", "cutout")


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each image counter-clockwise by its number of quarter turns: float32 [N, C, S, S], int64 [N] in [0, 3].

    The result is channels last in memory.
    """
    n, channels, side, _ = images.shape
    pixels = torch.arange(side * side, device=images.device).view(side, side)
    sources = torch.stack([torch.rot90(pixels, k).flatten() for k in range(4)])  # turn -> the pixel that comes to each
    each = torch.arange(n, device=images.device)[:, None]
    turned = images.permute(0, 2, 3, 1).reshape(n, -1, channels)[each, sources[turns]]
    return turned.view(n, side, side, channels).permute(0, 3, 1, 2)


def recolor(images: Tensor, strength: float, gray: float, generator: torch.Generator) -> Tensor:
    """Change the colors of images float32 [N, C, H, W] in [-1, 1]; the result stays in that range.

    Brightness, then contrast, then saturation are multiplied by draws from [1 - strength, 1 + strength]. Images lose
    their colors with probability `gray`. Each image gets its own draws.
    """
    factor = partial(_uniform, images, generator, 1 - strength, 1 + strength)
    bright = (images + 1) * 0.5 * factor()
    level = bright.mean((1, 2, 3), keepdim=True)
    bright = level + (bright - level) * factor()
    shades = bright.mean(1, keepdim=True)
    colored = (_uniform(images, generator, 0.0, 1.0) >= gray).to(images.dtype)
    return (shades + (bright - shades) * factor() * colored).clamp(0, 1).mul(2).sub(1)


def diff_augment(images: Tensor, policies: Sequence[str], generator: torch.Generator) -> Tensor:
    """Apply every policy in turn to images float32 [N, C, H, W] in about [-1, 1].

    color: brightness +-0.5, saturation x [0, 2], contrast x [0.5, 1.5]. translation: up to an eighth of each side,
    filled up with zeros. cutout: a square of half a side, set to zero. Each image gets its own draw from `generator`,
    on the generator's device.
    """
    for policy in policies:
        images = _BY_NAME[policy](images, generator)
    return images


def _uniform(images: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """Draw one number for each image: float32 [N, 1, 1, 1] in [low, high], on the images' device."""
    drawn = share(torch.rand(len(images) * processes(), 1, 1, 1, generator=generator, device=generator.device))
    return drawn.mul_(high - low).add_(low).to(images.device)


def _color(images: Tensor, generator: torch.Generator) -> Tensor:
    images = images + _uniform(images, generator, -0.5, 0.5)
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * _uniform(images, generator, 0.0, 2.0)
    level = images.mean((1, 2, 3), keepdim=True)
    return level + (images - level) * _uniform(images, generator, 0.5, 1.5)


def _places(images: Tensor, generator: torch.Generator, low: int, high: int, axis: int) -> Tensor:
    """Shift the coordinates of `axis` (2 or 3) of each image by an integer drawn from [low, high]: int64 [N, L].

    The drawn integer is subtracted from 0 .. L - 1.
    """
    n = len(images) * processes()
    drawn = share(torch.randint(low, high + 1, (n, 1), generator=generator, device=generator.device))
    return (torch.arange(images.shape[axis], device=generator.device) - drawn).to(images.device)


def _translation(images: Tensor, generator: torch.Generator) -> Tensor:
    n, _, height, width = images.shape
    rows = _places(images, generator, -(height // 8), height // 8, 2).clamp(-1, height) + 1
    columns = _places(images, generator, -(width // 8), width // 8, 3).clamp(-1, width) + 1
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    each = torch.arange(n, device=images.device)
    moved = padded.permute(0, 2, 3, 1)[each[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    _, _, height, width = images.shape
    rows = _places(images, generator, -(height // 4), height - height // 4, 2)
    columns = _places(images, generator, -(width // 4), width - width // 4, 3)
    inside = ((rows >= 0) & (rows < height // 2))[:, None, :, None] & ((columns >= 0) & (columns < width // 2))[
        :, None, None, :
    ]
    return images * ~inside


_BY_NAME = {"color": _color, "translation": _translation, "cutout": _cutout}

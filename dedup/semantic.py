"""The paper's semantic code: a 3072-128-3072 denoising, dropout-regularised ReLU autoencoder whose code layer is
binarised, active or not (arXiv 1511.06434, section 3.1). Images with equal codes are duplicates: `collision_groups`.

Codes are exact. The trained encoder is rounded to integers, pixels are integers, and every sum stays below 2^53. So the
float64 product has no rounding, and a code does not depend on the batch, the order of summation, or the machine.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dedup.groups import collision_groups
from dedup.tensors import read, write

if TYPE_CHECKING:  # torch is imported only for training, so that hashing and its workers start without it
    import torch

FORMAT = "dcgan-eval-semantic-1"
SIDE = 32  # paper: 32x32
BITS = 128  # paper: units of the code layer
PIXELS = SIDE * SIDE * 3

_LARGEST = 2**31 - 1  # largest rounded weight; times 255 times 3072 it stays below 2^51
_CHUNK = 1024  # images coded at once: 25 MB of float64 ...
_PIECE = 1 << 22  # ... or, for larger images, pixels shrunk at once
_SAMPLE = 4096  # training images whose codes are checked for collapse


@dataclass(frozen=True)
class SemanticConfig:
    """How the autoencoder is trained. The paper gives only its layers; the rest was measured on Tiny-ImageNet-32.

    >>> dedup.SemanticConfig(noise=8)
    SemanticConfig(steps=1600, batch_size=128, noise=8, dropout=0.2, lr=0.001, seed=0)
    """

    steps: int = 1600  # two passes over 100,000 images; six passes find no more of the planted copies
    batch_size: int = 128  # as for the DCGAN
    # Sd of the Gaussian noise on the input, in units of the pixels' sd. More noise makes the code coarser: at 5 the 20
    # collisions are the set's 20 identical pairs, at 8 two of 23 are false, at 12 57 of 77 (horizons at equal heights).
    noise: float = 5.0
    # Share of code units set to 0. More dropout makes the code coarser, too: at 0.5 three of 23 collisions were false.
    dropout: float = 0.2
    lr: float = 1e-3  # Adam's default; falls linearly to zero
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError(f"steps and batch_size must be at least 1, got {self.steps} and {self.batch_size}")
        if not (self.noise >= 0 and 0 <= self.dropout < 1 and self.lr > 0):
            raise ValueError(
                f"need noise >= 0, 0 <= dropout < 1 and lr > 0, got {self.noise}, {self.dropout}, {self.lr}"
            )


@dataclass(frozen=True, eq=False)
class SemanticHash:
    """Callable: images -> 128-bit codes, as `phash` gives 64-bit ones. `fit` or `load` makes one.

    Brightness, contrast and colour cast do not change a code, except by the clipping and rounding of pixels. Therefore
    all images of a single colour share one code.

    weight: int32 [128, 3072], each unit's weights for pixels 0 .. 255 in the order row, column, channel. The unit's bit
    is set if the weighted sum exceeds 0.

    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> code = dedup.SemanticHash.fit(images, dedup.SemanticConfig(steps=2))
    >>> code(images).shape
    (40, 2)
    """

    weight: NDArray[np.int32]
    config: SemanticConfig

    def __post_init__(self) -> None:
        if self.weight.dtype != np.int32 or self.weight.shape != (BITS, PIXELS):
            raise ValueError(f"weight must be int32 [{BITS}, {PIXELS}], got {self.weight.dtype} {self.weight.shape}")

    @classmethod
    def fit(
        cls,
        images: NDArray[np.uint8],
        config: SemanticConfig | None = None,
        *,
        device: "torch.device | str" = "cpu",
        progress: Callable[[int, float], None] | None = None,
    ) -> "SemanticHash":
        """Train on `images`: uint8 [N, H, W, 1 or 3], at least 32x32.

        `progress(steps done, loss)` is called after every step; predicting the channels' means has a loss of 1. The
        same seed gives the same codes on the same machine. Raises ValueError for images of another shape, and when
        training collapsed, that is when a sample of different images has fewer effective codes than a quarter of it.
        """
        import torch

        config = config or SemanticConfig()
        _check(images)
        if len(images) < 2:
            raise ValueError(f"need at least two images to learn from, got {len(images)}")
        random = torch.Generator().manual_seed(config.seed)  # on the CPU, for the same draws on every device
        chosen = np.sort(torch.randperm(len(images), generator=random)[:_SAMPLE].numpy())
        sample = np.concatenate(
            [piece for i in range(0, len(chosen), 64) for piece in _pieces(images[chosen[i : i + 64]])]
        )
        made = cls(_rounded(_train(images, sample, config, random, torch.device(device), progress)), config)
        made._refuse_collapse(sample)
        return made

    def __call__(self, images: NDArray[np.uint8] | Iterable[Image.Image]) -> NDArray[np.uint64]:
        """Compute the codes: uint64 [N, 2]; the first bit is the highest of the first word.

        `images`: uint8 [N, H, W, 1 or 3], or an iterable of Pillow images, at least 32x32. Larger ones are cut to their
        central square and averaged down to 32x32. Gray is repeated to three channels.
        """
        weight = self.weight.T.astype(np.float64)
        bits = [_flat(piece) @ weight > 0 for piece in _pieces(images)]
        packed = [np.packbits(b, axis=1) for b in bits]
        return np.concatenate([np.empty((0, BITS // 8), np.uint8), *packed]).view(">u8").astype(np.uint64)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, 64 hex digits. Equal digests mean equal codes."""
        return hashlib.sha256(self.weight.astype("<i4").tobytes()).hexdigest()

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write safetensors with the configuration in the header, atomically. Raises OSError if the write fails."""
        header = {"format": FORMAT, "config": json.dumps(dataclasses.asdict(self.config), sort_keys=True)}
        write({"weight": self.weight}, header, Path(file))

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> "SemanticHash":
        """Load what `save` wrote. Raises FileNotFoundError, and ValueError for any other file."""
        return read(
            file, FORMAT, "semantic hash", lambda arrays, config: cls(arrays["weight"], SemanticConfig(**config))
        )

    def _refuse_collapse(self, images: NDArray[np.uint8]) -> None:
        different = images[np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1]]
        sizes = np.unique(collision_groups(self(different)), return_counts=True)[1]
        effective = len(different) ** 2 / float((sizes**2).sum())  # so many equally frequent codes collide as often
        if effective < len(different) / 4:
            raise ValueError(
                f"training collapsed: {len(different)} different images have only {effective:.1f} effective codes; "
                "lower noise, dropout or lr, or train on more varied images"
            )


def _train(
    images: NDArray[np.uint8],
    sample: NDArray[np.uint8],
    config: SemanticConfig,
    random: "torch.Generator",
    device: "torch.device",
    progress: Callable[[int, float], None] | None,
) -> NDArray[np.float64]:
    """Train the encoder, float64 [128, 3072]; it takes pixels minus their channel's mean.

    It has no bias, so that neither the contrast nor the colour cast of an image changes its code.
    """
    import torch

    encoder = (torch.randn(BITS, PIXELS, generator=random) / PIXELS**0.5).to(device).requires_grad_()
    decoder = torch.zeros(PIXELS, BITS, device=device, requires_grad=True)  # the loss begins at 1
    bias = torch.zeros(PIXELS, device=device, requires_grad=True)
    adam = torch.optim.Adam([encoder, decoder, bias], lr=config.lr)
    sd = max(1.0, float(_centred(sample).std()))  # at least one gray level, for images without contrast
    batches = _minibatches(len(images), config.batch_size, random)
    for step in range(config.steps):
        adam.param_groups[0]["lr"] = config.lr * (1 - step / config.steps)
        x = torch.from_numpy(_centred(images[next(batches)]) / sd).to(device, torch.float32)  # [n, 3072]
        noise = torch.randn(x.shape, generator=random).to(device)
        keep = (torch.rand(len(x), BITS, generator=random) >= config.dropout).to(device)
        code = torch.relu((x + config.noise * noise) @ encoder.T) * keep / (1 - config.dropout)  # [n, 128]
        loss = torch.mean((code @ decoder.T + bias - x) ** 2)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        if progress is not None:
            progress(step + 1, loss.item())
    return encoder.detach().cpu().numpy().astype(np.float64)


def _minibatches(n: int, size: int, random: "torch.Generator") -> Iterator[NDArray[np.int64]]:
    """Yield sorted indices [size] forever: a fresh permutation per pass, its last incomplete minibatch dropped."""
    import torch

    size = min(n, size)
    while True:
        for chosen in torch.randperm(n, generator=random)[: n - n % size].split(size):
            yield np.sort(chosen.numpy())  # a memory map is read fastest in order


def _rounded(encoder: NDArray[np.float64]) -> NDArray[np.int32]:
    """Round the encoder to integers for plain pixels: each row as large as fits, with sum zero over each channel."""
    if not np.isfinite(encoder).all():
        raise ValueError("training diverged: weights are no longer finite; lower lr")
    rows = _less_channel_means(encoder)
    scale = _LARGEST / np.abs(rows).max(axis=1, keepdims=True).clip(min=1e-30)
    weight = np.rint(rows * scale).astype(np.int64).reshape(len(rows), SIDE * SIDE, 3)
    rest, smallest = weight.sum(axis=1, keepdims=True), np.abs(weight).argmin(axis=1, keepdims=True)
    np.put_along_axis(weight, smallest, np.take_along_axis(weight, smallest, axis=1) - rest, axis=1)
    return weight.reshape(rows.shape).astype(np.int32)


def _check(images: NDArray[np.uint8]) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or min(images.shape[1:3]) < SIDE:
        raise ValueError(
            f"images must be uint8 [N, H, W, 1 or 3] of at least {SIDE}x{SIDE}, got {images.dtype} {images.shape}"
        )


def _pieces(images: NDArray[np.uint8] | Iterable[Image.Image]) -> Iterator[NDArray[np.uint8]]:
    """Yield the images as the autoencoder takes them, some at a time: uint8 [n, 32, 32, 3]."""
    if not isinstance(images, np.ndarray):
        for image in images:
            yield from _pieces(np.asarray(image.convert("RGB"))[None])
        return
    _check(images)
    piece = max(1, min(_CHUNK, _PIECE // max(1, images.shape[1] * images.shape[2])))
    for i in range(0, len(images), piece):
        small = _shrunk(images[i : i + piece])
        yield np.broadcast_to(small, (*small.shape[:3], 3))


def _shrunk(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink the central square to 32x32; each pixel is the mean of the area that it covers, rounded half up."""
    height, width = images.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, top : top + side, left : left + side]
    if side == SIDE:
        return square
    edges = np.arange(side + 1) * SIDE  # edges of the pixels, in units of which each of the 32 spans `side`
    low, high = np.arange(SIDE)[:, None] * side, np.arange(1, SIDE + 1)[:, None] * side
    area = np.maximum(0, np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)).astype(np.float64)  # [32, side]
    total = area @ square.transpose(0, 3, 1, 2).astype(np.float64) @ area.T  # integers below 2^53: exact
    mean = (2 * total.astype(np.int64) + side**2) // (2 * side**2)
    return mean.astype(np.uint8).transpose(0, 2, 3, 1)


def _centred(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Subtract the mean of each channel of each image: uint8 [n, H, W, C] -> float64 [n, 3072]."""
    flat = np.concatenate([_flat(piece) for piece in _pieces(images)])
    return _less_channel_means(flat)


def _less_channel_means(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract the mean of each channel: float64 [n, 3072] -> [n, 3072].

    This is a projection, so applying it to the weights or to the images gives the same products.
    """
    channels = rows.reshape(len(rows), SIDE * SIDE, 3)
    return (channels - channels.mean(axis=1, keepdims=True)).reshape(rows.shape)


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Flatten uint8 [n, 32, 32, 3] to float64 [n, 3072]."""
    return images.reshape(len(images), PIXELS).astype(np.float64)

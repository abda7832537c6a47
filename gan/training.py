"""The paper's training recipe: Adam 2e-4 / 0.5, minibatches of 128, the two networks in alternation.

As in the authors' code (train_uncond_dcgan.py), one minibatch updates the generator and the *next* one the
discriminator, so that in one epoch each network takes half the steps. Learning rates stay constant, then fall
linearly to zero. Images live on the device as uint8; a minibatch is an index look-up.

`train` yields after every step; the caller logs, saves and prints.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gan.architectures import Architecture, Discriminator, Generator, initialise
from gan.losses import discriminator_loss, generator_loss
from gan.sampling import sample_z


@dataclass(frozen=True)
class TrainingConfig:
    """How a DCGAN is trained. Lengths are counted in images shown, so that any set and batch size compare."""

    images: int  # real images shown in all: minibatches x batch_size, generator steps counted like the authors' epochs
    decay_from: int  # images shown after which the learning rate falls linearly to zero; `images` for no decay
    batch_size: int = 128  # paper section 4
    lr: float = 2e-4  # paper section 4
    beta1: float = 0.5  # paper section 4
    weight_decay: float = 0.0  # L2, added to the gradient; 1e-5 for faces in the authors' code
    seed: int = 0

    def __post_init__(self) -> None:
        if self.images < self.batch_size:
            raise ValueError(f"images must be at least one batch of {self.batch_size}, got {self.images}")
        if not 0 <= self.decay_from <= self.images:
            raise ValueError(f"decay_from must lie in [0, images = {self.images}], got {self.decay_from}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2 (batch norm), got {self.batch_size}")
        if not (self.lr > 0 and 0 <= self.beta1 < 1 and self.weight_decay >= 0):
            raise ValueError(
                f"need lr > 0, 0 <= beta1 < 1 and weight_decay >= 0, got {self.lr}, {self.beta1}, {self.weight_decay}"
            )

    @property
    def steps(self) -> int:
        """Minibatches in all; half of them update the generator, half the discriminator."""
        return self.images // self.batch_size

    def lr_at(self, step: int) -> float:
        """Learning rate of 0-based `step`: constant up to `decay_from` images, then linear to zero at `images`."""
        seen = step * self.batch_size
        if seen <= self.decay_from or self.decay_from >= self.images:
            return self.lr
        return self.lr * max(0.0, (self.images - seen) / (self.images - self.decay_from))


@dataclass
class TrainingState:
    """Everything that a run needs to go on: both networks, both optimisers, the noise generator, the step."""

    generator: Generator
    discriminator: Discriminator
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    noise: torch.Generator  # draws z; on the CPU, so that a run does not depend on the device's generator
    step: int = 0  # minibatches done


@dataclass(frozen=True)
class Step:
    """What one minibatch did. `loss` is a float32 scalar on the device; reading it waits for the step."""

    step: int  # steps done, from 1
    images_seen: int
    network: str  # "generator" or "discriminator": the one that was updated
    loss: Tensor
    lr: float


def new_state(arch: Architecture, config: TrainingConfig, device: torch.device | str = "cpu") -> TrainingState:
    """Fresh networks, initialised from `config.seed` (on the CPU: the same weights on every device)."""
    seeded = torch.Generator().manual_seed(config.seed)
    generator, discriminator = Generator(arch), Discriminator(arch)
    for network in (generator, discriminator):
        initialise(network, seeded)
        # convolutions run on NHWC maps, the layout in which the uint8 images already lie
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    adam = partial(torch.optim.Adam, lr=config.lr, betas=(config.beta1, 0.999), weight_decay=config.weight_decay)
    return TrainingState(
        generator, discriminator, adam(generator.parameters()), adam(discriminator.parameters()), noise=seeded
    )


def minibatch_indices(n: int, config: TrainingConfig, step: int) -> Tensor:
    """Indices int64 [batch_size] of a step's images: a fresh permutation of the set per pass, from seed and pass alone.

    The last incomplete minibatch of a pass is dropped. Sets smaller than a minibatch are refused (ValueError).
    """
    per_pass = n // config.batch_size
    if per_pass == 0:
        raise ValueError(f"need at least one minibatch of {config.batch_size} images, got {n}")
    epoch, position = divmod(step, per_pass)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(config.seed * 1_000_003 + epoch))
    return order[position * config.batch_size : (position + 1) * config.batch_size]


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 [N, H, W, C] -> float32 [N, C, H, W] in [-1, 1]: x / 127.5 - 1 (the authors' code), channels last."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0)


def train(state: TrainingState, images: Tensor, config: TrainingConfig) -> Iterator[Step]:
    """Trains in place from `state.step` to `config.steps`, yielding after every minibatch.

    `images`: uint8 [N, H, W, C] on the networks' device. Raises ValueError for images of another shape or type, and
    for fewer than one minibatch.
    """
    expected = (*state.discriminator.arch.image_shape[1:], state.discriminator.arch.channels)
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != expected:
        raise ValueError(f"images must be uint8 [N, {expected}], got {images.dtype} {tuple(images.shape)}")
    minibatch_indices(len(images), config, state.step)  # too few images: refused before the first step
    device = images.device
    g, d = state.generator.train(), state.discriminator.train()
    while state.step < config.steps:
        lr = config.lr_at(state.step)
        z = sample_z(g.arch, config.batch_size, state.noise).to(device)
        if state.step % 2 == 0:
            d.requires_grad_(False)  # the discriminator is only a function here: no gradients for its weights
            loss = generator_loss(d(g(z)))
            _update(state.generator_optimizer, loss, lr)
            d.requires_grad_(True)
            updated = "generator"
        else:
            real = to_unit_range(images[minibatch_indices(len(images), config, state.step).to(device)])
            with torch.no_grad():
                fake = g(z)
            loss = discriminator_loss(d(real), d(fake))
            _update(state.discriminator_optimizer, loss, lr)
            updated = "discriminator"
        state.step += 1
        yield Step(state.step, state.step * config.batch_size, updated, loss.detach(), lr)


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()

"""The paper's training recipe: Adam 2e-4 / 0.5, minibatches of 128, the two networks in alternation.

As in the authors' code (train_uncond_dcgan.py), one minibatch updates the generator and the *next* one the
discriminator, so that in one epoch each network takes half the steps. The learning rate stays constant, then falls
linearly to zero. Images lie on the device as uint8, or come from a memory map; a minibatch is an index look-up.

The configuration can add later techniques to the discriminator's objective: R1 (Mescheder et al. 2018), DiffAugment
(Zhao et al. 2020), and the self-supervised rotation task on real images (Chen et al. 2019, without the generator's part
of that task).

`train` yields after every step; the caller logs, saves and prints.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan.architectures import Architecture, Discriminator, Generator, initialise
from gan.augmentation import POLICIES, diff_augment, rotate
from gan.conditional import ConditionalArchitecture, ConditionalDiscriminator, ConditionalGenerator
from gan.losses import discriminator_loss, generator_loss, r1_penalty
from gan.parallel import average, average_gradients, processes, share
from gan.sampling import sample_z

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainingConfig:
    """How a DCGAN is trained. Lengths are counted in images shown, so that sets and batch sizes can be compared."""

    images: int  # images shown in all: minibatches x batch_size; generator steps count, as in the authors' epochs
    decay_from: int  # images shown before the learning rate begins to fall to zero; `images` for no decay
    batch_size: int = 128  # paper section 4
    lr: float = 2e-4  # paper section 4
    beta1: float = 0.5  # paper section 4
    weight_decay: float = 0.0  # L2, added to the gradient; 1e-5 for faces in the authors' code
    seed: int = 0
    discriminator_steps: int = 1  # discriminator updates per generator update, each with a minibatch of its own
    rotation: float = 0.0  # weight of the rotation task; 1 in Chen et al.
    r1: float = 0.0  # gamma of the R1 penalty; 10 in Mescheder et al.
    augment: tuple[str, ...] = ()  # DiffAugment: any of color, translation, cutout
    precision: str = "float32"  # "bfloat16" is autocast, for GPUs

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
        if self.discriminator_steps < 1:
            raise ValueError(f"discriminator_steps must be at least 1, got {self.discriminator_steps}")
        if not (self.rotation >= 0 and self.r1 >= 0):
            raise ValueError(f"need rotation >= 0 and r1 >= 0, got {self.rotation} and {self.r1}")
        if isinstance(self.augment, str):
            raise ValueError(f"augment must be a list of {', '.join(POLICIES)}, got {self.augment!r}")
        object.__setattr__(self, "augment", tuple(self.augment))  # JSON and TOML have lists
        if unknown := [policy for policy in self.augment if policy not in POLICIES]:
            raise ValueError(f"unknown augmentation {unknown[0]!r}; known: {', '.join(POLICIES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    @property
    def steps(self) -> int:
        """Minibatches in all. Each updates one network; by default, half of them update the generator."""
        return self.images // self.batch_size

    def lr_at(self, step: int) -> float:
        """Return the learning rate of 0-based `step`: constant until `decay_from`, then linear to zero at `images`."""
        seen = step * self.batch_size
        if seen <= self.decay_from or self.decay_from >= self.images:
            return self.lr
        return self.lr * max(0.0, (self.images - seen) / (self.images - self.decay_from))


@dataclass
class TrainingState:
    """All that a run needs to continue: the networks, both optimisers, the noise generator and the step."""

    generator: Generator | ConditionalGenerator
    discriminator: Discriminator | ConditionalDiscriminator
    rotation_head: nn.Linear | None  # tells from the last map which of four turns it is; updated with the discriminator
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    noise: torch.Generator  # of z and all other draws; on the CPU, so that every device gets the same numbers
    step: int = 0  # minibatches done


@dataclass(frozen=True)
class Step:
    """What one minibatch did. `loss` is a float32 scalar on the device; reading it waits for the step."""

    step: int  # steps done, from 1
    images_seen: int
    network: str  # "generator" or "discriminator": the one that was updated
    loss: Tensor  # only the adversarial loss, without R1 and the rotation task
    lr: float


def new_state(
    arch: Architecture | ConditionalArchitecture, config: TrainingConfig, device: torch.device | str = "cpu"
) -> TrainingState:
    """Make fresh networks and optimisers from `config.seed`.

    Weights are drawn on the CPU, so that every device gets the same.
    """
    seeded = torch.Generator().manual_seed(config.seed)
    generator: Generator | ConditionalGenerator
    discriminator: Discriminator | ConditionalDiscriminator
    if isinstance(arch, ConditionalArchitecture):
        generator, discriminator = ConditionalGenerator(arch), ConditionalDiscriminator(arch)
    else:
        generator, discriminator = Generator(arch), Discriminator(arch)
    head = None
    if config.rotation:
        if not isinstance(discriminator, Discriminator):
            raise ValueError(f"rotation must be 0 for class-conditional networks, got {config.rotation}")
        head = nn.Linear(discriminator.logit.in_features, 4)
    for network in (generator, discriminator) if head is None else (generator, discriminator, head):
        initialise(network, seeded)
        # convolutions run on NHWC maps, the layout in which the uint8 images already lie
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    judged = [*discriminator.parameters(), *(() if head is None else head.parameters())]
    adam = partial(
        torch.optim.Adam, lr=config.lr, betas=(config.beta1, 0.999), weight_decay=config.weight_decay, fused=True
    )
    return TrainingState(generator, discriminator, head, adam(generator.parameters()), adam(judged), noise=seeded)


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


@lru_cache(1)
def _order(n: int, seed: int) -> Tensor:
    """Draw a permutation of n images. It is kept for its pass: for a million images, a draw takes as long as a step."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def to_range(images: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Convert uint8 [N, H, W, C] to float32 [N, C, H, W] in [low, high], channels last in memory.

    The default range gives x / 127.5 - 1, as in the authors' code.
    """
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255 / (high - low)).add_(low)


def train(
    state: TrainingState,
    images: Tensor,
    config: TrainingConfig,
    *,
    labels: Tensor | None = None,
    rows: Tensor | None = None,
) -> Iterator[Step]:
    """Train in place from `state.step` to `config.steps`; yield after every minibatch.

    `images`: uint8 [N, H, W, C], on the networks' device, or on the CPU when they do not fit there (a memory map is
    allowed). `labels`: int64 [N], only for class-conditional networks. `rows`: int64 [M], the images to train on; all
    when None. When several processes train together, every process makes the same call. Raises ValueError for images of
    another shape or type, for fewer images than one minibatch, and for missing or superfluous labels.
    """
    arch = state.discriminator.arch
    expected = (*arch.image_shape[1:], arch.channels)
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != expected:
        raise ValueError(f"images must be uint8 [N, {expected}], got {images.dtype} {tuple(images.shape)}")
    classes = arch.classes if isinstance(arch, ConditionalArchitecture) else None
    if (labels is None) != (classes is None):
        raise ValueError("labels must be given for class-conditional networks, and only for them")
    if labels is not None and not (len(labels) == len(images) and 0 <= labels.min() <= labels.max() < (classes or 0)):
        raise ValueError(f"labels must be int64 [{len(images)}] in [0, {classes}), got {tuple(labels.shape)}")
    rows = torch.arange(len(images)) if rows is None else rows.cpu()
    minibatch_indices(len(rows), config, state.step)  # refuses too few images before the first step
    if config.batch_size % processes():
        raise ValueError(f"batch_size must be a multiple of the {processes()} processes, got {config.batch_size}")
    state.generator.train()
    state.discriminator.train()
    device = next(state.generator.parameters()).device
    while state.step < config.steps:
        lr = config.lr_at(state.step)
        chosen = rows[share(minibatch_indices(len(rows), config, state.step))]
        z = share(sample_z(arch, config.batch_size, state.noise)).to(device)
        given = () if labels is None else (labels[chosen.to(labels.device)].to(device),)
        if state.step % (1 + config.discriminator_steps) == 0:
            loss, updated = _update_generator(state, z, given, config, lr), "generator"
        else:
            batch = images[chosen.to(images.device)].to(device)
            loss, updated = _update_discriminator(state, batch, z, given, config, lr), "discriminator"
        state.step += 1
        yield Step(state.step, state.step * config.batch_size, updated, average(loss.detach()), lr)


def _update_generator(
    state: TrainingState, z: Tensor, given: tuple[Tensor, ...], config: TrainingConfig, lr: float
) -> Tensor:
    g, d = state.generator, state.discriminator
    d.requires_grad_(False)  # only the generator is updated, so the discriminator's weights need no gradients
    with _precision(config, z.device):
        loss = generator_loss(d(diff_augment(g(z, *given), config.augment, state.noise), *given))
    _step(state.generator_optimizer, loss, lr)
    d.requires_grad_(True)
    return loss


def _update_discriminator(
    state: TrainingState, batch: Tensor, z: Tensor, given: tuple[Tensor, ...], config: TrainingConfig, lr: float
) -> Tensor:
    """Update the discriminator with `batch`, uint8 [n, H, W, C]; return only the adversarial part of its objective."""
    g, d, head = state.generator, state.discriminator, state.rotation_head
    real = to_range(batch, *d.arch.value_range)
    if config.r1:
        real.requires_grad_(True)
    with _precision(config, z.device):
        with torch.no_grad():
            fake = g(z, *given)
        logits = d(diff_augment(real, config.augment, state.noise), *given)
        loss = discriminator_loss(logits, d(diff_augment(fake, config.augment, state.noise), *given))
        objective = loss
        if config.r1:
            objective = objective + config.r1 * r1_penalty(logits, real)
        if head is not None:
            turns = share(torch.randint(4, (config.batch_size,), generator=state.noise)).to(z.device)
            assert isinstance(d, Discriminator)
            objective = objective + config.rotation * cross_entropy(head(d.units(rotate(real.detach(), turns))), turns)
    _step(state.discriminator_optimizer, objective, lr)
    return loss


def _precision(config: TrainingConfig, device: torch.device) -> AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")


def _step(optimizer: torch.optim.Optimizer, objective: Tensor, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    objective.backward()
    average_gradients(p for group in optimizer.param_groups for p in group["params"])
    optimizer.step()

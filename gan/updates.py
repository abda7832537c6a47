"""The two updates of a training step, each a function of the networks, the draws and the step's minibatch.

They read and write only tensors on the networks' device and never wait for it, so that a GPU can replay them
(`gan.graphs`). The same code runs on the CPU and in each of several processes.
"""

from contextlib import AbstractContextManager

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy

from gan.architectures import Discriminator
from gan.augmentation import diff_augment, recolor, rotate
from gan.config import TrainingConfig
from gan.losses import discriminator_loss, generator_loss, nt_xent, r1_penalty
from gan.minibatches import Minibatches
from gan.parallel import average_gradients, processes, rank, share
from gan.sampling import sample_z
from gan.state import TrainingState
from gan.views import random_view


def to_range(images: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Convert uint8 [N, H, W, C] to float32 [N, C, H, W] in [low, high], channels last in memory.

    The default range gives x / 127.5 - 1, as in the authors' code.
    """
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(255 / (high - low)).add_(low)


def update_generator(state: TrainingState, config: TrainingConfig, minibatches: Minibatches) -> Tensor:
    """Update the generator in place; return its loss, a scalar."""
    g, d, given = state.generator, state.discriminator, minibatches.labels()
    z = _draw_z(state, config)
    d.requires_grad_(False)  # only the generator is updated, so the discriminator's weights need no gradients
    with _precision(config, z.device):
        loss = generator_loss(d(diff_augment(g(z, *given), config.augment, state.noise), *given))
    _step(state.generator_optimizer, loss)
    d.requires_grad_(True)
    return loss.detach()


def update_discriminator(state: TrainingState, config: TrainingConfig, minibatches: Minibatches) -> Tensor:
    """Update the discriminator in place; return the adversarial part of its objective, or all of it without that part.

    Real images are views of the minibatch's images (`config.crop` and `config.mirror`).
    """
    d, given = state.discriminator, minibatches.labels()
    z = _draw_z(state, config) if config.adversarial else None
    images = to_range(minibatches.images(), *d.arch.value_range)
    real = random_view(images, d.arch.size, config.crop, config.mirror, state.noise)
    compared = _compared_views(state, config, images) if state.contrast_head is not None else None
    terms = []
    with _precision(config, images.device):
        if z is not None:
            adversarial, penalty = _adversarial(state, config, real, z, given)
            terms += [config.adversarial * adversarial, *penalty]
        if state.rotation_head is not None:
            terms.append(config.rotation * _rotation(state, config, real.detach()))
        if compared is not None:
            terms.append(config.contrast * _contrast(state, config, compared))
    objective = sum(terms[1:], start=terms[0])
    _step(state.discriminator_optimizer, objective)
    return (objective if z is None else adversarial).detach()


def _adversarial(
    state: TrainingState, config: TrainingConfig, real: Tensor, z: Tensor, given: tuple[Tensor, ...]
) -> tuple[Tensor, list[Tensor]]:
    """Return the GAN's loss, and the weighted R1 penalty if there is one."""
    g, d = state.generator, state.discriminator
    if config.r1:
        real.requires_grad_(True)
    with torch.no_grad():
        fake = g(z, *given)
    of_real = d(diff_augment(real, config.augment, state.noise), *given)
    of_fake = d(diff_augment(fake, config.augment, state.noise), *given)
    penalty = [config.r1 * r1_penalty(of_real, real)] if config.r1 else []
    return discriminator_loss(of_real, of_fake), penalty


def _rotation(state: TrainingState, config: TrainingConfig, real: Tensor) -> Tensor:
    noise, d, head = state.noise, state.discriminator, state.rotation_head
    assert isinstance(d, Discriminator) and head is not None
    turns = share(torch.randint(4, (config.batch_size,), generator=noise, device=noise.device)).to(real.device)
    return cross_entropy(head(d.units(rotate(real, turns))), turns)


def _compared_views(state: TrainingState, config: TrainingConfig, images: Tensor) -> Tensor:
    """Draw two views of each of the images [n, C, S, S], with changed colors: [2 n, C, size, size]."""
    views = []
    for _ in range(2):
        size = state.discriminator.arch.size
        view = random_view(images, size, config.contrast_crop, config.mirror, state.noise)
        views.append(recolor(view, config.contrast_color, config.contrast_gray, state.noise))
    return torch.cat(views).contiguous(memory_format=torch.channels_last)


def _contrast(state: TrainingState, config: TrainingConfig, views: Tensor) -> Tensor:
    """Return NT-Xent between the views; their embeddings are made of the last map's channel means.

    All views pass through the network together, or batch norm would tell first and second ones apart.
    """
    d, head = state.discriminator, state.contrast_head
    assert isinstance(d, Discriminator) and head is not None
    embeddings = head(d.units(views).unflatten(1, (d.arch.stage_channels[-1], -1)).mean(2))
    if processes() == 1:
        return nt_xent(embeddings, config.temperature)
    return nt_xent(embeddings, config.temperature, among=_Gather.apply(embeddings), first=rank() * len(embeddings))


class _Gather(torch.autograd.Function):
    """The rows [n, d] of every process, [processes n, d]; a row's gradient is the sum of those in all processes."""

    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:  # type: ignore[override]
        parts = [torch.empty_like(rows) for _ in range(processes())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(processes())[rank()]


def _draw_z(state: TrainingState, config: TrainingConfig) -> Tensor:
    device = next(state.generator.parameters()).device
    return share(sample_z(state.generator.arch, config.batch_size, state.noise)).to(device)


def _precision(config: TrainingConfig, device: torch.device) -> AbstractContextManager:
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16")


def _step(optimizer: torch.optim.Optimizer, objective: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    objective.backward()
    average_gradients(p for group in optimizer.param_groups for p in group["params"])
    optimizer.step()

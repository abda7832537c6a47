"""The state of a training run: networks, the heads of other objectives, optimisers, and the generator of draws."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from gan.architectures import Architecture, Discriminator, Generator, initialise
from gan.conditional import ConditionalArchitecture, ConditionalDiscriminator, ConditionalGenerator
from gan.config import TrainingConfig

EMBEDDED = (512, 128)  # units of the head of NT-Xent; Chen et al. 2020 have two layers that end in 128


@dataclass
class TrainingState:
    """All that a run needs to continue: the networks, both optimisers, the generator of draws and the step.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> state = gan.new_state(arch, gan.TrainingConfig(images=128, decay_from=128))
    >>> state.step, sorted(state.networks)
    (0, ['discriminator', 'generator'])
    """

    generator: Generator | ConditionalGenerator
    discriminator: Discriminator | ConditionalDiscriminator
    rotation_head: nn.Linear | None  # tells from the last map which of four turns it is; updated with the discriminator
    contrast_head: nn.Sequential | None  # embeds the last map's channel means for NT-Xent; likewise
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    noise: torch.Generator  # of z and all other draws: on the GPU that trains, or on the CPU for any other device
    step: int = 0  # minibatches done
    notes: dict[str, Any] = field(default_factory=dict)  # JSON values of whoever trains; a checkpoint keeps them

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Name -> network, heads included."""
        heads = {"rotation_head": self.rotation_head, "contrast_head": self.contrast_head}
        own: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator}
        return own | {name: head for name, head in heads.items() if head is not None}

    @property
    def optimizers(self) -> dict[str, torch.optim.Adam]:
        """Name of the network -> its optimiser; the discriminator's also updates the heads."""
        return {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}


def new_state(
    arch: Architecture | ConditionalArchitecture, config: TrainingConfig, device: torch.device | str = "cpu"
) -> TrainingState:
    """Make fresh networks and optimisers from `config.seed`.

    Weights are drawn on the CPU, so that every device gets the same; a GPU makes the later draws itself.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> state = gan.new_state(arch, gan.TrainingConfig(images=128, decay_from=128, seed=1))
    >>> state.generator.arch.width, state.step
    (8, 0)
    """
    config.check_fits(arch)
    device = torch.device(device)
    seeded = torch.Generator().manual_seed(config.seed)
    generator: Generator | ConditionalGenerator
    discriminator: Discriminator | ConditionalDiscriminator
    if isinstance(arch, ConditionalArchitecture):
        generator, discriminator = ConditionalGenerator(arch), ConditionalDiscriminator(arch)
    else:
        generator, discriminator = Generator(arch), Discriminator(arch)
    initialise(generator, seeded)
    initialise(discriminator, seeded)
    rotation_head = contrast_head = None
    if config.rotation:
        assert isinstance(discriminator, Discriminator)
        rotation_head = nn.Linear(discriminator.logit.in_features, 4)
        initialise(rotation_head, seeded)
    if config.contrast:
        assert isinstance(arch, Architecture)
        contrast_head = _contrast_head(arch.stage_channels[-1], seeded)
    judging: list[nn.Module] = [n for n in (discriminator, rotation_head, contrast_head) if n is not None]
    for network in (generator, *judging):
        # convolutions run on NHWC maps, the layout in which the uint8 images already lie
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    how: dict[str, Any] = {"betas": (config.beta1, 0.999), "weight_decay": config.weight_decay, "fused": True}
    if device.type == "cuda":  # a recorded update reads the rate, so it is a tensor
        how |= {"lr": torch.tensor(config.lr, device=device), "capturable": True}
    else:
        how |= {"lr": config.lr}
    return TrainingState(
        generator,
        discriminator,
        rotation_head,
        contrast_head,
        generator_optimizer=torch.optim.Adam(generator.parameters(), **how),
        discriminator_optimizer=torch.optim.Adam([p for network in judging for p in network.parameters()], **how),
        noise=torch.Generator(device).manual_seed(config.seed) if device.type == "cuda" else seeded,
    )


def set_rate(optimizer: torch.optim.Adam, lr: float) -> None:
    """Set the learning rate; on a GPU it is a tensor, which recorded updates read."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def _contrast_head(channels: int, seeded: torch.Generator) -> nn.Sequential:
    """Make the head of NT-Xent, with PyTorch's usual initialisation of linear layers, drawn from `seeded`."""
    hidden, embedded = EMBEDDED
    head = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, embedded))
    with torch.no_grad():
        for values in head.parameters():
            bound = 1 / math.sqrt(channels if values in set(head[0].parameters()) else hidden)
            values.uniform_(-bound, bound, generator=seeded)
    return head

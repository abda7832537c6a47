"""The paper's training recipe: Adam 2e-4 / 0.5, minibatches of 128, the two networks in alternation.

As in the authors' code (train_uncond_dcgan.py), one minibatch updates the generator and the *next* one the
discriminator, so that in one epoch each network takes half the steps. The learning rate stays constant, then falls
linearly to zero. Images lie on the device as uint8, where a minibatch is an index look-up. Other images are read ahead.

The configuration can add later techniques to the discriminator's objective: R1 (Mescheder et al. 2018), DiffAugment
(Zhao et al. 2020), the self-supervised rotation task on real images (Chen et al. 2019, without the generator's part of
that task), and NT-Xent between two views of each real image (Chen et al. 2020).

`train` yields after every step; the caller logs, saves and prints.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan.conditional import ConditionalArchitecture
from gan.config import TrainingConfig
from gan.graphs import CudaRecorder, Recorded, Recorder, Update
from gan.minibatches import Minibatches, minibatch_indices
from gan.parallel import average, processes
from gan.state import TrainingState, set_rate
from gan.updates import update_discriminator, update_generator
from gan.views import check_squares


@dataclass(frozen=True)
class Step:
    """What one minibatch did. `loss` is a float32 scalar on the device; reading it waits for the step.

    >>> step = gan.Step(step=1, images_seen=16, network="generator", loss=torch.tensor(0.7), lr=2e-4)
    >>> print(f"{step.network} after {step.images_seen} images: {step.loss:.2f}")
    generator after 16 images: 0.70
    """

    step: int  # steps done, from 1
    images_seen: int
    network: str  # "generator" or "discriminator": the one that was updated
    loss: Tensor  # only the adversarial loss, without other objectives; all of them where that one is left out
    lr: float


def train(
    state: TrainingState,
    images: Tensor | NDArray[np.uint8],
    config: TrainingConfig,
    *,
    labels: Tensor | None = None,
    rows: Tensor | None = None,
    graphs: bool = True,
) -> Generator[Step, None, None]:
    """Train in place from `state.step` to `config.steps`; yield after every minibatch.

    `images`: uint8 [N, S, S, C] of the networks' size, or larger squares, of which views are read at that size. They
    lie on the networks' device, or on the CPU when they do not fit there. An np.memmap is read from its file, ahead of
    the steps, and may be larger than memory. `labels`: int64 [N], only for class-conditional networks. `rows`: int64
    [M], the images to train on; all when None. When several processes train together, every process makes the same
    call. `graphs`: whether a single process on a GPU replays its updates as CUDA graphs. Whoever leaves early closes
    the generator, which ends the reading ahead.
    Raises ValueError for images of another shape or type, for fewer images than one minibatch, for rows that
    are not there, and for missing or superfluous labels; OSError if images cannot be read from their file.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> config = gan.TrainingConfig(images=32, decay_from=32, batch_size=16)
    >>> images = torch.randint(0, 256, (64, 32, 32, arch.channels), dtype=torch.uint8)
    >>> state = gan.new_state(arch, config)
    >>> [(step.step, step.network) for step in gan.train(state, images, config)]
    [(1, 'generator'), (2, 'discriminator')]
    """
    arch, device = state.discriminator.arch, next(state.generator.parameters()).device
    check_squares(images, arch.size, arch.channels)
    classes = arch.classes if isinstance(arch, ConditionalArchitecture) else None
    if (labels is None) != (classes is None):
        raise ValueError("labels must be given for class-conditional networks, and only for them")
    if labels is not None and not (len(labels) == len(images) and 0 <= labels.min() <= labels.max() < (classes or 0)):
        raise ValueError(f"labels must be int64 [{len(images)}] in [0, {classes}), got {tuple(labels.shape)}")
    rows = torch.arange(len(images)) if rows is None else rows.cpu()
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(images):
        raise ValueError(f"rows must lie in [0, {len(images)}), got {int(rows.min())} to {int(rows.max())}")
    minibatch_indices(len(rows), config, state.step)  # refuses too few images before the first step
    if config.batch_size % processes():
        raise ValueError(f"batch_size must be a multiple of the {processes()} processes, got {config.batch_size}")
    state.generator.train()
    state.discriminator.train()
    with closing(Minibatches(images, labels, rows, config, device)) as minibatches:
        yield from _steps(state, config, minibatches, recorder_for(device) if graphs else None)


def _steps(
    state: TrainingState, config: TrainingConfig, minibatches: Minibatches, recorder: Recorder | None
) -> Iterator[Step]:
    updates: dict[str, Update] = {
        "generator": partial(update_generator, state, config, minibatches),
        "discriminator": partial(update_discriminator, state, config, minibatches),
    }
    if not config.adversarial:
        del updates["generator"]
    recorded = Recorded(updates, state, recorder) if recorder is not None else None
    while state.step < config.steps:
        lr, updated = config.lr_at(state.step), config.updated(state.step)
        set_rate(state.optimizers[updated], lr)
        minibatches.load(state.step)
        loss = updates[updated]() if recorded is None else recorded(updated)
        state.step += 1
        yield Step(state.step, state.step * config.batch_size, updated, average(loss), lr)


def recorder_for(device: torch.device) -> Recorder | None:
    """Return what records updates on this device; None where they run one by one."""
    return CudaRecorder(device) if device.type == "cuda" and processes() == 1 else None

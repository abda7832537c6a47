"""Make a trained generator a plain function of z, and drop some of its maps (paper section 6.3.1).

In training and in `sample`, batch norm takes its statistics from the minibatch, so an image depends on the other images
of its minibatch. Here the statistics are those of the prior, the limit of large minibatches, so that an image depends
only on its own z.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gan.architectures import Generator
from gan.parallel import apart
from gan.sampling import sample_z, to_uint8

BATCH, BATCHES = 128, 8  # the statistics of so many minibatches of z are averaged


@torch.no_grad()
def freeze(generator: Generator, *, seed: int = 0) -> Generator:
    """Copy the generator and fix its batch norm to the mean statistics of 8 minibatches of 128 z drawn by `seed`.

    The copy is in evaluation mode.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> frozen = gan.freeze(gan.Generator(arch))
    >>> z = gan.sample_z(arch, 4)
    >>> torch.equal(gan.draw(frozen, z)[:1], gan.draw(frozen, z[:1]))  # an image depends only on its own z
    True
    """
    frozen = copy.deepcopy(generator).train()
    norms = [m for m in frozen.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then takes the mean over all batches
    z = sample_z(generator.arch, BATCH * BATCHES, torch.Generator().manual_seed(seed))
    with apart():
        for part in z.split(BATCH):
            frozen(part.to(next(frozen.parameters()).device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return frozen.eval()


@torch.no_grad()
def draw(frozen: Generator, z: Tensor) -> Tensor:
    """Draw images uint8 [N, H, W, C], on the CPU, for z float32 [N, nz]. Each image depends only on its own z.

    Raises ValueError for a network in training mode; `freeze` makes one in evaluation mode.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> gan.draw(gan.freeze(gan.Generator(arch)), gan.sample_z(arch, 4)).shape
    torch.Size([4, 32, 32, 3])
    """
    if frozen.training:
        raise ValueError("the network is in training mode: draw from gan.freeze(network)")
    device = next(frozen.parameters()).device
    return torch.cat([to_uint8(frozen(part.to(device)), frozen.arch.value_range).cpu() for part in z.split(BATCH)])


@torch.no_grad()
def drop_maps(generator: Generator, stage: str, maps: Iterable[int]) -> Generator:
    """Copy the generator and set some maps of a stage's output to 0 at all positions.

    The copy does so by zeroing the next deconvolution's weights of these maps. The statistics of later batch norms no
    longer fit, so `freeze` the copy. Raises ValueError for an unknown stage, for the last stage (its maps are the
    image), and for maps that the stage does not have.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> generator = gan.Generator(arch)
    >>> without = gan.freeze(gan.drop_maps(generator, generator.stage_names[0], [0, 3]))
    >>> without.stage_names == generator.stage_names
    True
    """
    before_last = generator.stage_names[:-1]
    if stage not in before_last:
        raise ValueError(f"stage must be one of {', '.join(before_last)}, got {stage!r}")
    following = generator.stage_names[generator.stage_names.index(stage) + 1]
    dropped = copy.deepcopy(generator)
    weight = dropped.get_parameter(f"{following}.conv.weight")  # [maps, channels out, k, k]
    index = torch.tensor(sorted(set(maps)), dtype=torch.int64, device=weight.device)
    if len(index) and not 0 <= int(index[0]) <= int(index[-1]) < len(weight):
        raise ValueError(f"{stage} has maps 0 to {len(weight) - 1}, got {index.tolist()}")
    weight[index] = 0
    return dropped

"""A trained generator as a plain function of z, and without some of its maps (paper section 6.3.1).

In training, and in `sample`, batch norm takes its statistics from the minibatch: an image depends on what is drawn
beside it. To look at one z, the statistics are those of the prior instead, as they are in the limit of large
minibatches.
"""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gan.architectures import Generator
from gan.parallel import apart
from gan.sampling import sample_z, to_uint8

BATCH, BATCHES = 128, 8  # z whose statistics are averaged


@torch.no_grad()
def freeze(generator: Generator, *, seed: int = 0) -> Generator:
    """A copy in evaluation mode whose batch norms hold the means over 8 minibatches of 128 z drawn by `seed`."""
    frozen = copy.deepcopy(generator).train()
    norms = [m for m in frozen.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # of torch: the mean over all batches
    z = sample_z(generator.arch, BATCH * BATCHES, torch.Generator().manual_seed(seed))
    with apart():
        for part in z.split(BATCH):
            frozen(part.to(next(frozen.parameters()).device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return frozen.eval()


@torch.no_grad()
def draw(frozen: Generator, z: Tensor) -> Tensor:
    """Images uint8 [N, H, W, C] on the CPU for z float32 [N, nz], each of its own z alone.

    Raises ValueError for a network in training mode, which `freeze` takes out of it.
    """
    if frozen.training:
        raise ValueError("the network is in training mode: draw from gan.freeze(network)")
    device = next(frozen.parameters()).device
    return torch.cat([to_uint8(frozen(part.to(device)), frozen.arch.value_range).cpu() for part in z.split(BATCH)])


@torch.no_grad()
def drop_maps(generator: Generator, stage: str, maps: Iterable[int]) -> Generator:
    """A copy in which those maps of a stage's output are 0 at all positions, for what follows it.

    That is, what the next deconvolution takes of them is nothing. Later batch norms expect the maps: `freeze` the copy.
    Raises ValueError for a stage that is not there or is the last, whose maps are the image, and for maps not in it.
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

"""Drawing z and images: samples, and straight lines between points of z space (paper section 6.1)."""

import torch
from torch import Tensor

from gan.architectures import Architecture, Generator


def sample_z(arch: Architecture, n: int, generator: torch.Generator | None = None) -> Tensor:
    """z float32 [n, nz] from the architecture's prior, uniform[-1, 1] or standard normal, on the CPU."""
    if arch.z_distribution == "uniform":
        return torch.rand(n, arch.nz, generator=generator).mul_(2).sub_(1)
    return torch.randn(n, arch.nz, generator=generator)


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """`steps` points on the straight line from `start` to `end` [nz], both included: float32 [steps, nz]."""
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    return torch.lerp(start, end, torch.linspace(0, 1, steps, device=start.device)[:, None])


@torch.no_grad()
def sample(generator: Generator, z: Tensor) -> Tensor:
    """Images uint8 [N, H, W, C] for z [N, nz]. Batch norm uses the statistics of this batch, as the authors' code does.

    The network is left as it was: its running averages, which training updates, are not touched.
    """
    from torch.func import functional_call

    was_training = generator.training
    buffers = {name: b.clone() for name, b in generator.named_buffers()}
    try:
        images = functional_call(generator.train(), buffers, (z,))  # updates the copies
    finally:
        generator.train(was_training)
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

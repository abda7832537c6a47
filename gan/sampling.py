"""Draw z and images: samples, paths between points of z space (paper section 6.1), arithmetic on z (6.3.2)."""

import torch
from torch import Tensor
from torch.func import functional_call

from gan.architectures import Architecture, Generator
from gan.conditional import ConditionalArchitecture, ConditionalGenerator
from gan.parallel import apart


def sample_z(arch: Architecture | ConditionalArchitecture, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw z float32 [n, nz] from the architecture's prior, uniform[-1, 1] or standard normal.

    Draws are made on the generator's device; without a generator, on the CPU by torch's global one.

    >>> gan.sample_z(gan.PRESETS["dcgan32"], 5).shape
    torch.Size([5, 100])
    """
    device = None if generator is None else generator.device
    if arch.z_distribution == "uniform":
        return torch.rand(n, arch.nz, generator=generator, device=device).mul_(2).sub_(1)
    return torch.randn(n, arch.nz, generator=generator, device=device)


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Place `steps` points on the straight line from `start` to `end` [nz], both included: float32 [steps, nz].

    >>> gan.interpolate(torch.zeros(2), torch.ones(2), 3)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000],
            [1.0000, 1.0000]])
    """
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}")
    return torch.lerp(start, end, torch.linspace(0, 1, steps, device=start.device)[:, None])


def interpolate_on_sphere(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Interpolate along a great circle, on which norms stay those of the prior (White 2016, arXiv 1609.04468).

    The path is straight between points on one line through 0, which have no such circle.

    >>> path = gan.interpolate_on_sphere(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3)
    >>> torch.allclose(path.norm(dim=1), torch.ones(3))
    True
    """
    line = interpolate(start, end, steps)
    angle = torch.acos((start @ end / (start.norm() * end.norm())).clamp(-1, 1))
    if not float(torch.sin(angle)) > 1e-4:
        return line
    t = torch.linspace(0, 1, steps, device=start.device)[:, None]
    return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)


def analogy(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return mean(a) - mean(b) + mean(c) [nz]: "a is to b as the result is to c".

    a, b, c: exemplars [n, nz], each with its own n.

    >>> smiling_woman, woman, man = torch.full((3, 4), 3.0), torch.ones(3, 4), torch.zeros(3, 4)
    >>> gan.analogy(smiling_woman, woman, man)
    tensor([2., 2., 2., 2.])
    """
    return a.mean(0) - b.mean(0) + c.mean(0)


def around(z: Tensor, n: int, radius: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw `n` points float32 [n, nz], uniform within +-`radius` of `z` [nz]; the middle one is z itself.

    >>> z = torch.zeros(100)
    >>> near = gan.around(z, 9, 0.25)
    >>> near.shape, bool(near.abs().max() <= 0.25), torch.equal(near[4], z)
    (torch.Size([9, 100]), True, True)
    """
    noise = torch.rand(n, len(z), generator=generator).mul_(2 * radius).sub_(radius)
    noise[n // 2] = 0
    return z + noise.to(z.device)


@torch.no_grad()
def sample(generator: Generator | ConditionalGenerator, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """Draw images uint8 [N, H, W, C] for z [N, nz]; a class-conditional network also takes labels int64 [N].

    Batch norm uses the statistics of this batch, as the authors' code does. The network stays as it was, the running
    averages that training updates included.

    >>> from dataclasses import replace
    >>> arch = replace(gan.PRESETS["dcgan32"], width=8)
    >>> generator = gan.Generator(arch)
    >>> gan.sample(generator, gan.sample_z(arch, 4)).shape
    torch.Size([4, 32, 32, 3])
    """
    was_training = generator.training
    buffers = {name: b.clone() for name, b in generator.named_buffers()}
    given = (z,) if labels is None else (z, labels)
    try:
        with apart():
            images = functional_call(generator.train(), buffers, given)  # updates only the copies of the buffers
    finally:
        generator.train(was_training)
    return to_uint8(images, generator.arch.value_range)


def to_uint8(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Convert float [N, C, H, W] in `value_range` to uint8 [N, H, W, C]."""
    low, high = value_range
    images = images.sub(low).mul(255 / (high - low)).round().clamp(0, 255)
    return images.to(torch.uint8).permute(0, 2, 3, 1).contiguous()

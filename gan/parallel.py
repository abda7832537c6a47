"""Several processes that train one network, each on its share of every minibatch (torch.distributed).

Batch norm is synchronised: its statistics are those of the whole minibatch, as with one process, because a DCGAN is
sensitive to them and because a result must not depend on the number of processes. So one process and several differ
by the order of additions alone. Everything here is the identity where there is one process.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

_apart = False


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if not _apart and dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if processes() > 1 else 0


@contextmanager
def apart() -> Iterator[None]:
    """Inside, this process works for itself, as on what the others do not take part in."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


def share(batch: Tensor) -> Tensor:
    """This process's rows of a minibatch that every process has drawn alike; its size must divide by `processes`."""
    n = processes()
    return batch if n == 1 else batch[rank() :: n]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces every gradient by its mean over the processes."""
    n = processes()
    if n == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= n
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def average(value: Tensor) -> Tensor:
    """The mean of a scalar over the processes, without gradient."""
    if processes() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / processes()


class _Sum(torch.autograd.Function):
    """The sum over the processes; so is its gradient."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:  # type: ignore[override]
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _Sum.apply(gradient)


def _normalise(norm: nn.modules.batchnorm._BatchNorm, maps: Tensor) -> Tensor:
    """Batch norm with the statistics of all processes' maps [N, C, ...]; running averages are updated as torch does."""
    given, maps = maps.dtype, maps.float()  # under autocast, sums in half precision would be worth three digits
    dims = [0, *range(2, maps.dim())]
    shape = [1, -1] + [1] * (maps.dim() - 2)
    n = maps.numel() // maps.shape[1] * processes()
    mean = _Sum.apply(maps.sum(dims)) / n
    centred = maps - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(dims)) / n
    if norm.track_running_stats:
        with torch.no_grad():
            assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
            norm.running_mean.lerp_(mean.detach(), norm.momentum)
            norm.running_var.lerp_(variance.detach() * n / (n - 1), norm.momentum)
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
    normalised = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.weight is not None:
        normalised = normalised * norm.weight.view(shape) + norm.bias.view(shape)
    return normalised.to(given)


class BatchNorm1d(nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d`, with the statistics of all processes in training."""

    def forward(self, input: Tensor) -> Tensor:
        """float [N, C] -> the same, normalised."""
        return _normalise(self, input) if self.training and processes() > 1 else super().forward(input)


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, with the statistics of all processes in training."""

    def forward(self, input: Tensor) -> Tensor:
        """float [N, C, H, W] -> the same, normalised."""
        return _normalise(self, input) if self.training and processes() > 1 else super().forward(input)

"""Batch normalisation at evaluation time, in three modes; the paper uses `calibrated`.

calibrated  call calibrate_batchnorm: mean and biased variance are averaged over batches of real images, then frozen
            (PAPER, "Feature evaluation" 1; the authors' released feature code).
running     do nothing: the averages that training left in the model are used as they are.
batch       `with batch_statistics(model): extract(...)`: every batch is normalised by its own statistics, so features
            depend on which images share a batch, and therefore on batch_size.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from features.backbone import Backbone
from features.device import moved
from features.images import Images, Progress, ValueRange, batches, count
from features.taps import tapped


@dataclass
class BatchStatistics:
    """What a batch norm layer has seen: sums of the batches' means and biased variances.

    The sums are float64 [C], on the device where the layer runs, or on the CPU if that device has no float64.
    """

    batches: int
    mean_sum: Tensor
    variance_sum: Tensor


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[dict[nn.Module, BatchStatistics]]:
    """Within the block, normalise in each batch norm layer by the statistics of the current batch, in every mode.

    Yields a dictionary layer -> BatchStatistics that fills as the model runs. It covers BatchNorm1d/2d/3d,
    SyncBatchNorm (each process by itself) and their subclasses. The model's own statistics, counters and flags stay as
    they were.

    >>> net = torch.nn.BatchNorm2d(8).eval()
    >>> with features.batch_statistics(net) as seen:
    ...     y = net(torch.randn(16, 8, 4, 4) + 5)
    >>> bool(y.mean().abs() < 1e-5), seen[net].batches
    (True, 1)
    """
    seen: dict[nn.Module, BatchStatistics] = {}
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        layer.forward = _normalise_by_batch(layer, seen)  # type: ignore[method-assign, assignment]
    try:
        yield seen
    finally:
        for layer in layers:
            del layer.forward


def calibrate_batchnorm(
    backbone: Backbone,
    images: Images,
    *,
    batch_size: int = 128,
    device: torch.device | str | None = None,
    given_range: ValueRange | None = None,
    progress: Progress | None = None,
) -> int:
    """Freeze batch norm statistics of real images into the model, in place; return the number of batches used.

    images, given_range: as for extract; 80 batches of 128 are enough. They pass through once. In that pass each layer
    normalises a batch by the batch's own mean and biased variance, and later layers see the outputs normalised in this
    way. The averages over batches (equal weights, summed in float64) become running_mean and running_var, which
    extraction then uses. A last, smaller batch is left out. Layers after the last one that the backbone reads keep
    their statistics.
    device: where to run; the model is moved there and stays there. By default it runs where it is.
    Training flags are kept. A model without batch norm is not changed, and 0 is returned. Raises ValueError for fewer
    than batch_size images.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    >>> features.calibrate_batchnorm(backbone, images, batch_size=10)
    2
    """
    moved(backbone, device)
    if not any(isinstance(module, _BatchNorm) for module in backbone.model.modules()):
        return 0
    total = count(images)
    steps: Iterator = (block for _, block in batches(images, batch_size, given_range) if len(block) == batch_size)
    if progress is not None:
        steps = progress(steps, total=total and total // batch_size, desc="calibrate batch norm", unit="batch")
    used = 0
    nothing = torch.empty(0)
    with (
        batch_statistics(backbone.model) as seen,
        tapped(backbone.model, backbone.layers, lambda name, output: nothing) as forward,
    ):
        for block in steps:
            forward(backbone.prepare(block))
            used += 1
    if used == 0:
        raise ValueError(f"calibration needs at least one batch of {batch_size} images, got fewer images")
    for layer, statistics in seen.items():
        n = statistics.batches
        _freeze(layer, statistics.mean_sum / n, statistics.variance_sum / n, backbone.device)
    return used


def frozen_statistics(backbone: Backbone) -> dict[str, tuple[Tensor, Tensor]]:
    """Return layer -> (mean, variance), on the CPU: what other processes need to have the same calibrated model."""
    return {
        name: (layer.running_mean.cpu(), layer.running_var.cpu())
        for name, layer in backbone.model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
    }


def freeze_statistics(backbone: Backbone, statistics: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Write the statistics of the same model in another process (see frozen_statistics) into this one, in place."""
    layers = dict(backbone.model.named_modules())
    for name, (mean, variance) in statistics.items():
        _freeze(layers[name], mean, variance, backbone.device)


def _freeze(layer: nn.Module, mean: Tensor, variance: Tensor, device: torch.device) -> None:
    """Write the averages into the layer, as float32 if it has no running statistics yet."""
    for name, average in (("running_mean", mean), ("running_var", variance)):
        old = getattr(layer, name)
        if old is None:
            setattr(layer, name, average.float().to(device))
        else:
            old.copy_(average)
    layer.track_running_stats = True  # type: ignore[assignment]


def _normalise_by_batch(layer: _BatchNorm, seen: dict[nn.Module, BatchStatistics]) -> Callable[[Tensor], Tensor]:
    """Return a forward that normalises by batch statistics and adds them to `seen`.

    It calls the layer's own forward in training mode with momentum 1, in which the layer itself writes exactly this
    batch's statistics. So x is not read a second time, and subclasses that do more in forward (an activation, for
    example) still do it.
    """
    # that of a SyncBatchNorm would wait for the other processes of torch.distributed
    own_forward = partial(_BatchNorm.forward, layer) if type(layer) is nn.SyncBatchNorm else layer.forward

    def forward(x: Tensor) -> Tensor:
        mean = torch.zeros(layer.num_features, device=x.device)
        variance = torch.ones(layer.num_features, device=x.device)
        during = {
            "training": True,
            "momentum": 1.0,
            "track_running_stats": True,
            "running_mean": mean,
            "running_var": variance,
            "num_batches_tracked": torch.zeros((), dtype=torch.int64, device=x.device),
        }
        before = {name: getattr(layer, name) for name in during}
        try:
            for name, value in during.items():
                setattr(layer, name, value)
            y = own_forward(x)
        finally:
            for name, value in before.items():
                setattr(layer, name, value)
        values = x.numel() // layer.num_features
        biased = _double(variance) * ((values - 1) / values)  # torch keeps the unbiased estimate
        if layer in seen:
            seen[layer].batches += 1
            seen[layer].mean_sum += _double(mean)
            seen[layer].variance_sum += biased
        else:
            seen[layer] = BatchStatistics(1, _double(mean), biased)
        return y

    return forward


def _double(x: Tensor) -> Tensor:
    """Return x in float64, where it is: a copy to the host would wait for the batch."""
    return (x.cpu() if x.device.type == "mps" else x).double()

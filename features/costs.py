"""What a network's features cost: parameters, multiply-adds, columns, and the measured speed of extraction."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from features.backbone import Backbone, blank_images, feature_width
from features.blocks import device_blocks, host_blocks
from features.images import Progress
from features.pooling import PAPER_GRID, Pool
from features.taps import tapped

BATCH = 128
LONGEST = 4.0  # seconds for a batch at most: slower networks are timed with smaller batches


@dataclass(frozen=True)
class Costs:
    """What features cost.

    parameters: the number in the whole model. multiply_adds: those of convolutions and matrix products for one image,
    as far as the last layer used. features: the number of columns. batch: the number of images in each timed batch.
    seconds: the time that each took.

    >>> costs = features.Costs(parameters=392, multiply_adds=98_304, features=128, batch=64, seconds=(0.5, 0.4, 0.6))
    >>> costs.images_per_second
    128.0
    """

    parameters: int
    multiply_adds: int
    features: int
    batch: int
    seconds: tuple[float, ...]

    @property
    def images_per_second(self) -> float:
        """The speed of the median batch."""
        return self.batch / statistics.median(self.seconds)


def measure_costs(
    backbone: Backbone, *, pool: Pool = PAPER_GRID, repeats: int = 7, progress: Progress | None = None
) -> Costs:
    """Measure costs on the network's device; `repeats` batches of noise are timed, after one batch that is not.

    The time covers what `extract` does: scaling, the pass as far as the last layer, pooling, the copy to the host. A
    batch has 128 images, or a smaller power of two that takes at most about four seconds.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 2, 1), torch.nn.ReLU())
    >>> backbone = features.Backbone.from_model(net)
    >>> costs = features.measure_costs(backbone, repeats=1)
    >>> costs.parameters, costs.multiply_adds, costs.features
    (392, 98304, 128)
    """
    multiply_adds = _multiply_adds(backbone)
    columns = feature_width(backbone, pool=pool)
    *_, one = _batch_seconds(backbone, pool, 1, 2)
    batch = BATCH
    while batch > 1 and batch * one > LONGEST:
        batch //= 2
    steps = _batch_seconds(backbone, pool, batch, repeats + 1)
    if progress is not None:
        steps = progress(steps, total=repeats + 1, desc="costs", unit="batch")
    _, *seconds = steps
    parameters = sum(parameter.numel() for parameter in backbone.model.parameters())
    return Costs(parameters, multiply_adds, columns, batch, tuple(seconds))


def _multiply_adds(backbone: Backbone) -> int:
    """Count them in a pass of one image.

    Where a weight that wants gradients is the input of a module (of a parametrisation), torch's counter asks for its
    gradient's history, of which inference has none. So no weight wants gradients meanwhile.
    """
    wanting = [
        parameter
        for parameter in backbone.model.parameters()
        if parameter.requires_grad and not parameter.is_inference()
    ]
    counter = FlopCounterMode(display=False)
    try:
        for parameter in wanting:
            parameter.requires_grad_(False)
        with counter, tapped(backbone.model, backbone.layers, backbone.maps) as forward:
            forward(backbone.prepare(blank_images(backbone, 1)))
    finally:
        for parameter in wanting:
            parameter.requires_grad_()
    return counter.get_total_flops() // 2


def _batch_seconds(backbone: Backbone, pool: Pool, batch: int, count: int) -> Iterator[float]:
    """Yield the seconds that each of `count` batches of the same noise takes."""
    channels, height, width = backbone.image_shape
    noise = np.random.default_rng(0).integers(0, 256, (batch, height, width, channels), dtype=np.uint8)
    last = time.perf_counter()
    computed = device_blocks(backbone, ((row * batch, noise) for row in range(count)), pool)
    for _ in host_blocks(computed, torch.float32, backbone.device):
        now = time.perf_counter()
        yield now - last
        last = time.perf_counter()

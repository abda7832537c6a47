"""What a network's features cost: parameters, multiply-adds, columns, and the speed of extraction as it is done."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from features.backbone import Backbone, blank_images, feature_width
from features.extract import feature_blocks
from features.images import Progress
from features.pooling import PAPER_GRID, Pool
from features.taps import tapped

BATCH = 128
LONGEST = 4.0  # seconds a batch: slower networks are timed in smaller ones


@dataclass(frozen=True)
class Costs:
    """parameters: of the whole model. multiply_adds: of convolutions and matrix products as far as the last layer used,
    for one image. features: columns. batch: images of each timed batch. seconds: of each."""

    parameters: int
    multiply_adds: int
    features: int
    batch: int
    seconds: tuple[float, ...]

    @property
    def images_per_second(self) -> float:
        """By the median batch."""
        return self.batch / statistics.median(self.seconds)


def measure_costs(
    backbone: Backbone, *, pool: Pool = PAPER_GRID, repeats: int = 7, progress: Progress | None = None
) -> Costs:
    """Costs on the device where the network lies; `repeats` batches of noise are timed after one that is not.

    Time is that of `extract`: scaling, the pass as far as the last layer, pooling, the copy to the host. Batches are of
    128 images, or so many fewer (a power of two) that one takes about four seconds.
    """
    with FlopCounterMode(display=False) as counter, tapped(backbone.model, backbone.layers, backbone.maps) as forward:
        forward(backbone.prepare(blank_images(backbone, 1)))
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
    return Costs(parameters, counter.get_total_flops() // 2, columns, batch, tuple(seconds))


def _batch_seconds(backbone: Backbone, pool: Pool, batch: int, count: int) -> Iterator[float]:
    """Seconds of each of so many batches of the same noise."""
    channels, height, width = backbone.image_shape
    noise = np.random.default_rng(0).integers(0, 256, (batch, height, width, channels), dtype=np.uint8)
    last = time.perf_counter()
    for _ in feature_blocks(backbone, (noise for _ in range(count)), pool, batch):
        now = time.perf_counter()
        yield now - last
        last = time.perf_counter()

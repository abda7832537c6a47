"""Features of labelled images, stored below RUNS_ROOT/features: extracted once, verified, resumed after a stop.

As in the paper (section 5.1 and the authors' feature code), batch norm is calibrated on training images, and every
layer is max-pooled to 4x4.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

import features
from experiments.measure.labelled_images import BATCH
from experiments.run.context import Run


def extract_stored(
    backbone: features.Backbone,
    images: Sequence[np.ndarray],
    keys: Sequence[Mapping[str, Any]],
    calibration: Callable[[], np.ndarray],
    run: Run,
    *,
    pool: Callable,
) -> list[np.ndarray]:
    """Extract features of each of `images` (uint8 [N, H, W, C]) under its key: float32 [N, D], memory maps.

    All keys must have the same mode of batch norm. `calibration` returns the images that calibrate it; it is called
    only if features are missing.
    """
    width, mode = features.feature_width(backbone, pool=pool), keys[0]["batchnorm"]["mode"]
    stores = [
        features.FeatureStore(run.runs_root / "features", key, rows=len(part), width=width, progress=run.progress)
        for part, key in zip(images, keys, strict=True)
    ]
    for store in stores:
        if store.rejected:
            run.say(f"{store.rejected} damaged chunks of stored features are computed again ({store.folder})")
    how: dict[str, Any] = {"batch_size": BATCH, "device": run.device, "progress": run.progress}
    if mode == "calibrated" and not all(store.complete for store in stores):
        features.calibrate_batchnorm(backbone, calibration(), **how)
    with features.batch_statistics(backbone.model) if mode == "batch" else nullcontext():
        return [
            features.extract(backbone, part, pool=pool, out=store, **how)
            for part, store in zip(images, stores, strict=True)
        ]

"""Features of labelled images: stored below RUNS_ROOT/features, or kept on the GPU where the classifier runs.

Stored features are extracted once, verified, and resumed after a stop. As in the paper (section 5.1 and the authors'
feature code), batch norm is calibrated on training images, and every layer is max-pooled to 4x4.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import features
from experiments.measure.labelled_images import BATCH
from experiments.measure.protocols import STORES
from experiments.run.context import Run
from features.errors import blamed

SHARE = 0.7  # of a GPU's free memory that features and classifier may take
SOLVER_BYTES = 2**30  # what the solver takes beside the features, whatever their number of columns,
SOLVER_COLUMN_BYTES = 40_000  # and for each column: a sample of 2,500 rows in float32, four times over


@dataclass(frozen=True)
class Extraction:
    """The features of parts of a labelled set, before they are extracted.

    images: of each part, uint8 [N, H, W, C]. keys: the key of each part's features; all have one mode of batch norm.
    calibration: returns the images that calibrate batch norm; it is called only if features are missing.
    mirrored: as in features.extract. dtype: the type in which features are kept, one of STORES.
    """

    backbone: features.Backbone
    pool: Callable
    images: Sequence[np.ndarray]
    keys: Sequence[Mapping[str, Any]]
    calibration: Callable[[], np.ndarray]
    mirrored: bool = False
    dtype: str = STORES[0]

    def stored(self, run: Run) -> list[np.ndarray]:
        """Return memory maps [N, D] of stored features, after what is missing has been extracted."""
        root, width = run.runs_root / "features", self._width
        stores = [
            features.FeatureStore(root, key, rows=len(part), width=width, dtype=self.dtype, progress=run.progress)
            for part, key in zip(self.images, self.keys, strict=True)
        ]
        for store in stores:
            if store.rejected:
                run.say(f"{store.rejected} damaged chunks of stored features are computed again ({store.folder})")
        if complete := all(store.complete for store in stores):
            run.say(f"features were extracted before, into {root}")
        return self._extract(stores, run, calibrate=not complete)

    def for_classifier(self, run: Run) -> list[np.ndarray] | list[Tensor]:
        """Return tensors [N, D] on the run's GPU if features and classifier fit there together, else as `stored`."""
        row_bytes = self._width * np.dtype(self.dtype).itemsize
        needed = sum(map(len, self.images)) * row_bytes + self._width * SOLVER_COLUMN_BYTES + SOLVER_BYTES
        if needed > SHARE * free_bytes(run.device):
            return self.stored(run)
        run.say(f"features stay on {run.device}: {needed / 1e9:.1f} GB with the classifier; none are stored")
        how = {"dtype": getattr(torch, self.dtype), "device": run.device}
        return self._extract([torch.empty(len(part), self._width, **how) for part in self.images], run)

    @property
    def _width(self) -> int:
        return features.feature_width(self.backbone, pool=self.pool)

    def _extract(self, outs: Sequence[Any], run: Run, *, calibrate: bool = True) -> list[Any]:
        backbone, mode = self.backbone, self.keys[0]["batchnorm"]["mode"]
        how: dict[str, Any] = {"batch_size": BATCH, "device": run.device, "progress": run.progress}
        if mode == "calibrated" and calibrate:
            images = self.calibration()
            with blamed("the network"):
                features.calibrate_batchnorm(backbone, images, **how)
        how |= {"pool": self.pool, "mirrored": self.mirrored}
        with blamed("the network"), features.batch_statistics(backbone.model) if mode == "batch" else nullcontext():
            return [
                features.extract(backbone, part, out=out, **how) for part, out in zip(self.images, outs, strict=True)
            ]


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU; 0 for other devices, whose features are stored."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0

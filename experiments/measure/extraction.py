"""Features of labelled images: stored below RUNS_ROOT/features, or kept on the GPU where the classifier runs.

Stored features are extracted once, verified, and resumed after a stop. Under torchrun each process extracts its share
of the images: into the one store, or onto its own GPU. As in the paper (section 5.1 and the authors' feature code),
batch norm is calibrated on training images, and every layer is max-pooled to 4x4.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import features
from experiments.measure.labelled_images import BATCH
from experiments.measure.protocols import STORES
from experiments.run.context import Run
from experiments.run.errors import UserError
from experiments.run.torchrun import broadcast, check_same, everyones, is_first, processes, rank, share
from features.batchnorm import freeze_statistics, frozen_statistics
from features.errors import blamed

CHUNK = 1024  # rows of a chunk of stored features
SHARE = 0.7  # of a GPU's free memory that features and classifier may take
SOLVER_BYTES = 2**30  # what the solver takes beside the features, whatever their number of columns,
SOLVER_COLUMN_BYTES = 40_000  # and for each column: a sample of 2,500 rows in float32, four times over,
SOLVER_SCORE_BYTES = 40  # and for each row and class: scores and what is computed from them


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
        """Return memory maps [N, D] of stored features, after what is missing has been extracted.

        Under torchrun each process verifies and extracts its share of the chunks; then all can read all rows.
        """
        root = run.runs_root / "features"
        how: dict[str, Any] = {"width": self._width, "chunk_rows": CHUNK, "dtype": self.dtype}
        check_same(self.keys, "networks or images")
        stores = [
            features.FeatureStore(root, key, rows=len(part), part=(rank(), processes()), progress=run.progress, **how)
            for part, key in zip(self.images, self.keys, strict=True)
        ]
        opened = everyones([(store.rejected, store.complete) for store in stores])  # the first has made the files
        for number, store in enumerate(stores):
            if rejected := sum(found[number][0] for found in opened):
                run.say(f"{rejected} damaged chunks of stored features are computed again ({store.folder})")
        if complete := all(held for found in opened for _, held in found):
            run.say(f"features were extracted before, into {root}")
        self._extract(stores, run, calibrate=not complete)
        for store in stores:
            store.merge([checksum for part in everyones(store.checksums) for checksum in part])
        return [store.array() for store in stores]

    def for_classifier(self, run: Run, classes: int) -> list[np.ndarray] | list[Tensor]:
        """Return this process's rows (see `rows_of`) of the features of each part.

        They are tensors [N, D] on the run's GPU if features and classifier fit there together, in each process, else
        memory maps of `stored` features.
        """
        check_enough(len(self.images[0]))
        shares = [rows_of(len(part)) for part in self.images]
        rows = sum(part.stop - part.start for part in shares)
        row_bytes = self._width * np.dtype(self.dtype).itemsize
        needed = rows * (row_bytes + classes * SOLVER_SCORE_BYTES) + self._width * SOLVER_COLUMN_BYTES + SOLVER_BYTES
        if not all(everyones(needed <= SHARE * free_bytes(run.device))):
            return [X[part] for X, part in zip(self.stored(run), shares, strict=True)]
        check_same(self.keys, "networks or images")
        run.say(f"features stay on {run.device}: {needed / 1e9:.1f} GB with the classifier; none are stored")
        own = replace(self, images=[images[part] for images, part in zip(self.images, shares, strict=True)])
        how = {"dtype": getattr(torch, self.dtype), "device": run.device}
        return own._extract([torch.empty(len(part), self._width, **how) for part in own.images], run)

    @property
    def _width(self) -> int:
        return features.feature_width(self.backbone, pool=self.pool)

    def _extract(self, outs: Sequence[Any], run: Run, *, calibrate: bool = True) -> list[Any]:
        backbone, mode = self.backbone, self.keys[0]["batchnorm"]["mode"]
        how: dict[str, Any] = {"batch_size": BATCH, "device": run.device, "progress": run.progress}
        if mode == "calibrated" and calibrate:
            if is_first():
                images = self.calibration()
                with blamed("the network"):
                    features.calibrate_batchnorm(backbone, images, **how)
            if processes() > 1:
                freeze_statistics(backbone, broadcast(frozen_statistics(backbone) if is_first() else None))
        how |= {"pool": self.pool, "mirrored": self.mirrored}
        with blamed("the network"), features.batch_statistics(backbone.model) if mode == "batch" else nullcontext():
            return [
                features.extract(backbone, part, out=out, **how) if len(part) else out
                for part, out in zip(self.images, outs, strict=True)
            ]


def rows_of(n: int) -> slice:
    """Return this process's rows of n: whole chunks, or whole batches if there are fewer chunks than processes.

    So the network sees the same batches as in a single process.
    """
    return share(n, CHUNK if n >= CHUNK * processes() else BATCH)


def check_enough(n: int) -> None:
    """Raise UserError if a process would have none of n training images."""
    if processes() > (most := -(-n // BATCH)):
        raise UserError(f"{n:,} training images are enough for {most} processes; start --nproc-per-node {most} at most")


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU; 0 for other devices, whose features are stored."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0

"""Labelled images for a measurement: both parts of a set, seeded subsets, and the images that calibrate batch norm."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import evaluation
from experiments.data.load import load
from experiments.run.context import Run
from experiments.run.errors import UserError

BATCH = 128  # images a batch, in calibration as in extraction (the authors' code)


@dataclass(frozen=True)
class Labelled:
    """Images uint8 [N, H, W, C], labels int64 [N] and a digest of exactly these."""

    images: np.ndarray
    labels: np.ndarray
    digest: str

    def rows(self, rows: NDArray[np.int64]) -> "Labelled":
        """Those rows, in this order."""
        digest = hashlib.sha256(f"{self.digest} {rows_digest(rows)}".encode()).hexdigest()
        return Labelled(np.ascontiguousarray(self.images[rows]), self.labels[rows], digest)

    def subset(self, size: int, seed: int) -> "Labelled":
        """A seeded, stratified part, in its order. UserError where it is not smaller than the whole."""
        return self.rows(subset_rows(self.labels, size, seed))


def subset_rows(labels: np.ndarray, size: int, seed: int) -> NDArray[np.int64]:
    """int64 [size]: the rows of a seeded, stratified subset, ascending. UserError where it is not smaller."""
    if size >= len(labels):
        raise UserError(f"a subset must be smaller than the set of {len(labels)}, got {size}")
    return evaluation.stratified_holdout(labels, size, seed=seed)[1]


def load_labelled(name: str, run: Run) -> Labelled:
    """The packed set of that name. UserError for one without labels, or that cannot be had."""
    packed = load(name, run)
    if packed.labels is None:
        raise UserError(f"{name} has no labels")
    return Labelled(packed.images, packed.labels, packed.digest)


def rows_digest(rows: np.ndarray) -> str:
    """SHA-256 of indices as int64."""
    return hashlib.sha256(np.ascontiguousarray(rows, np.int64).tobytes()).hexdigest()


def calibration_rows(fit: NDArray[np.int64], batches: int, seed: int) -> NDArray[np.int64]:
    """The rows that calibrate batch norm: whole batches drawn from those that are fitted, ascending."""
    shown = np.random.default_rng(seed).permutation(fit)[: BATCH * batches]
    return np.sort(shown[: len(shown) // BATCH * BATCH])


def batchnorm_key(mode: str, digest: str, shown: NDArray[np.int64]) -> dict[str, Any]:
    """What the key of stored features says of batch norm: its mode, and all that its statistics come from."""
    if mode == "calibrated":
        return {"mode": mode, "data": digest, "rows": rows_digest(shown), "batch_size": BATCH}
    return {"mode": mode, "batch_size": BATCH} if mode == "batch" else {"mode": mode}

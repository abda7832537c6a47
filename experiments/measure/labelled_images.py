"""Labelled images for a measurement: the parts of a set, seeded subsets, and the images that calibrate batch norm."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import evaluation
from experiments.data.leakage import find_audit
from experiments.data.load import load
from experiments.data.names import is_name
from experiments.measure.protocols import PROTOCOLS, SEEN, WITHOUT_LEAKED, WITHOUT_TRAIN, Protocol
from experiments.networks.contender import BATCH, NOTHING, Contender
from experiments.run.context import Run
from experiments.run.errors import UserError


@dataclass(frozen=True)
class Labelled:
    """Images uint8 [N, H, W, C], labels int64 [N], and a digest of exactly these images and labels.

    removed: the number of images that this part lacks, near-duplicates of images of the other part.
    """

    images: np.ndarray
    labels: np.ndarray
    digest: str
    removed: int = 0

    def rows(self, rows: NDArray[np.int64]) -> "Labelled":
        """Return these rows, in this order."""
        digest = hashlib.sha256(f"{self.digest} {rows_digest(rows)}".encode()).hexdigest()
        return Labelled(np.ascontiguousarray(self.images[rows]), self.labels[rows], digest)

    def subset(self, size: int, seed: int) -> "Labelled":
        """Return a seeded, stratified subset; see `subset_rows`."""
        return self.rows(subset_rows(self.labels, size, seed))


def subset_rows(labels: np.ndarray, size: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows of a seeded, stratified subset: int64 [size], ascending. UserError unless it is smaller."""
    check_subset(size, 1, len(labels))
    return evaluation.stratified_holdout(labels, size, seed=seed)[1]


def check_subset(size: int, least: int, images: int) -> None:
    """Raise UserError unless a subset of `size` images has at least `least`, and fewer than its set of `images`."""
    if size < least:
        raise UserError(f"subset must be at least {least} images, got {size}")
    if size >= images:
        raise UserError(f"a subset must be smaller than the set of {images}, got {size}")


def load_labelled(name: str, run: Run) -> Labelled:
    """Load the packed set of that name. Raises UserError if it has no labels or cannot be loaded."""
    packed = load(name, run)
    if packed.labels is None:
        raise UserError(f"{name} has no labels")
    removed = packed.meta.get("removed")
    return Labelled(packed.images, packed.labels, packed.digest, removed if type(removed) is int else 0)


def choice_rows(labels: np.ndarray, rules: Protocol, held_out: int, seed: int) -> tuple[NDArray[np.int64], ...]:
    """Draw the rows that choose C, all or `rules.choice`, and those of them that are held out: int64, ascending."""
    rows = np.arange(len(labels))
    if rules.choice:
        rows = subset_rows(labels, rules.choice, seed)
    if not held_out:
        return rows, np.empty(0, np.int64)
    return rows, rows[evaluation.stratified_holdout(labels[rows], held_out, seed=seed)[1]]


def of_contender(protocol: str, contender: Contender, run: Run) -> str:
    """Return the protocol by which a network is measured, by what it says it was trained on; `run.say` tells why.

    protocol: as asked for. If it has SEEN, a network that never saw the photographs gets the protocol without; without
    SEEN it is what the user says of a network of which nothing is known. UserError if the network says otherwise.
    """
    rules, clean = PROTOCOLS.get(protocol), protocol.removesuffix(SEEN)
    if rules is None or not rules.known_in:
        return protocol
    name = contender.trained_set
    if contender.trained_on == NOTHING or (name and is_name(name) and not re.fullmatch(rules.known_in, name)):
        return clean
    if name and re.fullmatch(rules.known_in, name):
        if protocol == clean:
            raise UserError(f"{contender.name} was trained on {name}: choose --protocol {clean}{SEEN}")
        run.say(f"note: trained without labels on {name}, which holds photographs of this table: {protocol}")
    elif protocol != clean:
        run.say(
            f"note: what it was trained on is not known, so its row is {protocol}; if it never saw photographs of "
            f"ImageNet, add --protocol {clean}; if it saw their labels, it fits neither"
        )
    return protocol


def leaked_rows(contender: Contender, train: Labelled, test: Labelled, run: Run) -> dict[str, np.ndarray]:
    """Return protocol -> test images that it leaves out. A protocol without an audit of its training set is missing."""
    leaked = {}
    for protocol, against in ((WITHOUT_LEAKED, contender.trained_on), (WITHOUT_TRAIN, train.digest)):
        if against == NOTHING:
            leaked[protocol] = np.empty(0, np.int64)
        elif against is not None and (found := find_audit(run.audits, test.digest, against)):
            if found.leaked.max(initial=-1) >= len(test.images):
                raise UserError(
                    f"the audit of {found.images['name']} names images beyond its end; delete it and make it again"
                )
            leaked[protocol] = found.leaked
    return leaked


def rows_digest(rows: np.ndarray) -> str:
    """Return the SHA-256 (hex) of indices as int64."""
    return hashlib.sha256(np.ascontiguousarray(rows, np.int64).tobytes()).hexdigest()


def calibration_rows(fit: NDArray[np.int64], batches: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows that calibrate batch norm, ascending: whole batches, from the rows that are fitted."""
    shown = np.random.default_rng(seed).permutation(fit)[: BATCH * batches]
    return np.sort(shown[: len(shown) // BATCH * BATCH])


def batchnorm_key(mode: str, digest: str, shown: NDArray[np.int64]) -> dict[str, Any]:
    """Return the part of a features' key about batch norm: its mode, and what its statistics depend on."""
    if mode == "calibrated":
        return {"mode": mode, "data": digest, "rows": rows_digest(shown), "batch_size": BATCH}
    return {"mode": mode, "batch_size": BATCH} if mode == "batch" else {"mode": mode}

"""`tiny-imagenet-train` and `tiny-imagenet-test`: Tiny-ImageNet as a labelled set of 200 classes, of 32x32 pixels.

Its labels are those of the 100,000 training photographs. A seeded draw makes 50 photographs of each class the test
part; the others are the training part, without near-duplicates of test photographs (`dedup.near_duplicates`). Those
found once are kept as an audit, in RUNS_ROOT/leakage or among the committed ones, and not looked for again.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import dedup
import evaluation
import results
from dedup.confirm import settings
from experiments.data.dataset import Dataset
from experiments.data.leakage import Audit, find_audit, write_audit
from experiments.data.load import load
from experiments.data.packed import PackedSet, pack, set_digest
from experiments.data.sets.tiny_imagenet import named
from experiments.run.context import Run
from experiments.run.errors import UserError

SIDE = 32
WHOLE = f"tiny-imagenet-{SIDE}"
TESTED = 50  # test photographs of each class
SEED = 0


@dataclass(frozen=True)
class TinyImageNetPart(Dataset):
    """The training or the test photographs ("train" or "test")."""

    split: str
    side = SIDE

    def build(self, folder: Path, run: Run) -> PackedSet:
        whole = load(WHOLE, run)
        train, test = split_rows(whole)
        details = {"class_names": whole.meta.get("class_names"), "of": whole.digest, "seed": SEED}
        if self.split == "train":
            copies = _copies(whole, train, test, run)
            run.say(f"{len(copies):,} training photographs are left out: near-duplicates of test photographs")
            train = np.delete(train, copies)
            details |= {"removed": len(copies)}
        rows = train if self.split == "train" else test
        assert whole.labels is not None
        return pack(
            folder,
            [whole.images[rows]],
            shape=(len(rows), SIDE, SIDE, 3),
            source=whole.meta["source"],
            transform=whole.meta["transform"],
            labels=whole.labels[rows],
            details=details,
        )

    def source_at(self, data_root: Path) -> str | None:
        return named(str(SIDE)).source_at(data_root)


def split_rows(whole: PackedSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the test photographs, TESTED of each class: (rows of the others, their rows), ascending.

    Raises UserError if the set has too few photographs of a class.
    """
    labels = np.empty(0, np.int64) if whole.labels is None else whole.labels
    counts = np.unique(labels, return_counts=True)[1]
    if min(counts, default=0) <= TESTED or len(set(counts)) > 1:
        raise UserError(
            f"{whole.name} must hold equally many photographs of each class, more than {TESTED}: "
            "put the whole official files in DATA_ROOT"
        )
    return evaluation.stratified_holdout(labels, TESTED * len(counts), seed=SEED)


def _copies(whole: PackedSet, train: NDArray[np.int64], test: NDArray[np.int64], run: Run) -> NDArray[np.int64]:
    """Return the places within `train` of near-duplicates of test photographs; the pass runs if there is no audit."""
    sides = {"tiny-imagenet-test": whole.images[test], "tiny-imagenet-rest": whole.images[train]}
    images, against = (
        {"name": name, "digest": set_digest(list(part.shape), hashlib.sha256(part.data).hexdigest(), None)}
        for name, part in sides.items()
    )
    found = find_audit(run.audits, images["digest"], against["digest"])
    if found is None:
        pairs = dedup.near_duplicates(*sides.values(), progress=run.progress)
        found = Audit(images, against, pairs, settings(), dict(results.versions()))
        write_audit(run.audits[1], found)
    copies = np.unique(found.pairs[:, 1])
    if copies.max(initial=-1) >= len(train):
        file = f"{images['name']}-in-{against['name']}.json"
        raise UserError(f"the audit {file} names images beyond the end; delete it and make it again")
    return copies

"""Leakage audits: which images of an evaluation set occur in a set that a network was trained on.

An audit holds what the calibrated pass (`dedup.near_duplicates`) found between two sets, and the digests of both. The
committed audits in results/leakage say which test images to leave out, even to a person who does not have the
photographs. A user's own audits are in RUNS_ROOT/leakage; `dcgan-eval dedup SET --against OTHER` writes them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dedup.confirm import settings
from experiments.data.packed import PackedSet
from experiments.run.files import write_bytes
from experiments.run.reading.documents import SEAL, read_json, seal_of
from results.lines import Rule, whole

FORMAT = "dcgan-eval-leakage-1"
INDEX = Rule("be an index", lambda value: 0 <= value < 2**63)


@dataclass(frozen=True)
class Audit:
    """Pairs of near-duplicates between an evaluation set and another."""

    images: dict[str, str]  # name and digest of the evaluation set
    against: dict[str, str]  # name and digest of the other set
    pairs: NDArray[np.int64]  # [M, 2]: (index in the evaluation set, index in the other), sorted
    found_by: dict[str, str | float]  # settings of the pass: `dedup.confirm.settings`
    made_with: dict[str, str | None]  # versions of the software

    @property
    def leaked(self) -> NDArray[np.int64]:
        """Indices of the images of the evaluation set that occur in the other, ascending."""
        return np.unique(self.pairs[:, 0])


@dataclass(frozen=True)
class _Side:
    name: str
    digest: str


@dataclass(frozen=True)
class _Document:
    """The JSON of an audit."""

    format: Literal["dcgan-eval-leakage-1"]
    images: _Side
    against: _Side
    found_by: dict[str, str | float]
    made_with: dict[str, str | None]
    leaked: Annotated[int, whole(0)]
    pairs: list[tuple[Annotated[int, INDEX], Annotated[int, INDEX]]]


def audit(images: PackedSet, against: PackedSet, pairs: NDArray[np.int64], versions: dict[str, str | None]) -> Audit:
    """Make the audit of `pairs` (int64 [M, 2], sorted), which were found between these two sets now."""
    first, second = ({"name": packed.name, "digest": packed.digest} for packed in (images, against))
    return Audit(first, second, pairs, settings(), versions)


def write_audit(folder: Path, found: Audit) -> Path:
    """Write `folder`/<set>-in-<other>.json, whole or not at all; return the file."""
    file = folder / f"{found.images['name']}-in-{found.against['name']}.json"
    folder.mkdir(parents=True, exist_ok=True)
    head: dict[str, Any] = {"format": FORMAT, "images": found.images, "against": found.against}
    head |= {"found_by": found.found_by, "made_with": found.made_with, "leaked": len(found.leaked)}
    text, seal = json.dumps(head, indent=1)[:-2], seal_of(head | {"pairs": found.pairs.tolist()})
    pairs = ",\n".join(f"  [{i}, {j}]" for i, j in found.pairs.tolist())
    write_bytes(file, f'{text},\n "pairs": [\n{pairs}\n ],\n "{SEAL}": "{seal}"\n}}\n'.encode())
    return file


def read_audit(file: Path) -> Audit:
    """Read what `write_audit` wrote. Raises ValueError, with the fix, for any other file."""
    found: _Document = read_json(file, _Document, what="not a leakage audit", fix="delete it and make it again")
    pairs = np.array(found.pairs, np.int64).reshape(-1, 2)
    read = Audit(vars(found.images), vars(found.against), pairs, found.found_by, found.made_with)
    if len(read.leaked) != found.leaked:
        told = f"it announces {found.leaked} leaked images but lists {len(read.leaked)}"
        raise ValueError(f"{file} is not a leakage audit ({told}); delete it and make it again")
    return read


def find_audit(folders: Sequence[Path], images: str, against: str) -> Audit | None:
    """Return the audit of these two sets (given by digest) by the current pass, from the first folder that has one.

    None if no folder has one.
    """
    for folder in folders:
        for file in sorted(folder.glob("*.json")):
            found = read_audit(file)
            sets = found.images["digest"], found.against["digest"]
            if sets == (images, against) and found.found_by == settings():
                return found
    return None

"""The outcome of a pass: which images are kept, the groups that a person judges, and the summary."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

import results
from experiments.deduplication.image_source import Source
from experiments.deduplication.methods import Found
from experiments.deduplication.spec import DedupSpec


@dataclass(frozen=True)
class Group:
    """One image and the images that are the same.

    label: index of the image that is kept or, between two sources, of the image that has matches in the other source.
    others: int64 [m], indices of its matches (between two sources, in the other source), the farthest first.
    distances: float64 [m], the distance of each of `others` from the image.
    turns: how each of `others` is turned against the image; empty where it is not.
    """

    label: int
    others: NDArray[np.int64]
    distances: NDArray[np.float64]
    turns: list[str]


@dataclass(frozen=True)
class Outcome:
    """What the pass `spec` found within `source`, or between it and `against`."""

    spec: DedupSpec
    source: Source
    against: Source | None
    found: Found

    @property
    def other(self) -> Source:
        """The source that the second column of the pairs indexes."""
        return self.against or self.source

    @property
    def sources(self) -> list[Source]:
        """Every source that was read."""
        return [self.source] if self.against is None else [self.source, self.against]

    @cached_property
    def keep(self) -> NDArray[np.bool_]:
        """bool [N]: False if the image is removed for another or, between two sources, occurs in the other source."""
        keep = np.ones(len(self.source.compared), bool)
        keep[self.found.pairs[:, 1 if self.against is None else 0]] = False
        return keep

    @cached_property
    def groups(self) -> list[Group]:
        """The groups, sorted by the distance of their farthest image, the largest first."""
        labels, others = self.found.pairs.T
        starts = np.flatnonzero(np.diff(labels, prepend=-1))
        groups = []
        for rows in np.split(np.arange(len(labels)), starts)[1:]:
            farthest = rows[np.argsort(-self.found.distances[rows], kind="stable")]
            turns = [self.found.turns[i] if self.found.turns else "" for i in farthest.tolist()]
            groups.append(Group(int(labels[rows[0]]), others[farthest], self.found.distances[farthest], turns))
        return sorted(groups, key=lambda group: (-group.distances[0], group.label))

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds. Its digest covers the sources, the pass and the pairs found."""
        pairs = hashlib.sha256(self.found.pairs.astype("<i8").tobytes()).hexdigest()
        inputs = [self.source.digest, self.other.digest, self.spec.values, pairs]
        sets = [{"name": source.name, "digest": source.digest} for source in self.sources]
        return {
            "set": sets[0],
            "against": None if self.against is None else sets[1],
            "pass": self.spec.values,
            "images": len(self.keep),
            "groups": len(self.groups),
            "removed": int((~self.keep).sum()),
            "skipped": sum(len(source.skipped) for source in self.sources),
            "noted": sum(len(source.noted) for source in self.sources),
            "treated": dict(sum((Counter(source.treated) for source in self.sources), Counter[str]())),
            "digest": hashlib.sha256(json.dumps(inputs).encode()).hexdigest(),
            "versions": results.versions(),
        }

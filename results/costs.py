"""What a network's features cost on one machine: one JSON line per measurement, beside the run records.

A figure's cost is the measurement with the same `weights` and `layers`; `weights` is the digest before any calibration,
as in `Record.inputs["weights"]`. Lines are only added. If a network has several lines for one machine, the last one is
the newest.
"""

import os
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from results import records
from results.provenance import machine_paths


@dataclass(frozen=True, kw_only=True)
class CostRecord:
    """One measurement of extraction. It holds JSON values only. Raises ValueError for impossible values."""

    name: str  # as in the method column, without the classifier
    weights: str  # SHA-256 of the state dict
    layers: list[str]  # in the order of the features
    parameters: int  # of the whole network
    multiply_adds: int  # for one image, as far as the last layer
    features: int  # length of one feature vector
    images_per_second: float  # by the median batch
    batch: int  # images in that batch
    hardware: dict[str, Any]
    versions: dict[str, str | None]
    started: str  # UTC, as results.utc_now gives it

    def __post_init__(self) -> None:
        for name, value in records.plain(asdict(self)).items():
            object.__setattr__(self, name, value)
        line = "be one line of text, not empty, without spaces around it"
        records.require(records.is_line(self.name), "name", line, self.name)
        records.require(records.is_line(self.weights), "weights", "be a digest", self.weights)
        named = isinstance(self.layers, list) and self.layers != [] and all(map(records.is_line, self.layers))
        records.require(named, "layers", "be a list of names, at least one", self.layers)
        for name, least in (("parameters", 0), ("multiply_adds", 0), ("features", 1), ("batch", 1)):
            count = getattr(self, name)
            records.require(type(count) is int and count >= least, name, f"be a whole number >= {least}", count)
        fast = records.is_number(self.images_per_second) and self.images_per_second > 0
        records.require(fast, "images_per_second", "be a number > 0", self.images_per_second)
        for name in ("hardware", "versions"):
            records.require(isinstance(getattr(self, name), dict), name, "be a table of names", getattr(self, name))
        timed = records.matches(records.STARTED, self.started)
        records.require(timed, "started", "be a time like 2026-11-22T10:00:00Z", self.started)
        paths = sorted(set(machine_paths(asdict(self))))
        records.require(not paths, "a record", "hold no absolute paths", paths)


def read_costs(path: str | os.PathLike[str]) -> list[CostRecord]:
    """Read all records of a `.jsonl` file, in its order; none if the file does not exist yet.

    Raises ValueError, with the number of the line, for a line that is no such record.
    """
    parse = partial(records.from_json, CostRecord, what="it")
    return [record for _, record in records.read_lines(path, parse, "a record of costs", "measure again")]


def append_cost(path: str | os.PathLike[str], record: CostRecord) -> None:
    """Add one line, as `results.records.append_line` does. Raises ValueError if the file has a broken line."""
    records.append_line(path, records.record_to_json(record), lambda: read_costs(path))

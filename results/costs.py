"""What a network's features cost on one machine: one JSON line a measurement, beside the run records.

A figure of a table and its cost meet in (`weights`, `layers`): the digest of the weights before any calibration is
`Record.inputs["weights"]`. Lines are only added; of several for one network and machine the last is the newest.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from results.provenance import machine_paths
from results.records import append_line, check_keys

_STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True, kw_only=True)
class CostRecord:
    """One measurement of extraction. JSON values only; ValueError where a field cannot be what it says."""

    name: str  # as in the method column, without the classifier
    weights: str  # SHA-256 of the state dict
    layers: list[str]  # in the order of the features
    parameters: int  # of the whole network
    multiply_adds: int  # for one image, as far as the last layer
    features: int  # length of one feature vector
    images_per_second: float  # by the median batch
    batch: int  # images in it
    hardware: dict[str, Any]
    versions: dict[str, str | None]
    started: str  # UTC, as results.utc_now gives it

    def __post_init__(self) -> None:
        try:
            values = json.loads(json.dumps(asdict(self), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"a record of costs must hold plain, finite JSON values: {error}") from error
        for key, value in values.items():
            object.__setattr__(self, key, value)
        for key, (holds, must) in _RULES.items():
            if not holds(values[key]):
                raise ValueError(f"{key} must be {must}, got {values[key]!r}")
        if paths := sorted(set(machine_paths(values))):
            raise ValueError(f"a record must hold no absolute paths, got {', '.join(paths)}")


def _text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and value == value.strip() != ""


def _names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value))


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _size(value: Any) -> bool:
    return _count(value) and value > 0


def _speed(value: Any) -> bool:
    return _size(value) or (isinstance(value, float) and value > 0)


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def _time(value: Any) -> bool:
    return isinstance(value, str) and _STARTED.fullmatch(value) is not None


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_text, "one line of text, not empty, without spaces around it"),
    "weights": (_text, "a digest"),
    "layers": (_names, "a list of names, at least one"),
    "parameters": (_count, "a whole number >= 0"),
    "multiply_adds": (_count, "a whole number >= 0"),
    "features": (_size, "a whole number >= 1"),
    "images_per_second": (_speed, "a number > 0"),
    "batch": (_size, "a whole number >= 1"),
    "hardware": (_table, "a table of names"),
    "versions": (_table, "a table of names"),
    "started": (_time, "a time like 2026-11-22T10:00:00Z"),
}


def read_costs(path: str | os.PathLike[str]) -> list[CostRecord]:
    """All records of a `.jsonl` file, in its order; none where it does not exist yet. ValueError names a bad line."""
    path, found = Path(path), []
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.exists() else [], start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError(f"it must be a JSON object, got {type(values).__name__}")
            known = [item.name for item in fields(CostRecord)]
            check_keys(values, known, known, "it")
            found.append(CostRecord(**values))
        except ValueError as error:
            raise ValueError(
                f"{path}:{number} is not a record of costs ({error}); restore the line from version control, or "
                "delete it and measure again"
            ) from error
    return found


def append_cost(path: str | os.PathLike[str], record: CostRecord) -> None:
    """Adds one line, safely (`results.records.append_line`). ValueError where the file has a broken line."""
    append_line(path, json.dumps(asdict(record), allow_nan=False), lambda: read_costs(path))

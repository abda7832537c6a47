"""What a network's features cost on one machine: one JSON line per measurement, beside the run records.

A figure's cost is the measurement with the same `weights` and `layers`; `weights` is the digest before any calibration,
as in `Record.inputs["weights"]`. Lines are only added. If a network has several lines for one machine, the last one is
the newest.
"""

import os
from dataclasses import dataclass
from typing import Annotated, Any

from results import lines

_NAMES = lines.Rule(
    "be a list of names, at least one",
    lambda value: isinstance(value, list) and value != [] and all(map(lines.LINE.holds, value)),
)
_SPEED = lines.Rule("be a number > 0", lambda value: type(value) in (int, float) and value > 0)


@dataclass(frozen=True, kw_only=True)
class CostRecord:
    """One measurement of extraction. It holds JSON values only. Raises ValueError for impossible values.

    >>> cost = results.CostRecord(
    ...     name="net", weights="ab12", layers=["conv1"], parameters=896, multiply_adds=884_736, features=512,
    ...     images_per_second=4000.0, batch=128, hardware={"cores": 2}, versions={}, started=results.utc_now())
    >>> cost.features
    512
    """

    name: Annotated[str, lines.LINE]  # as in the method column, without the classifier
    weights: Annotated[str, lines.LINE]  # SHA-256 of the state dict
    layers: Annotated[list[str], _NAMES]  # in the order of the features
    parameters: Annotated[int, lines.whole(0)]  # of the whole network
    multiply_adds: Annotated[int, lines.whole(0)]  # for one image, as far as the last layer
    features: Annotated[int, lines.whole(1)]  # length of one feature vector
    images_per_second: Annotated[float, _SPEED]  # by the median batch
    batch: Annotated[int, lines.whole(1)]  # images in that batch
    hardware: Annotated[dict[str, Any], lines.TABLE]
    versions: Annotated[dict[str, str | None], lines.TABLE]
    started: Annotated[str, lines.TIME]  # UTC, as results.utc_now gives it

    def __post_init__(self) -> None:
        lines.check_record(self)


def read_costs(path: str | os.PathLike[str]) -> list[CostRecord]:
    """Read all records of a `.jsonl` file, in its order; none if the file does not exist yet.

    Raises ValueError, with the number of the line, for a line that is no such record.

    >>> results.read_costs("costs.jsonl")  # no file yet
    []
    """
    return [record for _, record in lines.read_lines(path, CostRecord, "a record of costs")]


def append_cost(path: str | os.PathLike[str], record: CostRecord) -> None:
    """Add one line, as `append_line` does. Raises ValueError if the file has a broken line.

    >>> cost = results.CostRecord(
    ...     name="net", weights="ab12", layers=["conv1"], parameters=896, multiply_adds=884_736, features=512,
    ...     images_per_second=4000.0, batch=128, hardware={"cores": 2}, versions={}, started=results.utc_now())
    >>> results.append_cost("costs.jsonl", cost)
    >>> results.read_costs("costs.jsonl") == [cost]
    True
    """
    lines.append_line(path, record, lambda: read_costs(path))

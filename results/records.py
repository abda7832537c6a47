"""Run records: each measured figure is one JSON line, with everything needed to judge and repeat it.

A file `results/runs/<table>.jsonl` holds all runs of a table, old and new. The table itself decides which of them it
shows (`results.tables`). Lines are only added: a changed rule makes a new record.
"""

import os
from dataclasses import dataclass, field
from typing import Annotated, Any

from results import lines, outcomes

RUN_ID = lines.matching(r"\d{8}-[0-9a-f]{8}", "look like 20261122-1a2b3c4d")
METRICS = ("accuracy_percent", "error_percent", "top5_accuracy_percent")
METRIC = lines.Rule(f"be one of {', '.join(METRICS)}", lambda value: value in METRICS)
_PERCENT = lines.Rule("lie in 0..100 (percent)", lambda value: type(value) in (int, float) and 0 <= value <= 100)
_NUMBER = lines.Rule("be a number", lambda value: type(value) in (int, float))
_BAR = lines.Rule("be a number >= 0", lambda value: type(value) in (int, float) and value >= 0)
_BAR_KIND = lines.Rule("be one of sd, ci95, 1.96sd, or empty", lambda value: value in ("sd", "ci95", "1.96sd", ""))
_SEED = lines.Rule("be a whole number or None", lambda value: value is None or type(value) is int)
_WORDS = lines.Rule(
    "be a list of words", lambda value: isinstance(value, list) and all(isinstance(word, str) for word in value)
)
_WHOLE = lines.whole(0)
# what tables and pictures show of the two tables below, where a record has it
_VARIANT = {"kind": lines.LINE, "variant": lines.LINE, "features": lines.whole(1), "C": _NUMBER}
_VARIANT |= dict.fromkeys(("accuracy_percent", "ci95_low", "ci95_high"), _PERCENT)
_POINT = {"references": _WHOLE, "error_percent": _PERCENT}
_SOLVER = {"C": _NUMBER, "k": _NUMBER, "variants": lines.rows(_VARIANT), "curve": lines.rows(_POINT)}
_SELECTION = {"validation_error_percent": _PERCENT, "holdout": _WHOLE}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured figure. It holds JSON values only: tuples become lists, other types are refused.

    Raises ValueError for a field with an impossible value, and for an absolute path in any string.

    >>> told = {"run_id": "20261122-1a2b3c4d", "table": "cifar10", "method": "net + L2-SVM", "protocol": "cifar10/full"}
    >>> told |= {"metric": "accuracy_percent", "value": 79.41, "n_runs": 1, "n_test": 10_000}
    >>> told |= dict.fromkeys(("spec", "inputs", "versions", "hardware", "seconds"), {})
    >>> record = results.Record(**told, command=["dcgan-eval", "eval", "net.py:make"], started=results.utc_now())
    >>> record.value, record.n_test
    (79.41, 10000)
    """

    run_id: Annotated[str, RUN_ID]  # results.run_id(spec, inputs, started)
    table: Annotated[str, lines.LINE]  # the table the run was made for, e.g. cifar10
    method: Annotated[str, lines.LINE]
    protocol: Annotated[str, lines.LINE]  # e.g. cifar10/full; the name of a subset run says that it is one
    metric: Annotated[str, METRIC]
    value: Annotated[float, _PERCENT]  # unrounded
    error_bar: Annotated[float | None, lines.optional(_BAR)] = None  # percentage points
    error_bar_kind: Annotated[str, _BAR_KIND] = ""  # empty if there is no bar
    n_runs: Annotated[int, lines.whole(1)]
    n_test: Annotated[int, lines.whole(1)]
    features: Annotated[int | None, lines.optional(lines.whole(1))] = None  # length of one feature vector
    max_units: Annotated[int | None, lines.optional(lines.whole(1))] = None  # channels of the widest layer used
    command: Annotated[list[str], _WORDS]  # as typed, through results.portable
    spec: Annotated[dict[str, Any], lines.TABLE]  # every option of the run, defaults resolved
    seed: Annotated[int | None, _SEED] = None
    inputs: Annotated[dict[str, str], lines.TABLE]  # digests of data sets and weights
    # selection: the grid with every score, and what was chosen
    selection: Annotated[dict[str, Any], lines.table(_SELECTION)] = field(default_factory=dict)
    # solver: C, duality gap, objective, passes over the data
    solver: Annotated[dict[str, Any], lines.table(_SOLVER)] = field(default_factory=dict)
    # outcomes: what paired tests compare, see `results.outcomes`
    outcomes: Annotated[dict[str, Any], lines.TABLE] = field(default_factory=dict)
    versions: Annotated[dict[str, str | None], lines.TABLE]
    hardware: Annotated[dict[str, Any], lines.TABLE]
    seconds: Annotated[dict[str, float], lines.TABLE]  # stage -> wall-clock seconds
    started: Annotated[str, lines.TIME]  # UTC, as results.utc_now gives it

    def __post_init__(self) -> None:
        lines.check_record(self)
        object.__setattr__(self, "value", float(self.value))
        if self.error_bar is not None:
            object.__setattr__(self, "error_bar", float(self.error_bar))
        if (self.error_bar is None) != (self.error_bar_kind == ""):
            raise ValueError(f"error_bar_kind must be given exactly where error_bar is, got {self.error_bar_kind!r}")


def read_records(path: str | os.PathLike[str]) -> list[Record]:
    """Read all records of a `.jsonl` file, in its order; none if the file does not exist yet.

    Raises ValueError, with file and line, for a line that is no record, whose outcomes contradict its figure, or that
    repeats the run id, method, protocol and metric of an earlier line.

    >>> results.read_records("cifar10.jsonl")  # no file yet
    []
    """
    records: dict[tuple[str, str, str, str], Record] = {}
    for place, record in lines.read_lines(path, Record, "a run record", outcomes.check):
        if records.setdefault(_key(record), record) is not record:
            raise ValueError(f"{place} must not repeat an earlier line, got {', '.join(_key(record))}: delete one")
    return list(records.values())


def append_record(path: str | os.PathLike[str], record: Record) -> None:
    """Add one line to a `.jsonl` file, as `append_line` does.

    Raises ValueError if the file has a broken line, or already has this run's figure for the same method, protocol and
    metric. Raises OSError if the file cannot be written.

    >>> told = {"run_id": "20261122-1a2b3c4d", "table": "cifar10", "method": "net + L2-SVM", "protocol": "cifar10/full"}
    >>> told |= {"metric": "accuracy_percent", "value": 79.41, "n_runs": 1, "n_test": 10_000}
    >>> told |= dict.fromkeys(("spec", "inputs", "versions", "hardware", "seconds"), {})
    >>> record = results.Record(**told, command=["dcgan-eval", "eval", "net.py:make"], started=results.utc_now())
    >>> results.append_record("cifar10.jsonl", record)
    >>> results.read_records("cifar10.jsonl") == [record]
    True
    """

    def check() -> None:
        if _key(record) in map(_key, read_records(path)):
            raise ValueError(
                f"{path} must hold one figure per run, method, protocol and metric, got "
                f"{', '.join(_key(record))} again; delete that line to record the run again"
            )

    lines.append_line(path, record, check)


def _key(record: Record) -> tuple[str, str, str, str]:
    """Return what no two lines of a file share. One run may answer several rows, each of them once."""
    return record.run_id, record.method, record.protocol, record.metric

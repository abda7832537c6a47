"""Run records: one measured figure is one JSON line, with everything needed to judge and repeat it.

A file `results/runs/<table>.jsonl` holds all runs of a table, old and new side by side; which of them a table
shows is the table's business (`results.tables`). Lines are only added: a changed rule makes a new record.
"""

import errno
import fcntl
import json
import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from results.provenance import machine_paths

METRICS = ("accuracy_percent", "error_percent")
ERROR_BAR_KINDS = ("", "sd", "ci95", "1.96sd")
RUN_ID = re.compile(r"\d{8}-[0-9a-f]{8}")
_STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_COUNTS = ("n_runs", "n_test", "features", "max_units")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured figure. Holds JSON values only: tuples become lists, anything else is refused.

    Raises ValueError where a field cannot be what it says, or where any string holds an absolute path.
    """

    run_id: str  # results.run_id(spec, inputs, started)
    table: str  # the table the run was made for, e.g. cifar10
    method: str
    protocol: str  # e.g. cifar10/full; a subset run says so here
    metric: str  # one of METRICS
    value: float  # percent, unrounded
    error_bar: float | None = None  # percentage points
    error_bar_kind: str = ""  # one of ERROR_BAR_KINDS; empty exactly where there is no bar
    n_runs: int
    n_test: int
    features: int | None = None  # length of one feature vector
    max_units: int | None = None  # channels of the widest layer used
    command: list[str]  # as typed, through results.portable
    spec: dict[str, Any]  # every option of the run, defaults resolved
    seed: int | None = None
    inputs: dict[str, str]  # digests of data sets and weights
    selection: dict[str, Any] = field(default_factory=dict)  # the grid with every score, and what was chosen
    solver: dict[str, Any] = field(default_factory=dict)  # C, duality gap, objective, passes over the data
    outcomes: dict[str, Any] = field(default_factory=dict)  # what paired tests compare
    versions: dict[str, str | None]
    hardware: dict[str, Any]
    seconds: dict[str, float]  # stage -> wall-clock seconds
    started: str  # UTC, as results.utc_now gives it

    def __post_init__(self) -> None:
        for name, value in _plain(asdict(self)).items():
            object.__setattr__(self, name, value)
        for name in ("table", "method", "protocol"):
            text = getattr(self, name)
            printable = isinstance(text, str) and text.isprintable() and text == text.strip() != ""
            _require(printable, name, "be one line of text, not empty, without spaces around it", text)
        _require(self.metric in METRICS, "metric", f"be one of {', '.join(METRICS)}", self.metric)
        percent = _is_number(self.value) and 0 <= self.value <= 100
        _require(percent, "value", "lie in 0..100 (percent)", self.value)
        object.__setattr__(self, "value", float(self.value))
        kinds = "be one of sd, ci95, 1.96sd, or empty"
        _require(self.error_bar_kind in ERROR_BAR_KINDS, "error_bar_kind", kinds, self.error_bar_kind)
        if self.error_bar is not None:
            positive = _is_number(self.error_bar) and self.error_bar >= 0
            _require(positive, "error_bar", "be a number >= 0", self.error_bar)
            object.__setattr__(self, "error_bar", float(self.error_bar))
        paired = (self.error_bar is None) == (self.error_bar_kind == "")
        _require(paired, "error_bar_kind", "be given exactly where error_bar is", self.error_bar_kind)
        for name in _COUNTS:
            count = getattr(self, name)
            absent = count is None and name in ("features", "max_units")
            _require(absent or (type(count) is int and count >= 1), name, "be a whole number >= 1", count)
        whole_seed = self.seed is None or type(self.seed) is int
        _require(whole_seed, "seed", "be a whole number or None", self.seed)
        _require(_matches(RUN_ID, self.run_id), "run_id", "look like 20261122-1a2b3c4d", self.run_id)
        _require(_matches(_STARTED, self.started), "started", "look like 2026-11-22T10:00:00Z", self.started)
        words = isinstance(self.command, list) and all(isinstance(word, str) for word in self.command)
        _require(words, "command", "be a list of words", self.command)
        for name in ("spec", "inputs", "selection", "solver", "outcomes", "versions", "hardware", "seconds"):
            _require(isinstance(getattr(self, name), dict), name, "be a table of names", getattr(self, name))
        paths = sorted(set(machine_paths(asdict(self))))
        _require(not paths, "a record", "hold no absolute paths (pass it through results.portable)", paths)


def check_keys(got: Iterable[str], known: Iterable[str], required: Iterable[str], what: str) -> None:
    """Raises ValueError where `got` has keys outside `known` or lacks some of `required`; names them all."""
    got, known = set(got), list(known)
    if unknown := sorted(got - set(known)):
        raise ValueError(f"{what} has unknown keys {', '.join(unknown)}; known are {', '.join(known)}")
    if missing := [name for name in required if name not in got]:
        raise ValueError(f"{what} must have the keys {', '.join(missing)}, got {', '.join(sorted(got))}")


def record_from_json(line: str | bytes) -> Record:
    """The record of one line. Raises ValueError for broken JSON, unknown or missing keys and bad values."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"a record must be a JSON object, got {type(found).__name__}")
    known = [item.name for item in fields(Record)]
    required = [i.name for i in fields(Record) if i.default is MISSING and i.default_factory is MISSING]
    check_keys(found, known, required, "a record")
    return Record(**found)


def record_to_json(record: Record) -> str:
    """One line of ASCII JSON without its newline; `record_from_json` gives back an equal record."""
    return json.dumps(asdict(record), allow_nan=False)


def read_records(path: str | os.PathLike[str]) -> list[Record]:
    """All records of a `.jsonl` file, in its order; none where the file does not exist yet.

    Raises ValueError that names file and line where a line is not a record, or repeats the run id, method and
    protocol of an earlier one.
    """
    path = Path(path)
    records: dict[tuple[str, str, str], Record] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.exists() else [], start=1):
        if not line.strip():
            continue
        try:
            record = record_from_json(line)
        except ValueError as error:
            raise ValueError(
                f"{path}:{number} is not a run record ({error}); restore the line from version control, "
                "or delete it and record the run again"
            ) from error
        if records.setdefault(_key(record), record) is not record:
            same = ", ".join(_key(record))
            raise ValueError(f"{path}:{number} must not repeat an earlier line, got {same}: delete one")
    return list(records.values())


def append_record(path: str | os.PathLike[str], record: Record) -> None:
    """Adds one line to a `.jsonl` file, as `append_line` does.

    Raises ValueError where the file has a broken line, or already has this run's figure for the same method
    and protocol; OSError where it cannot be written.
    """

    def check() -> None:
        if _key(record) in map(_key, read_records(path)):
            raise ValueError(
                f"{path} must hold one figure per run, method and protocol, got {', '.join(_key(record))} again; "
                "delete that line to record the run again"
            )

    append_line(path, record_to_json(record), check)


def append_line(path: str | os.PathLike[str], text: str, check: Callable[[], object]) -> None:
    """Adds one line of ASCII to a file, creating it and its folder where absent; `check` raises where it may not.

    One `O_APPEND` write and an fsync, not a rewritten copy: two runs that end together both stay, earlier
    lines cannot be harmed, and a line cut short by a full disk is taken back. OSError where it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # until it is closed: between the look and the write no other run adds
        check()
        size = os.fstat(handle).st_size
        cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # a hand-edited last line
        line = (b"\n" if cut else b"") + text.encode("ascii") + b"\n"
        if os.write(handle, line) != len(line):
            os.ftruncate(handle, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)


def _key(record: Record) -> tuple[str, str, str]:
    """What no two lines of a file share: one run may answer several rows, each of them once."""
    return record.run_id, record.method, record.protocol


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """`values` as JSON would give them back; ValueError names the field that JSON cannot hold."""
    plain = {}
    for name, value in values.items():
        try:
            plain[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must hold plain, finite JSON values: {error}") from error
    return plain


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matches(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def _require(holds: bool, name: str, must: str, got: object) -> None:
    if not holds:
        raise ValueError(f"{name} must {must}, got {got!r}")

"""Run records: each measured figure is one JSON line, with everything needed to judge and repeat it.

A file `results/runs/<table>.jsonl` holds all runs of a table, old and new. The table itself decides which of them it
shows (`results.tables`). Lines are only added: a changed rule makes a new record.
"""

import errno
import fcntl
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from results.provenance import machine_paths

METRICS = ("accuracy_percent", "error_percent")
ERROR_BAR_KINDS = ("", "sd", "ci95", "1.96sd")
RUN_ID = re.compile(r"\d{8}-[0-9a-f]{8}")
STARTED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured figure. It holds JSON values only: tuples become lists, other types are refused.

    Raises ValueError for a field with an impossible value, and for an absolute path in any string.
    """

    run_id: str  # results.run_id(spec, inputs, started)
    table: str  # the table the run was made for, e.g. cifar10
    method: str
    protocol: str  # e.g. cifar10/full; the name of a subset run says that it is one
    metric: str  # one of METRICS
    value: float  # percent, unrounded
    error_bar: float | None = None  # percentage points
    error_bar_kind: str = ""  # one of ERROR_BAR_KINDS; empty if there is no bar
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
        for name, value in plain(asdict(self)).items():
            object.__setattr__(self, name, value)
        for name in ("table", "method", "protocol"):
            text = getattr(self, name)
            require(is_line(text), name, "be one line of text, not empty, without spaces around it", text)
        require(self.metric in METRICS, "metric", f"be one of {', '.join(METRICS)}", self.metric)
        percent = is_number(self.value) and 0 <= self.value <= 100
        require(percent, "value", "lie in 0..100 (percent)", self.value)
        object.__setattr__(self, "value", float(self.value))
        kinds = "be one of sd, ci95, 1.96sd, or empty"
        require(self.error_bar_kind in ERROR_BAR_KINDS, "error_bar_kind", kinds, self.error_bar_kind)
        if self.error_bar is not None:
            positive = is_number(self.error_bar) and self.error_bar >= 0
            require(positive, "error_bar", "be a number >= 0", self.error_bar)
            object.__setattr__(self, "error_bar", float(self.error_bar))
        paired = (self.error_bar is None) == (self.error_bar_kind == "")
        require(paired, "error_bar_kind", "be given exactly where error_bar is", self.error_bar_kind)
        for name in ("n_runs", "n_test", "features", "max_units"):
            count = getattr(self, name)
            absent = count is None and name in ("features", "max_units")
            require(absent or (type(count) is int and count >= 1), name, "be a whole number >= 1", count)
        whole_seed = self.seed is None or type(self.seed) is int
        require(whole_seed, "seed", "be a whole number or None", self.seed)
        require(matches(RUN_ID, self.run_id), "run_id", "look like 20261122-1a2b3c4d", self.run_id)
        require(matches(STARTED, self.started), "started", "look like 2026-11-22T10:00:00Z", self.started)
        words = isinstance(self.command, list) and all(isinstance(word, str) for word in self.command)
        require(words, "command", "be a list of words", self.command)
        for name in ("spec", "inputs", "selection", "solver", "outcomes", "versions", "hardware", "seconds"):
            require(isinstance(getattr(self, name), dict), name, "be a table of names", getattr(self, name))
        paths = sorted(set(machine_paths(asdict(self))))
        require(not paths, "a record", "hold no absolute paths (pass it through results.portable)", paths)


def check_keys(got: Iterable[str], known: Iterable[str], required: Iterable[str], what: str) -> None:
    """Raise ValueError if `got` has keys outside `known`, or lacks some of `required`; it names them all."""
    got, known = set(got), list(known)
    if unknown := sorted(got - set(known)):
        raise ValueError(f"{what} has unknown keys {', '.join(unknown)}; known are {', '.join(known)}")
    if missing := [name for name in required if name not in got]:
        raise ValueError(f"{what} must have the keys {', '.join(missing)}, got {', '.join(sorted(got))}")


def from_json(kind: Callable[..., T], line: str | bytes, what: str) -> T:
    """Make a `kind`, a dataclass, of one line. Raises ValueError for broken JSON, wrong keys and impossible values."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"{what} must be a JSON object, got {type(found).__name__}")
    items = fields(kind)  # type: ignore[arg-type]
    required = [item.name for item in items if item.default is MISSING and item.default_factory is MISSING]
    check_keys(found, [item.name for item in items], required, what)
    return kind(**found)


def record_from_json(line: str | bytes) -> Record:
    """Make the record of one line. Raises ValueError for broken JSON, unknown or missing keys and impossible values."""
    return from_json(Record, line, "a record")


def record_to_json(record: Any) -> str:
    """Return a record, here or in `results.costs`, as one line of ASCII JSON without its newline."""
    return json.dumps(asdict(record), allow_nan=False)


def read_lines(
    path: str | os.PathLike[str], parse: Callable[[bytes], T], what: str, remedy: str
) -> Iterator[tuple[int, T]]:
    """Yield (number, parse(line)) for every line that is not blank; none if the file does not exist yet.

    Raises ValueError, with file, line, `what` it should be and the `remedy`, for a line that `parse` refuses.
    """
    path = Path(path)
    for number, line in enumerate(path.read_bytes().split(b"\n") if path.exists() else [], start=1):
        if not line.strip():
            continue
        try:
            found = parse(line)
        except ValueError as error:
            fix = f"restore the line from version control, or delete it and {remedy}"
            raise ValueError(f"{path}:{number} is not {what} ({error}); {fix}") from error
        yield number, found


def read_records(path: str | os.PathLike[str]) -> list[Record]:
    """Read all records of a `.jsonl` file, in its order; none if the file does not exist yet.

    Raises ValueError, with file and line, for a line that is not a record, and for one that repeats the run id, method
    and protocol of an earlier line.
    """
    records: dict[tuple[str, str, str], Record] = {}
    for number, record in read_lines(path, record_from_json, "a run record", "record the run again"):
        if records.setdefault(_key(record), record) is not record:
            same = ", ".join(_key(record))
            raise ValueError(f"{path}:{number} must not repeat an earlier line, got {same}: delete one")
    return list(records.values())


def append_record(path: str | os.PathLike[str], record: Record) -> None:
    """Add one line to a `.jsonl` file, as `append_line` does.

    Raises ValueError if the file has a broken line, or already has this run's figure for the same method and protocol.
    Raises OSError if the file cannot be written.
    """

    def check() -> None:
        if _key(record) in map(_key, read_records(path)):
            raise ValueError(
                f"{path} must hold one figure per run, method and protocol, got {', '.join(_key(record))} again; "
                "delete that line to record the run again"
            )

    append_line(path, record_to_json(record), check)


def append_line(path: str | os.PathLike[str], text: str, check: Callable[[], object]) -> None:
    """Add one line of ASCII to a file; make the file and its folder if they are absent. `check` raises to forbid it.

    The line is one `O_APPEND` write and an fsync, not a rewritten copy. So two runs that end together both stay,
    earlier lines cannot be damaged, and a line that a full disk cuts short is removed. Raises OSError if the write
    fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # until the file is closed, so that no other run adds a line after the check
        check()
        size = os.fstat(handle).st_size
        cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # the last line was edited by hand
        line = (b"\n" if cut else b"") + text.encode("ascii") + b"\n"
        if os.write(handle, line) != len(line):
            os.ftruncate(handle, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)


def _key(record: Record) -> tuple[str, str, str]:
    """Return what no two lines of a file share. One run may answer several rows, each of them once."""
    return record.run_id, record.method, record.protocol


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` as JSON would give them back. Raises ValueError, with the field, for what JSON cannot hold."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must hold plain, finite JSON values: {error}") from error
    return found


def is_number(value: object) -> bool:
    """Tell whether this is a finite number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_line(value: object) -> bool:
    """Tell whether this is one line of text, not empty, without spaces around it."""
    return isinstance(value, str) and value.isprintable() and value == value.strip() != ""


def matches(pattern: re.Pattern[str], text: object) -> bool:
    """Tell whether this is a text that matches the whole pattern."""
    return isinstance(text, str) and pattern.fullmatch(text) is not None


def require(holds: bool, name: str, must: str, got: object) -> None:
    """Raise ValueError, "`name` must `must`, got `got`", unless the condition holds."""
    if not holds:
        raise ValueError(f"{name} must {must}, got {got!r}")

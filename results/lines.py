"""Files of JSON lines. Each line is one record: a frozen dataclass whose annotations say what its fields may hold.

A field is `Annotated[type, rule]`. Lines are only added. A line ends with its `seal`, a digest of all before it, so a
changed bit is found; lines without one, of earlier versions, are read as well.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar, get_args

from results.provenance import machine_paths

T = TypeVar("T")
SEAL = "seal"


class Rule(NamedTuple):
    """What a value must be or do, in words that follow "must", and whether it does so."""

    must: str
    holds: Callable[[Any], bool]


def matching(pattern: str | re.Pattern[str], must: str) -> Rule:
    """Make the rule of texts that match the whole pattern."""
    found = re.compile(pattern).fullmatch
    return Rule(must, lambda value: isinstance(value, str) and found(value) is not None)


def whole(least: int) -> Rule:
    """Make the rule of whole numbers; a bool is none."""
    return Rule(f"be a whole number >= {least}", lambda value: type(value) is int and value >= least)


def optional(rule: Rule, absent: object = None) -> Rule:
    """Make the rule that allows `absent` too."""
    return Rule(rule.must, lambda value: value == absent or rule.holds(value))


LINE = Rule(
    "be one line of text, not empty, without spaces around it",
    lambda value: isinstance(value, str) and value.isprintable() and value == value.strip() != "",
)
TABLE = Rule("be a table of names", lambda value: isinstance(value, dict))
TIME = matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "look like 2026-11-22T10:00:00Z")


def table(known: Mapping[str, Rule]) -> Rule:
    """Make the rule of tables in which an entry of a known name, if there is one, keeps its rule."""
    told = "; ".join(f"{name}, if given, must {rule.must}" for name, rule in known.items())
    return Rule(
        f"be a table of names ({told})",
        lambda value: isinstance(value, dict) and all(known[name].holds(value[name]) for name in value.keys() & known),
    )


def rows(columns: Mapping[str, Rule]) -> Rule:
    """Make the rule of lists of tables that have all these columns, and perhaps others."""
    return Rule(
        f"be a list of tables with {', '.join(columns)}",
        lambda value: (
            isinstance(value, list)
            and all(isinstance(row, dict) and row.keys() >= columns.keys() for row in value)
            and all(rule.holds(row[name]) for row in value for name, rule in columns.items())
        ),
    )


def check_fields(thing: Any, where: str = "") -> None:
    """Raise ValueError for a field of a dataclass that breaks its rule; the message begins with `where`."""
    for field in fields(thing):
        value, (_, rule) = getattr(thing, field.name), get_args(field.type)
        if not rule.holds(value):
            raise ValueError(f"{where}{field.name} must {rule.must}, got {reprlib.repr(value)}")


def check_record(record: Any) -> None:
    """Bring the fields of a record to their JSON form, in which tuples are lists, and check them.

    Raises ValueError for what JSON cannot hold, for a field that breaks its rule, and for an absolute path anywhere.
    """
    for name, value in asdict(record).items():
        try:
            plain = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{name} must hold plain, finite JSON values: {error}") from error
        object.__setattr__(record, name, plain)
    check_fields(record)
    if paths := sorted(set(machine_paths(asdict(record)))):
        raise ValueError(f"a record must hold no absolute paths (pass it through results.portable), got {paths!r}")


def check_keys(got: Iterable[str], known: Iterable[str], required: Iterable[str], what: str) -> None:
    """Raise ValueError if `got` has keys outside `known`, or lacks some of `required`; it names them all."""
    got, known = set(got), list(known)
    if unknown := sorted(got - set(known)):
        raise ValueError(f"{what} has unknown keys {', '.join(unknown)}; known are {', '.join(known)}")
    if missing := [name for name in required if name not in got]:
        raise ValueError(f"{what} must have the keys {', '.join(missing)}, got {', '.join(sorted(got))}")


def from_dict(kind: Callable[..., T], values: Any, what: str) -> T:
    """Make a dataclass of a dictionary of its fields.

    Raises ValueError, which calls it `what`, for unknown and missing names, and for impossible values.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{what} must be a JSON object, got {type(values).__name__}")
    items = fields(kind)  # type: ignore[arg-type]
    required = [item.name for item in items if item.default is MISSING and item.default_factory is MISSING]
    check_keys(values, [item.name for item in items], required, what)
    return kind(**values)


def to_json(record: Any) -> str:
    """Return the record as one line of ASCII JSON without its newline."""
    return json.dumps(asdict(record), allow_nan=False)


def parse(line: bytes) -> Any:
    """Return the value of a line of JSON, without its seal.

    Raises ValueError for other text, for numbers that are not finite, and for a table that does not match its seal.
    """
    try:
        values = json.loads(line, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(values, dict) and SEAL in values and values.pop(SEAL) != _digest(json.dumps(values)):
        raise ValueError("its content does not match its seal")
    return values


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(f"{text} is not finite")
    return value


def read_lines(
    path: str | os.PathLike[str], kind: Callable[..., T], what: str, check: Callable[[T], object] = lambda record: None
) -> Iterator[tuple[str, T]]:
    """Yield ("file:line", record) for every line; none if the file does not exist yet, or is empty.

    An emptied line is refused like any other that is no record: the record that it held would be lost without a word.
    `check` raises ValueError for a record that contradicts itself. Raises ValueError, with file, line, `what` it should
    be and how to mend it, for a line that is no such record.
    """
    path = Path(path)
    content = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n") if content else [], start=1):
        try:
            if not line.strip():
                raise ValueError("it is empty")
            record = from_dict(kind, parse(line), "it")
            check(record)
        except ValueError as error:
            fix = "restore the line from version control, or delete it and measure again"
            raise ValueError(f"{path}:{number} is not {what} ({error}); {fix}") from error
        yield f"{path}:{number}", record


def append_line(path: str | os.PathLike[str], record: Any, check: Callable[[], object]) -> None:
    """Add a record, sealed, to a file; make the file and its folder if they are absent. `check` raises to forbid it.

    The line is one `O_APPEND` write and an fsync, not a rewritten copy. So two runs that end together both stay,
    earlier lines cannot be damaged, and a line that a full disk cuts short is removed. Raises OSError if the write
    fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b", buffering=0) as file:
        handle = file.fileno()
        fcntl.flock(handle, fcntl.LOCK_EX)  # until the file is closed, so that no other run adds a line after the check
        check()
        size = os.fstat(handle).st_size
        cut = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # the last line was edited by hand
        text = to_json(record)
        sealed = f'{text[:-1]}, "{SEAL}": "{_digest(text)}"}}\n'
        line = (b"\n" if cut else b"") + sealed.encode("ascii")
        try:
            if os.write(handle, line) != len(line):
                os.ftruncate(handle, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError as error:  # that of a write names no file
            raise OSError(error.errno, error.strerror, str(path)) from error

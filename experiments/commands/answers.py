"""The answer of `dcgan-eval eval`: a few lines for people, or one object for programs, made of the records of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.commands.options import DEFAULTS
from experiments.measure.protocols import TOP5, procedure
from experiments.run import console

if TYPE_CHECKING:
    import results

# table -> the preset whose random weights are its control
CONTROL = {"cifar10": "imagenet32", "svhn": "svhn32", "tiny-imagenet": "imagenet32", "imagenet32": "imagenet32"}
PAPER = "arXiv:1511.06434"
# the rows that a figure is compared with, the most telling first: name -> how their methods begin
ROLES = {
    "default": tuple(f"DCGAN {name} +" for name in DEFAULTS.values()),
    "k-means": ("k-means ",),
    "random-init": tuple(f"random-init {preset} +" for preset in CONTROL.values()),
    "raw pixels": ("raw pixels ",),
    "k-nn": ("k-nn",),
    "supervised": ("supervised ",),
    "real data": ("real data",),
}
CONTROLS = ("k-means", "random-init", "raw pixels", "k-nn", "real data")


def row_object(record: results.Record) -> dict[str, Any]:
    """Return what `eval --json` prints: the keys are part of the contract with programs."""
    from experiments.measure.records import interval95

    interval = interval95(record)
    return {
        "method": record.method,
        "protocol": record.protocol,
        "metric": record.metric,
        "value": record.value,
        "interval": None if interval is None else [interval.low, interval.high],
        "n_test": record.n_test,
        "C": record.solver.get("C"),
        "run_id": record.run_id,
        "processes": record.hardware.get("processes", 1),
    }


def as_lines(
    main: results.Record,
    others: Sequence[results.Record],
    beside: Mapping[str, str],
    control: str | None,
) -> Iterator[str]:
    """Yield at most four lines: how it was measured, the run's other rows, how it stands, and the figure.

    beside: what `standing` found. control: a command that measures a control of this protocol, if there is one.
    """
    yield _measured(main)
    if others:
        first, *rest = [f"{_beside(r, main)} {r.value:.2f} % (n {r.n_test:,})" for r in others]
        yield console.joined([f"also {first}", *rest])
    if any(role in beside for role in CONTROLS) or (beside and control is None):
        yield _stands(main, beside)
    elif control is not None:
        yield f"compare with a control: {control}"
    else:
        yield f"no other row of {main.protocol} is at hand"
    yield figure(main)


def figure(record: results.Record) -> str:
    """Return one line: method, value with its 95 % interval, n, protocol, run id; the method is shortened to fit."""
    from experiments.measure.records import interval95

    interval, error = interval95(record), "error " if record.metric == "error_percent" else ""
    bounds = "" if interval is None else f" (95 % {interval.low:.2f}-{interval.high:.2f})"
    protocol = console.shortened(record.protocol, 30)
    rest = f": {error}{record.value:.2f} %{bounds}, n {record.n_test:,}, {protocol}, run {record.run_id}"
    return console.shortened(record.method, console.WIDTH - len(rest)) + rest


def standing(main: results.Record, table: results.Table, known: Sequence[results.Record]) -> dict[str, str]:
    """Return role -> figure of the rows that can be compared: same protocol, same training and test set.

    The first of `known` counts. The paper's figure is the table's.
    """
    import results

    found: dict[str, str] = {}
    for row in table.rows:
        if not isinstance(row, results.ReportedRow) or row.protocol != main.protocol:
            continue
        if "DCGAN" in row.method and row.source.startswith(PAPER):
            found.setdefault("the paper", row.value)
    for role, starts in ROLES.items():
        for record in known:
            if record.method.startswith(starts) and _comparable(record, main):
                found.setdefault(role, f"{record.value:.2f}")
    return found


def _comparable(record: results.Record, main: results.Record) -> bool:
    sets = [(procedure(r.protocol), r.metric, r.inputs.get("train"), r.inputs.get("test")) for r in (record, main)]
    return sets[0] == sets[1] and record.method != main.method


def _stands(main: results.Record, beside: Mapping[str, str]) -> str:
    """Return the figures of one protocol in a line, the best first; the least telling are left out if it is full."""
    for count in range(len(beside), 0, -1):
        rows = [*list(beside.items())[:count], ("this", f"{main.value:.2f}")]
        rows.sort(key=lambda row: float(row[1]), reverse=main.metric != "error_percent")
        line = "best first: " + ", ".join(f"{name} {value}" for name, value in rows)
        if len(line) <= console.WIDTH:
            break
    return line


def _measured(record: results.Record) -> str:
    """Return one line: the whole name, and as much as fits of the kind of interval, C and the number of features."""
    from experiments.measure.records import interval95

    metric, interval, parts = record.metric.removesuffix("_percent"), interval95(record), []
    if interval is not None:
        parts.append(interval.kind.removeprefix("95 % "))
    parts += [f"{name} {record.solver[name]:g}" for name in ("C", "k") if name in record.solver]
    if "validation_error_percent" in record.selection:
        parts.append(f"{record.selection['validation_error_percent']:.2f} % on those held out")
    if record.features is not None:
        parts.append(console.counted(record.features, "feature"))
    name = console.shortened(record.method, console.WIDTH - len(metric) - 2)
    return console.joined([f"{name}: {metric}", *parts])


def _beside(record: results.Record, main: results.Record) -> str:
    """Return how another row of the run is called beside the main one: `without-leaked`, `top-5`."""
    return "top-5" if record.metric == TOP5 else record.protocol.removeprefix(f"{main.protocol}-")

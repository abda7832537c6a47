"""The records of measurements, the user's own and the committed ones: store them, find them, make tables from them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evaluation
import results
from experiments.measure.nearest_digits import curve_csv
from experiments.measure.paired_tests import has_outcomes, of_draws, unlike
from experiments.measure.protocols import (
    LEADERBOARD,
    MIRRORED,
    OWN,
    PROTOCOLS,
    SEEN,
    SUPERVISED,
    TABLES,
    WITHOUT_LEAKED,
    WITHOUT_TRAIN,
    parts_of,
    procedure,
    protocol_of,
)
from experiments.measure.svm import PROTOCOL, EvalSpec, method
from experiments.measure.tables import committed, regenerate, table_names
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from experiments.run.errors import UserError, closest
from experiments.run.files import write_bytes
from results.records import RUN_ID

# protocols whose records say which images were right
KEPT = (*PROTOCOLS, *SUPERVISED, *(protocol + MIRRORED for protocol in PROTOCOLS))


@dataclass(frozen=True)
class Published:
    """What `publish` made: the table with the measured rows, its records (committed ones first), the files written."""

    table: results.Table
    records: list[results.Record]
    files: list[Path]


def publish(table: results.Table, measured: Sequence[results.Record], run: Run, *, commit: bool) -> Published:
    """Store the records (with `commit` also in results/), and write the table with them."""
    name, own = measured[0].table, run.runs_root / "tables"
    for record in measured:
        for folder in (run.own_records, run.records) if commit else (run.own_records,):
            keep_record(folder / f"{name}.jsonl", record, run)
        table = results.with_run(table, record)
    if commit:
        for file, content in regenerate([name, LEADERBOARD], run).items():
            write_bytes(file, content)
    records = [*committed(name, run), *measured]
    written = results.write_tables(own, name, table, records)
    if "curve" in measured[0].solver:
        written.append(own / f"{name}-curve-{measured[0].run_id}.csv")
        write_bytes(written[-1], curve_csv(measured))
    return Published(table, records, written)


def check_recordable(spec: Any, table: results.Table) -> None:
    """Raise UserError for a row that must not enter the committed results."""
    if unknown := [protocol for protocol in spec.rows if protocol not in table.protocols]:
        known = ", ".join([name for name in table.protocols if name in KEPT] or table.protocols)
        raise UserError(f"{unknown[0]} cannot be recorded among the committed results; only {known} can")
    trials = getattr(spec, "trials", None)
    if trials is not None and (spec.method, spec.protocol) not in {(row.method, row.protocol) for row in table.rows}:
        raise UserError(f"the table has no row {spec.method!r}, {spec.protocol!r} to record")


def keep_record(file: Path, record: results.Record, run: Run) -> None:
    """Append a record to a file, unless the file has that figure already."""
    key = (record.run_id, record.method, record.protocol, record.metric)
    same = [r for r in results.read_records(file) if (r.run_id, r.method, r.protocol, r.metric) == key]
    if not same:
        results.append_record(file, record)
    elif same[0].value != record.value:
        run.warn(
            f"{file} already holds run {record.run_id} with {same[0].value:.2f} %, so the new "
            f"{record.value:.2f} % (same day, same inputs) was not stored; delete that line to store the new one"
        )


def interval95(record: results.Record) -> evaluation.Interval | None:
    """Return the 95 % interval of a record's value, in its metric; None if its outcomes were not kept.

    One fit has the exact (Clopper-Pearson) interval over new test images. Draws of labels have the t interval over
    images and draws by which `paired_tests` compares two records: of this one's difference from 0.
    """
    accuracy = 100 - record.value if record.metric == "error_percent" else record.value
    if record.n_runs == 1:
        found = evaluation.interval95_of_proportion(round(accuracy * record.n_test / 100), record.n_test)
    elif has_outcomes(record) and "accuracy_percent" in record.outcomes:
        found = of_draws(record)
    else:
        return None
    if record.metric != "error_percent":
        return found
    return evaluation.Interval(100 - found.estimate, 100 - found.high, 100 - found.low, found.kind)


Pair = tuple[results.Record, results.Record]


def pair_named(texts: tuple[str, str], protocol: str | None, table: str | None, run: Run) -> Pair:
    """Find two records with outcomes, one for each of `texts` (run ids or networks), of one protocol.

    protocol: this protocol. If None, it is the newest that both were measured by on the same images; `run.say` tells
    which. table: only protocols of this table; None takes any. Raises UserError with the command that makes a missing
    record.
    """
    files = [folder / f"{name}.jsonl" for folder in (run.records, run.own_records) for name in (*table_names(), OWN)]
    known = sorted((r for file in files for r in results.read_records(file)), key=lambda r: r.started)
    measured = dict.fromkeys([*KEPT, *(r.protocol for r in known)])
    if protocol is not None and protocol not in measured:
        raise UserError(f"no protocol {protocol!r}; there are {', '.join(measured)}{closest(protocol, measured)}")
    a, b = (_of_run(text, known, run) if RUN_ID.holds(text) else _of_network(text, known) for text in texts)
    if protocol is None and table is not None:
        a, b = ([r for r in fits if r.table == table] for fits in (a, b))
    if protocol is not None:
        a, b = ([r for r in fits if procedure(r.protocol) == procedure(protocol)] or fits for fits in (a, b))
    kept = [[r for r in fits if has_outcomes(r)] for fits in (a, b)]
    pairs = [(x, y) for x in kept[0] for y in kept[1] if not unlike(x, y)]
    if protocol is not None:
        pairs = [(x, y) for x, y in pairs if procedure(x.protocol) == procedure(protocol)]
    if pairs:
        both = max(pairs, key=lambda pair: sorted(r.started for r in pair))
        if others := sorted({x.protocol for x, _ in pairs} - {both[0].protocol}):
            run.say(f"by {both[0].protocol}, the newest of both; --protocol takes another: {', '.join(others)}")
        return both
    shared = [r.protocol for r in a if r.protocol in {r.protocol for r in b} and protocol in (None, r.protocol)]
    if not shared:
        raise UserError(_missing(texts, (a, b), protocol or _wanted([*a, *b], table)))
    return _newest([r for r in a if r.protocol == shared[-1]]), _newest([r for r in b if r.protocol == shared[-1]])


def _of_run(text: str, known: Sequence[results.Record], run: Run) -> list[results.Record]:
    found = [r for r in known if r.run_id == text]
    if not found:
        where = f"{run.records} or {run.own_records}"
        raise UserError(f"no run {text} in {where}; the last line of eval, and the tables' provenance, name runs")
    return found


def _of_network(text: str, known: Sequence[results.Record]) -> list[results.Record]:
    """Find the records that `dcgan-eval eval` made of a network by default: same name and weights, any protocol."""
    if text.startswith("supervised:"):
        raise UserError(f"{text!r} must be named by its run id, which tables show as provenance")
    contender = resolve(text)
    name = method(contender, EvalSpec(text))
    named = [r for r in known if r.method == name]
    if text.startswith("kmeans:"):  # its centroids are learned from the table's own images
        return named
    fits = [r for r in named if r.inputs.get("weights") == contender.weights]
    if named and not fits:
        raise UserError(
            f"{text} has other weights than run {named[-1].run_id} measured: measure it again, or name two runs"
        )
    return fits


def _wanted(found: Sequence[results.Record], table: str | None) -> str:
    """Return the protocol of the newest record with outcomes, else the table's first."""
    kept = [r for r in found if has_outcomes(r)]
    return max(kept, key=lambda r: r.started).protocol if kept else protocol_of(table or TABLES[0], None)


def _missing(texts: tuple[str, str], found: tuple[list[results.Record], ...], protocol: str) -> str:
    """Say by which protocols both were measured, and how to measure what is missing by `protocol`."""
    told, fix = [], ""
    for letter, text, fits in zip("AB", texts, found, strict=True):
        has = ", ".join(dict.fromkeys(r.protocol for r in fits)) or "none"
        told.append(f"{letter} ({text}) was measured by {has}")
        if protocol not in {r.protocol for r in fits} and not fix:
            fix = (
                "name runs of one protocol" if RUN_ID.holds(text) else f"measure {letter} first: {_way(text, protocol)}"
            )
    return f"no record of both by {protocol}: {'; '.join(told)}; {fix}"


def eval_command(text: str, protocol: str) -> tuple[str, ...] | None:
    """Return the words of the `eval` command that measures a network by a protocol; None if there is no such command.

    text: the network, as it is named for eval.
    """
    usual, subset, mirrored = parts_of(protocol)
    options: list[str] = []
    if subset is not None:
        options = ["--subset", str(subset)]
    elif usual in PROTOCOLS:
        options = ["--table", PROTOCOLS[usual].table, "--protocol", usual] if usual != PROTOCOL else []
    elif protocol not in (WITHOUT_LEAKED, WITHOUT_TRAIN):
        return None
    return ("dcgan-eval", "eval", text, *options, *["--mirrored"] * mirrored)


def _way(text: str, protocol: str) -> str:
    """Say how a network is measured by a protocol, or by that with SEEN, which suits every network."""
    protocol = f"{protocol}{SEEN}" if f"{protocol}{SEEN}" in PROTOCOLS else protocol
    if command := eval_command(text, protocol):
        return shlex.join(command)
    if protocol.startswith(f"{OWN}/"):
        return f"experiments.evaluate measures it by {protocol}, in Python"
    return f"dcgan-eval eval --help tells how {protocol} is measured"


def _newest(fits: Sequence[results.Record]) -> results.Record:
    """Return the newest of these records that says which images were right."""
    if kept := [r for r in fits if has_outcomes(r)]:
        return kept[-1]
    last = fits[-1]
    if last.protocol not in KEPT:
        raise UserError(f"the protocol must be one of {', '.join(KEPT)} to compare image by image, got {last.protocol}")
    again = shlex.join([*last.command, *([] if "--fresh" in last.command else ["--fresh"])])
    raise UserError(f"run {last.run_id} does not say which images were right; measure it again: {again}")

"""The records of measurements, the user's own and the committed ones: store them, find them, make tables from them."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import results
from experiments.measure.nearest_digits import curve_csv
from experiments.measure.paired_tests import has_outcomes
from experiments.measure.protocols import LEADERBOARD, MIRRORED, PROTOCOLS, SUPERVISED
from experiments.measure.svm import EvalSpec, method
from experiments.measure.tables import committed, regenerate, table_names
from experiments.networks.resolve import resolve
from experiments.run import console
from experiments.run.context import Run
from experiments.run.errors import UserError, closest
from experiments.run.files import write_bytes
from results.records import RUN_ID

# protocols whose records say which images were right
KEPT = (*PROTOCOLS, *SUPERVISED, *(protocol + MIRRORED for protocol in PROTOCOLS))


def publish(table: results.Table, measured: Sequence[results.Record], run: Run, *, commit: bool) -> list[Path]:
    """Store the records (with `commit` also in results/), print the table with them, and return the files written."""
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
    console.answer(*results.render_markdown(table, records).split("\n"))
    if "curve" in measured[0].solver:
        written.append(own / f"{name}-curve-{measured[0].run_id}.csv")
        write_bytes(written[-1], curve_csv(measured))
    return written


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
    key = (record.run_id, record.method, record.protocol)
    same = [r for r in results.read_records(file) if (r.run_id, r.method, r.protocol) == key]
    if not same:
        results.append_record(file, record)
    elif same[0].value != record.value:
        run.say(
            f"warning: {file} already holds run {record.run_id} with {same[0].value:.2f} %, so the new "
            f"{record.value:.2f} % (same day, same inputs) was not stored; delete that line to store the new one"
        )


def sentence(record: results.Record) -> str:
    """Return a line that says a record's figure."""
    bar = "" if record.error_bar is None else f" +-{record.error_bar:.2f} ({record.error_bar_kind})"
    what = f"{record.value:.2f}{bar} % {record.metric.removesuffix('_percent')}"
    chosen = [f"{name} = {record.solver[name]:g}" for name in ("C", "k") if name in record.solver]
    if "validation_error_percent" in record.selection:
        error = record.selection["validation_error_percent"]
        chosen.append(f"{error:.2f} % on {record.selection['holdout']:,} held out")
    how = ", ".join([*chosen, f"run {record.run_id}"])
    return f"{record.method}: {what} on {record.n_test:,} images, {record.protocol} ({how})"


def records_named(texts: Sequence[str], protocol: str | None, usual: str, run: Run) -> list[results.Record]:
    """Find a record with outcomes for each of `texts` (run ids or networks). All records are of one protocol.

    protocol: this protocol. If None, it is that of the named runs, or `usual` if no run is named. Raises UserError with
    the command that makes a missing record.
    """
    files = [folder / f"{table}.jsonl" for folder in (run.records, run.own_records) for table in table_names()]
    known = sorted((r for file in files for r in results.read_records(file)), key=lambda r: r.started)
    measured = dict.fromkeys([*KEPT, *(r.protocol for r in known)])
    if protocol is not None and protocol not in measured:
        raise UserError(f"no protocol {protocol!r}; there are {', '.join(measured)}{closest(protocol, measured)}")
    runs = {text: [r for r in known if r.run_id == text] for text in texts if RUN_ID.holds(text)}
    for text, found in runs.items():
        if not found:
            where = f"{run.records} or {run.own_records}"
            raise UserError(f"no run {text} in {where}; the column provenance of the tables names runs")
    of_runs = sorted((r for found in runs.values() for r in found), key=lambda r: not has_outcomes(r))
    protocol = protocol or next((r.protocol for r in of_runs), usual)
    return [
        _newest(_of_run(runs[text], protocol) if text in runs else _of_network(text, protocol, known)) for text in texts
    ]


def _of_run(found: Sequence[results.Record], protocol: str) -> list[results.Record]:
    fits = [r for r in found if r.protocol == protocol]
    if not fits:
        has = ", ".join(dict.fromkeys(r.protocol for r in found))
        raise UserError(f"run {found[0].run_id} was not measured by {protocol} but by {has}: name runs of one protocol")
    return fits


def _of_network(text: str, protocol: str, known: Sequence[results.Record]) -> list[results.Record]:
    """Find the records that `dcgan-eval eval` would make of a network by default: same name, weights and protocol."""
    usual = protocol.removesuffix(MIRRORED)
    if usual not in PROTOCOLS or text.startswith("supervised:"):
        raise UserError(f"{text!r} by {protocol} must be named by its run id, which tables show as provenance")
    contender = resolve(text)
    name = method(contender, EvalSpec(text, protocol=usual))
    fits = [r for r in known if (r.method, r.protocol) == (name, protocol)]
    if not text.startswith("kmeans:"):  # its centroids are learned from the table's own images
        fits = [r for r in fits if r.inputs.get("weights") == contender.weights]
    if not fits:
        mirrored = ["--mirrored"] if protocol != usual else []
        words = ["dcgan-eval", "eval", text, "--table", PROTOCOLS[usual].table, "--protocol", usual, *mirrored]
        raise UserError(f"{name} has no record of {protocol}; measure it first: {shlex.join(words)}")
    return fits


def _newest(fits: Sequence[results.Record]) -> results.Record:
    """Return the newest of these records that says which images were right."""
    if kept := [r for r in fits if has_outcomes(r)]:
        return kept[-1]
    last = fits[-1]
    if last.protocol not in KEPT:
        raise UserError(f"the protocol must be one of {', '.join(KEPT)} to compare image by image, got {last.protocol}")
    again = shlex.join([*last.command, *([] if "--fresh" in last.command else ["--fresh"])])
    raise UserError(f"run {last.run_id} does not say which images were right; measure it again: {again}")

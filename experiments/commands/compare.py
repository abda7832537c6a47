"""`dcgan-eval compare A B`: two measured networks, image by image, from their records only; a regression gate."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.commands.options import add_roots, one_of
from experiments.measure.protocols import PROTOCOLS, SUPERVISED, TABLES, protocol_of
from experiments.run.context import Run
from experiments.run.errors import UserError

if TYPE_CHECKING:
    import results
    from experiments.data.packed import PackedSet
    from experiments.measure.pairs import Comparison

KEPT = PROTOCOLS | SUPERVISED  # whose records tell which images were right
EXAMPLE = """dcgan-eval compare 20261124-e6fb37bf 20261124-3908fc8f
  dcgan-eval compare random:imagenet32 mynet.py:network --alpha 0.01

exit codes: 0 B is not significantly worse than A, 1 it is, 2 a mistake.

The gate is one-sided: it closes where p of "B is worse than A" is at most --alpha. So of two equally good networks the
second is turned away in at most that share of comparisons. It compares two networks, not two ways to train them."""


def options(parser: argparse.ArgumentParser) -> None:
    """Add what `compare` takes."""
    for name in ("A", "B"):
        parser.add_argument(name, help="a run id, or a target as of eval, whose newest record is taken")
    parser.add_argument("--table", type=one_of(TABLES), default=TABLES[0], help="default: %(default)s")
    parser.add_argument("--protocol", help=f"{', '.join(PROTOCOLS)} (default: the run's, else the table's first)")
    parser.add_argument("--alpha", type=float, default=0.05, help="level of the gate (default: %(default)s)")
    add_roots(parser)


def execute(arguments: argparse.Namespace, run: Run) -> int:
    """Print the comparison and the classes; 1 where the gate closes."""
    if not 0 < arguments.alpha < 1:
        raise UserError(f"--alpha must lie between 0 and 1, got {arguments.alpha:g}")
    from experiments.measure import pairs

    a, b = _named(arguments, run)
    if what := pairs.unlike(a, b):
        raise UserError(f"{a.run_id} and {b.run_id} {what}: name runs that share them")
    gate = pairs.compared(b, a, alternative="less")
    print(_summary(a, b, gate))
    print(f"\n{_classes(a, b, run)}")
    worse = gate.p_value <= arguments.alpha
    told = f"B is {'' if worse else 'not '}significantly worse than A"
    run.say(f"{told}: one-sided p = {gate.p_value:.2g}, alpha = {arguments.alpha:g}")
    return 1 if worse else 0


def _named(arguments: argparse.Namespace, run: Run) -> list[results.Record]:
    """The records of A and B. Raises UserError with the command that makes a missing one."""
    from experiments.measure.pairs import has_outcomes
    from results.records import RUN_ID

    texts, recorded = (arguments.A, arguments.B), _recorded(run)
    runs = {text: [r for r in recorded if r.run_id == text] for text in texts if RUN_ID.fullmatch(text)}
    for text, found in runs.items():
        if not found:
            where = f"{run.records} or {run.runs_root / 'records'}"
            raise UserError(f"no run {text} in {where}; the column provenance of the tables names runs")
    whole = [r.protocol for found in runs.values() for r in found if has_outcomes(r)]
    named = [r.protocol for found in runs.values() for r in found]
    protocol = arguments.protocol or next(iter([*whole, *named]), protocol_of(arguments.table, None))
    return [_of_run(runs[text], protocol) if text in runs else _of_target(text, protocol, recorded) for text in texts]


def _recorded(run: Run) -> list[results.Record]:
    """All records at hand, the newest last."""
    import results
    from experiments.measure.tables import table_names

    files = [
        folder / f"{table}.jsonl" for folder in (run.records, run.runs_root / "records") for table in table_names()
    ]
    return sorted((r for file in files for r in results.read_records(file)), key=lambda r: r.started)


def _of_run(found: Sequence[results.Record], protocol: str) -> results.Record:
    fits = [r for r in found if r.protocol == protocol]
    if not fits:
        has = ", ".join(dict.fromkeys(r.protocol for r in found))
        raise UserError(f"run {found[0].run_id} was not measured by {protocol} but by {has}: name runs of one protocol")
    return _with_outcomes(fits)


def _of_target(text: str, protocol: str, recorded: Sequence[results.Record]) -> results.Record:
    """The newest record that `dcgan-eval eval` would make of a target by default: same name, weights and protocol."""
    if protocol not in PROTOCOLS or text.startswith("supervised:"):
        raise UserError(f"{text!r} by {protocol} is named by its run id only; the tables show it as provenance")
    from experiments.measure.svm import EvalSpec, method
    from experiments.networks.resolve import resolve

    contender = resolve(text)
    name = method(contender, EvalSpec(text, protocol=protocol))
    fits = [r for r in recorded if (r.method, r.protocol) == (name, protocol)]
    if not text.startswith("kmeans:"):  # whose centroids are learned from the table's own images
        fits = [r for r in fits if r.inputs.get("weights") == contender.weights]
    if not fits:
        measure = shlex.join(["dcgan-eval", "eval", text, "--table", PROTOCOLS[protocol].table, "--protocol", protocol])
        raise UserError(f"{name} has no record of {protocol}; measure it first: {measure}")
    return _with_outcomes(fits)


def _with_outcomes(fits: Sequence[results.Record]) -> results.Record:
    """The newest of some records that tells which images were right."""
    from experiments.measure.pairs import has_outcomes

    if kept := [r for r in fits if has_outcomes(r)]:
        return kept[-1]
    last = fits[-1]
    if last.protocol not in KEPT:
        raise UserError(f"which images were right is kept of {', '.join(KEPT)}, not of {last.protocol}")
    again = shlex.join([*last.command, *([] if "--fresh" in last.command else ["--fresh"])])
    raise UserError(f"run {last.run_id} does not tell which images were right; measure it again: {again}")


def _classes(a: results.Record, b: results.Record, run: Run) -> str:
    """A row for each class; of test images whose labels are not at hand in a packed set, a line that says so."""
    from tabulate import tabulate

    from experiments.measure.pairs import by_class

    name = f"{KEPT[a.spec['protocol']].data}-test"
    packed = next((p for p in _packed(name, run) if p.digest == a.inputs["test"]), None)
    if packed is None or packed.labels is None:
        return f"no classes: the labels of these test images are not at hand; dcgan-eval data {name} gets the set"
    names, rows = packed.meta.get("class_names"), by_class(a, b, packed.labels)
    table = tabulate(
        [
            (
                names[row.label] if names else row.label,
                *(f"{row.n_test:,}", f"{row.a:.2f}", f"{row.b:.2f}", f"{row.b - row.a:+.2f}"),
                "" if row.p_value is None else f"{row.p_value:.2g}",
            )
            for row in rows
        ],
        headers=("class", "images", "A %", "B %", "B less A", "p (Holm)"),
        tablefmt="plain",
        disable_numparse=True,
        colalign=("left", *("right",) * 5),
    )
    without = "\nno p: measured before draws were kept by class; eval --fresh keeps them"
    return table + (without if rows[0].p_value is None else "")


def _packed(name: str, run: Run) -> list[PackedSet]:
    """The packed sets of that name that are at hand and whole."""
    from experiments.data.packed import open_packed

    found = []
    for root in (run.data_root, run.runs_root):
        try:
            found.append(open_packed(root / "packed" / name))
        except (FileNotFoundError, ValueError):  # none, or damaged: whoever needs its images packs it again
            continue
    return found


def _summary(a: results.Record, b: results.Record, gate: Comparison) -> str:
    from tabulate import tabulate

    from experiments.measure.pairs import agreement

    both, difference = agreement(a, b), gate.difference
    draws = "" if a.n_runs == 1 else f", {a.n_runs} draws of labels"
    interval = f"95 % {difference.low:+.2f} to {difference.high:+.2f}"
    return tabulate(
        [
            ("A", f"{a.method}: {_accuracy(a):.2f} % (run {a.run_id})"),
            ("B", f"{b.method}: {_accuracy(b):.2f} % (run {b.run_id})"),
            ("on", f"{a.protocol}: {a.n_test:,} test images{draws}"),
            (
                "B less A",
                f"{difference.estimate:+.2f} points of accuracy, {interval} ({difference.kind.partition(' % ')[2]})",
            ),
            ("B is worse", f"one-sided p = {gate.p_value:.2g} ({gate.test})"),
            ("agreement", f"{both.share:.2f} % of the images right or wrong with both, Cohen's kappa {both.kappa:.2f}"),
        ],
        tablefmt="plain",
        disable_numparse=True,
    )


def _accuracy(record: results.Record) -> float:
    return record.value if record.metric == "accuracy_percent" else 100 - record.value

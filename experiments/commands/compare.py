"""`dcgan-eval compare A B`: two measured networks, image by image, from their records alone; a regression gate."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from tabulate import tabulate

import results
from experiments.commands import eval as eval_commands
from experiments.commands.options import Command, add_roots
from experiments.data.packed import PackedSet, open_packed
from experiments.measure import pairs as paired
from experiments.measure import protocols, supervised
from experiments.measure.protocols import PROTOCOLS, SUPERVISED
from experiments.measure.svm import EvalSpec, method
from experiments.measure.tables import table_names
from experiments.networks.backbones import resolve
from experiments.run import console
from experiments.run.errors import UserError
from results.records import RUN_ID

__all__ = ["add"]

KEPT = PROTOCOLS | SUPERVISED  # whose records tell which images were right
GATE = """exit codes: 0 B is not significantly worse than A, 1 it is, 2 a mistake.

The gate is one-sided: it closes where p of "B is worse than A" is at most --alpha, so that of two equally good networks
the second is turned away in at most that share of comparisons. It compares two networks, not two ways to train them.
"""


def add(command: Command) -> None:
    """Add the command."""
    compare = command(
        "compare",
        _compare,
        "Compare two measured networks on the same test images; exit 1 where B is significantly worse than A.",
        f"dcgan-eval compare 20261124-e6fb37bf 20261124-3908fc8f\n"
        f"  dcgan-eval compare random:imagenet32 mynet.py:backbone --alpha 0.01\n\n{GATE}",
    )
    for name in ("A", "B"):
        compare.add_argument(name, help="a run id, or a target as of eval, whose newest record is taken")
    compare.add_argument("--table", choices=protocols.TABLES, default="cifar10", help="default: %(default)s")
    compare.add_argument("--protocol", help=f"{', '.join(PROTOCOLS)} (default: the run's, else the table's first)")
    compare.add_argument("--alpha", type=float, default=0.05, help="level of the gate (default: %(default)s)")
    add_roots(compare)


def _compare(arguments: argparse.Namespace) -> int:
    if not 0 < arguments.alpha < 1:
        raise UserError(f"--alpha must lie between 0 and 1, got {arguments.alpha:g}")
    a, b = _named(arguments)
    if what := paired.apart(a, b):
        raise UserError(f"{a.run_id} and {b.run_id} {what}: name runs that share them")
    gate = paired.compared(b, a, alternative="less")
    print(_summary(a, b, gate))
    print(f"\n{_classes(a, b, (arguments.data_root, arguments.runs_root))}")
    worse = gate.p_value <= arguments.alpha
    told = f"B is {'' if worse else 'not '}significantly worse than A"
    console.say(f"{told}: one-sided p = {gate.p_value:.2g}, alpha = {arguments.alpha:g}")
    return 1 if worse else 0


def _named(arguments: argparse.Namespace) -> list[results.Record]:
    """The records of A and B. Raises UserError with the command that makes a missing one."""
    texts, recorded = (arguments.A, arguments.B), _recorded(arguments.runs_root)
    runs = {text: [r for r in recorded if r.run_id == text] for text in texts if RUN_ID.fullmatch(text)}
    for text, found in runs.items():
        if not found:
            where = f"{eval_commands.RECORDS} or {arguments.runs_root / 'records'}"
            raise UserError(f"no run {text} in {where}; the column provenance of the tables names runs")
    whole = [r.protocol for found in runs.values() for r in found if paired.has_outcomes(r)]
    named = [r.protocol for found in runs.values() for r in found]
    protocol = arguments.protocol or next(iter([*whole, *named]), protocols.protocol_of(arguments.table, None))
    return [_of_run(runs[text], protocol) if text in runs else _of_target(text, protocol, recorded) for text in texts]


def _recorded(runs_root: Path) -> list[results.Record]:
    """All records at hand, the newest last."""
    folders = eval_commands.RECORDS, runs_root / "records"
    files = [folder / f"{table}.jsonl" for folder in folders for table in table_names()]
    return sorted((r for file in files for r in results.read_records(file)), key=lambda r: r.started)


def _of_run(found: Sequence[results.Record], protocol: str) -> results.Record:
    fits = [r for r in found if r.protocol == protocol]
    if not fits:
        has = ", ".join(dict.fromkeys(r.protocol for r in found))
        raise UserError(f"run {found[0].run_id} was not measured by {protocol} but by {has}: name runs of one protocol")
    return _with_outcomes(fits)


def _of_target(text: str, protocol: str, recorded: Sequence[results.Record]) -> results.Record:
    """The newest record that `dcgan-eval eval` would make of a target by default: same name, weights and protocol."""
    if protocol not in PROTOCOLS or text.startswith(supervised.PREFIX):
        raise UserError(f"{text!r} by {protocol} is named by its run id alone; the tables show it as provenance")
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
    if kept := [r for r in fits if paired.has_outcomes(r)]:
        return kept[-1]
    last = fits[-1]
    if last.protocol not in KEPT:
        raise UserError(f"which images were right is kept of {', '.join(KEPT)}, not of {last.protocol}")
    again = shlex.join([*last.command, *([] if "--fresh" in last.command else ["--fresh"])])
    raise UserError(f"run {last.run_id} does not tell which images were right; measure it again: {again}")


def _classes(a: results.Record, b: results.Record, roots: Sequence[Path]) -> str:
    """A row for each class; of test images whose labels are not at hand in a packed set, a line that says so."""
    name = f"{KEPT[a.spec['protocol']].data}-test"
    packed = next((p for p in _packed(name, roots) if p.digest == a.inputs["test"]), None)
    if packed is None or packed.labels is None:
        return f"no classes: the labels of these test images are not at hand; dcgan-eval data {name} gets the set"
    names, rows = packed.meta.get("class_names"), paired.by_class(a, b, packed.labels)
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


def _packed(name: str, roots: Sequence[Path]) -> Iterator[PackedSet]:
    for root in roots:
        try:
            yield open_packed(root / "packed" / name)
        except (FileNotFoundError, ValueError):  # none, or damaged: to be packed again by those who need its images
            continue


def _summary(a: results.Record, b: results.Record, gate: paired.Comparison) -> str:
    both, difference = paired.agreement(a, b), gate.difference
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

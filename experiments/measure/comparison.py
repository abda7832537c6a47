"""Compare two records in text: the difference, the gate's test, the agreement, and every class."""

from contextlib import suppress

from tabulate import tabulate

import results
from experiments.data.packed import PackedSet, open_packed
from experiments.measure.pairs import Comparison, agreement, by_class
from experiments.measure.protocols import PROTOCOLS, SUPERVISED
from experiments.run.context import Run


def classes(a: results.Record, b: results.Record, run: Run) -> str:
    """Make a table with a row for each class; a line instead if no packed set with these test images is at hand."""
    name = f"{(PROTOCOLS | SUPERVISED)[a.spec['protocol']].data}-test"
    packed = _packed_set(name, a.inputs["test"], run)
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
    without = "\nno p: these records do not hold the draws of each class; eval --fresh measures them again"
    return table + (without if rows[0].p_value is None else "")


def summary(a: results.Record, b: results.Record, gate: Comparison) -> str:
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


def _packed_set(name: str, digest: str, run: Run) -> PackedSet | None:
    """Return the packed set with exactly that digest; None if it is not at hand, or damaged."""
    for root in (run.data_root, run.runs_root):
        with suppress(FileNotFoundError, ValueError):
            if (packed := open_packed(root / "packed" / name)).digest == digest:
                return packed
    return None

"""Paired tests of two records, made only from their outcomes on the same test images and the same draws of labels."""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tabulate import tabulate

import evaluation
import results
from evaluation.statistics import Alternative
from experiments.data.packed import open_packed
from experiments.measure.labelled_images import Labelled
from experiments.measure.protocols import OWN, PROTOCOLS, SUPERVISED, Protocol, procedure
from experiments.run.console import WIDTH, shortened
from experiments.run.context import Run
from experiments.run.errors import UserError

COLUMNS = (
    *("method_a", "method_b", "protocol", "n_test", "n_runs", "difference", "ci95_low", "ci95_high"),
    *("interval", "test", "p_value", "provenance_a", "provenance_b"),
)


MOST_CLASSES = 20  # lines of a table for people


@dataclass(frozen=True)
class Comparison:
    """What a paired test found.

    difference: accuracy of a minus that of b, in percentage points, with its 95 % interval. test: the test used for p.
    """

    difference: evaluation.Interval
    test: str
    p_value: float


@dataclass(frozen=True)
class OfClass:
    """One class: number of test images, percent that a and b get right, p of the difference (None if unknown)."""

    label: int
    n_test: int
    a: float
    b: float
    p_value: float | None


def paired(table: results.Table, records: Iterable[results.Record]) -> pd.DataFrame:
    """Compare every two measured rows of a table whose records can be compared: one row per pair; see `compared`."""
    shown = [r for r in results.answering(table, records) if has_outcomes(r)]
    rows = [_row(a, b) for a, b in combinations(shown, 2) if not unlike(a, b)]
    return pd.DataFrame(rows, columns=COLUMNS)


def as_csv(table: results.Table, records: Iterable[results.Record]) -> bytes:
    """Write `paired` as CSV; only its header if nothing can be compared."""
    return paired(table, records).to_csv(index=False).encode()


def has_outcomes(record: results.Record) -> bool:
    """Return whether the record says which test images were right."""
    return "right" in record.outcomes or "right_draws" in record.outcomes


def unlike(a: results.Record, b: results.Record) -> str:
    """Return a clause that says what two records with outcomes do not share but must; empty if comparable."""
    for what, of in (
        ("protocols", lambda r: procedure(r.protocol)),
        ("test sets", lambda r: r.inputs["test"]),
        ("training sets", lambda r: r.inputs.get("train")),
        ("draws of labels", lambda r: (r.outcomes["labels"], r.n_runs)),
    ):
        if of(a) != of(b):
            return f"are of different {what}" + (f", {a.protocol} and {b.protocol}" if what == "protocols" else "")
    return ""


def protocols_of(a: results.Record, b: results.Record) -> str:
    """Return the protocol of two comparable records; both, if only one network has seen the photographs."""
    return a.protocol if a.protocol == b.protocol else f"{a.protocol} (A), {b.protocol} (B)"


def compared(a: results.Record, b: results.Record, *, alternative: Alternative = "two-sided") -> Comparison:
    """Compare the accuracies of a and b: difference a minus b, its 95 % interval, and the p-value of `alternative`.

    If all labels were fitted at once, this is McNemar's exact test and a paired bootstrap over test images; it holds
    for these networks and this training set. For draws of labels it is a t test over images and draws, corrected for
    the rows that draws share.
    """
    if "right" in a.outcomes:
        right = [_share(r).astype(bool) for r in (a, b)]
        p = evaluation.mcnemar(*right, alternative=alternative).p_value
        return Comparison(evaluation.paired_bootstrap(*right), "McNemar, exact", p)
    images = [100 * _share(r) for r in (a, b)]
    draws = [np.array(r.outcomes["accuracy_percent"]) for r in (a, b)]
    return _over_draws(a, images, draws, alternative)


def of_draws(record: results.Record) -> evaluation.Interval:
    """Return the accuracy of a record of several draws in percent, with its 95 % interval over images and draws."""
    zeros = [np.zeros(record.n_test), np.zeros(record.n_runs)]
    images, draws = 100 * _share(record), np.array(record.outcomes["accuracy_percent"])
    overlap = _protocol(record).overlap
    return evaluation.paired_over_draws(images, zeros[0], draws, zeros[1], overlap=overlap).difference


def agreement(a: results.Record, b: results.Record) -> evaluation.Agreement:
    """Measure how far a and b are right on the same test images. An image counts as right if half of its draws are."""
    return evaluation.agreement(*(_share(r) >= 0.5 for r in (a, b)))


def by_class(a: results.Record, b: results.Record, labels: NDArray[np.int64]) -> list[OfClass]:
    """Compare each class of the test images. p is two-sided and corrected for the number of classes (Holm).

    labels: int64 [n_test], the classes of the test images.
    """
    shares = [_share(r) for r in (a, b)]
    rows, raw = [], []
    for column, label in enumerate(np.unique(labels)):
        own = labels == label
        of_a, of_b = (s[own] for s in shares)
        if "right" in a.outcomes:
            raw.append(evaluation.mcnemar(of_a.astype(bool), of_b.astype(bool)).p_value)
        elif all("class_accuracy_percent" in r.outcomes for r in (a, b)):
            draws = [np.array(r.outcomes["class_accuracy_percent"])[:, column] for r in (a, b)]
            raw.append(_over_draws(a, [100 * of_a, 100 * of_b], draws).p_value)
        rows.append((int(label), int(own.sum()), 100 * float(of_a.mean()), 100 * float(of_b.mean())))
    corrected = evaluation.holm(raw).tolist() if raw else [None] * len(rows)
    return [OfClass(*row, p) for row, p in zip(rows, corrected, strict=True)]


def _over_draws(
    record: results.Record,
    images: Sequence[NDArray[np.float64]],
    draws: Sequence[NDArray[np.float64]],
    alternative: Alternative = "two-sided",
) -> Comparison:
    overlap = _protocol(record).overlap
    found = evaluation.paired_over_draws(*images, *draws, overlap=overlap, alternative=alternative)
    return Comparison(found.difference, "paired t over images and draws", found.p_value)


def _share(record: results.Record) -> NDArray[np.float64]:
    """Return the share of the fits in which each test image was right, [n_test] in 0..1."""
    if "right" in record.outcomes:
        packed = np.frombuffer(bytes.fromhex(record.outcomes["right"]), np.uint8)
        return np.unpackbits(packed, count=record.n_test).astype(float)
    return np.frombuffer(bytes.fromhex(record.outcomes["right_draws"]), np.uint8) / record.n_runs


def _protocol(record: results.Record) -> Protocol:
    name, known = record.spec.get("protocol"), PROTOCOLS | SUPERVISED
    if not isinstance(name, str) or name not in known:
        raise UserError(f"run {record.run_id} names no known protocol in its spec: {name!r}; measure it again")
    return known[name]


def _row(a: results.Record, b: results.Record) -> dict[str, Any]:
    found = compared(a, b)
    return {
        "method_a": a.method,
        "method_b": b.method,
        "protocol": protocols_of(a, b),
        "n_test": a.n_test,
        "n_runs": a.n_runs,
        "difference": f"{found.difference.estimate:.2f}",
        "ci95_low": f"{found.difference.low:.2f}",
        "ci95_high": f"{found.difference.high:.2f}",
        "interval": found.difference.kind,
        "test": found.test,
        "p_value": f"{found.p_value:.2g}",
        "provenance_a": a.run_id,
        "provenance_b": b.run_id,
    }


def comparison_object(a: results.Record, b: results.Record, gate: Comparison, run: Run) -> dict[str, Any]:
    """Return what `compare --json` prints, without the gate's verdict. Without labels, `classes` is empty."""
    both, difference, classes = agreement(a, b), gate.difference, _classes(a, b, run)
    return {
        **{
            letter: {"method": r.method, "run_id": r.run_id, "accuracy_percent": _accuracy(r)}
            for letter, r in (("a", a), ("b", b))
        },
        "protocol": protocols_of(a, b),
        "n_test": a.n_test,
        "n_runs": a.n_runs,
        "difference": difference.estimate,
        "interval": [difference.low, difference.high],
        "interval_kind": difference.kind,
        "test": gate.test,
        "p_value": gate.p_value,
        "agreement_percent": both.share,
        "kappa": None if math.isnan(both.kappa) else both.kappa,
        "classes": [] if isinstance(classes, str) else [vars(row) for row in classes[0]],
    }


def _classes(a: results.Record, b: results.Record, run: Run) -> tuple[list[OfClass], list[str] | None] | str:
    """Compare the classes, and return their names, if the set has some. Without labels, return a line that says so."""
    if a.table == OWN:
        return "no classes: the labels of own arrays are not kept"
    name = _protocol(a).parts[1]
    for root in (run.data_root, run.runs_root):
        with suppress(FileNotFoundError, ValueError, UserError):  # a set that is missing, damaged or another
            packed = open_packed(root / "packed" / name)
            if packed.labels is None:
                continue
            part = Labelled(packed.images, packed.labels, packed.digest)
            if (subset := a.spec.get("subset")) is not None:
                part = part.subset(int(subset) // 5, int(a.spec["seed"]))
            if part.digest == a.inputs["test"]:
                return by_class(a, b, part.labels), packed.meta.get("class_names")
    return f"no classes: no labels of these test images are at hand; dcgan-eval data {name} gets them"


def class_table(a: results.Record, b: results.Record, run: Run) -> str:
    """Make a table with a row for each class; if no packed set with these test images is found, a line that says so."""
    found = _classes(a, b, run)
    if isinstance(found, str):
        return found
    rows, names = found
    shown = sorted(sorted(rows, key=lambda row: -abs(row.b - row.a))[:MOST_CLASSES], key=lambda row: row.label)
    table = tabulate(
        [
            (
                shortened(str(names[row.label]), 30) if names else row.label,
                *(f"{row.n_test:,}", f"{row.a:.2f}", f"{row.b:.2f}", f"{row.b - row.a:+.2f}"),
                "" if row.p_value is None else f"{row.p_value:.2g}",
            )
            for row in shown
        ],
        headers=("class", "images", "A %", "B %", "B less A", "p (Holm)"),
        tablefmt="plain",
        disable_numparse=True,
        colalign=("left", *("right",) * 5),
    )
    without = "\nno p: these records lack the accuracies of each class; eval --fresh measures them again"
    more = (
        f"\nand {len(rows) - len(shown)} classes that differ less; --json prints all" if len(rows) > len(shown) else ""
    )
    return table + more + (without if rows[0].p_value is None else "")


def summary(a: results.Record, b: results.Record, gate: Comparison) -> str:
    """Return a table for people: both records, B less A with its interval, p that B is worse, and the agreement."""
    both, difference = agreement(a, b), gate.difference
    draws = "" if a.n_runs == 1 else f", {a.n_runs} draws of labels"
    interval = f"95 % {difference.low:+.2f} to {difference.high:+.2f}"
    kind = difference.kind.removeprefix("95 % ").removeprefix("percentile ").replace(" interval", "")
    return tabulate(
        [
            ("A", _named(a)),
            ("B", _named(b)),
            ("on", f"{protocols_of(a, b)}: {a.n_test:,} test images{draws}"),
            ("B less A", f"{difference.estimate:+.2f} points of accuracy, {interval} ({kind})"),
            ("B is worse", f"one-sided p = {gate.p_value:.2g} ({gate.test})"),
            ("agreement", f"{both.share:.2f} % of the images right or wrong with both, Cohen's kappa {both.kappa:.2f}"),
        ],
        tablefmt="plain",
        disable_numparse=True,
    )


def _named(record: results.Record) -> str:
    figure = f": {_accuracy(record):.2f} % (run {record.run_id})"
    return shortened(record.method, WIDTH - 12 - len(figure)) + figure  # 12: the first column


def _accuracy(record: results.Record) -> float:
    return 100 - record.value if record.metric == "error_percent" else record.value

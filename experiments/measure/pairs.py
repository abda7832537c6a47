"""Paired tests of two records, made only from their outcomes on the same test images and the same draws of labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import evaluation
import results
from evaluation.statistics import Alternative
from experiments.measure.protocols import PROTOCOLS

COLUMNS = (
    *("method_a", "method_b", "protocol", "n_test", "n_runs", "difference", "ci95_low", "ci95_high"),
    *("interval", "test", "p_value", "provenance_a", "provenance_b"),
)


@dataclass(frozen=True)
class Comparison:
    """What a paired test found.

    difference: accuracy of a minus that of b, in percentage points, with its 95 % interval. test: the test that gave p.
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
    """Tell whether the record says which test images were right."""
    return "right" in record.outcomes or "right_draws" in record.outcomes


def unlike(a: results.Record, b: results.Record) -> str:
    """Say what two records with outcomes must share but do not, as a clause; empty if they can be compared."""
    for what, of in (
        ("protocols", lambda r: r.protocol),
        ("test sets", lambda r: r.inputs["test"]),
        ("training sets", lambda r: r.inputs.get("train")),
        ("draws of labels", lambda r: (r.outcomes["labels"], r.n_runs)),
    ):
        if of(a) != of(b):
            return f"are of different {what}" + (f", {a.protocol} and {b.protocol}" if what == "protocols" else "")
    return ""


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


def agreement(a: results.Record, b: results.Record) -> evaluation.Agreement:
    """Measure how far both are right on the same test images. With draws, an image is right if half of them are."""
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
    overlap = PROTOCOLS[record.spec["protocol"]].overlap
    found = evaluation.paired_over_draws(*images, *draws, overlap=overlap, alternative=alternative)
    return Comparison(found.difference, "paired t over images and draws", found.p_value)


def _share(record: results.Record) -> NDArray[np.float64]:
    """Return the share of the fits in which each test image was right, [n_test] in 0..1."""
    if "right" in record.outcomes:
        packed = np.frombuffer(bytes.fromhex(record.outcomes["right"]), np.uint8)
        return np.unpackbits(packed, count=record.n_test).astype(float)
    return np.frombuffer(bytes.fromhex(record.outcomes["right_draws"]), np.uint8) / record.n_runs


def _row(a: results.Record, b: results.Record) -> dict[str, Any]:
    found = compared(a, b)
    return {
        "method_a": a.method,
        "method_b": b.method,
        "protocol": a.protocol,
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

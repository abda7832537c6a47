"""Do two methods of a table differ? Paired tests from the records alone: same test images, same draws of labels."""

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

import evaluation
import results

COLUMNS = (
    *("method_a", "method_b", "protocol", "n_test", "n_runs", "difference", "ci95_low", "ci95_high"),
    *("interval", "test", "p_value", "provenance_a", "provenance_b"),
)


def paired(table: results.Table, records: Iterable[results.Record]) -> pd.DataFrame:
    """A row for every two measured rows of one protocol whose records hold what can be compared.

    difference: accuracy of a less that of b, in percentage points, with its 95 % interval over the test images. Of all
    labels fitted at once: a paired bootstrap, and McNemar's exact test. Over draws of labels: a t interval and test of
    each image's difference, averaged over the draws; the draws overlap, so that they are no sample to count.
    """
    records = list(records)
    shown = [r for row in table.rows if (r := _answering(row, records)) is not None and r.outcomes]
    rows = [
        _compared(a, b)
        for a, b in combinations(shown, 2)
        if (a.protocol, a.outcomes["labels"], a.inputs["test"]) == (b.protocol, b.outcomes["labels"], b.inputs["test"])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def as_csv(table: results.Table, records: Iterable[results.Record]) -> bytes:
    """`paired` as a file; its header alone where nothing can be compared."""
    return paired(table, records).to_csv(index=False).encode()


def _answering(row: Any, records: Sequence[results.Record]) -> results.Record | None:
    """The record that a measured row of a table shows."""
    if not isinstance(row, results.MeasuredRow):
        return None
    fits = [r for r in records if (r.method, r.protocol) == (row.method, row.protocol)]
    fits = [r for r in fits if r.run_id == row.run] if row.run else fits
    return fits[-1] if fits else None


def _compared(a: results.Record, b: results.Record) -> dict[str, Any]:
    same = {
        "method_a": a.method,
        "method_b": b.method,
        "protocol": a.protocol,
        "n_test": a.n_test,
        "n_runs": a.n_runs,
        "provenance_a": a.run_id,
        "provenance_b": b.run_id,
    }
    if "right" in a.outcomes:
        right = [_bits(r) for r in (a, b)]
        test, interval = evaluation.mcnemar(*right), evaluation.paired_bootstrap(*right)
        name, p = "McNemar, exact", test.p_value
    else:
        counts = [np.frombuffer(bytes.fromhex(r.outcomes["right_draws"]), np.uint8) for r in (b, a)]
        wrong = [100 - 100 / a.n_runs * count for count in counts]  # percent of the draws, an image each
        if np.ptp(wrong[0] - wrong[1]) == 0:  # alike on every image: nothing to test
            return same | {"difference": f"{wrong[0][0] - wrong[1][0]:.2f}", "test": "none, every image differs alike"}
        over = evaluation.paired_over_draws(*wrong)
        interval = dataclasses.replace(over.difference, kind=f"95 % t interval over {a.n_test:,} images")
        name, p = "paired t over images", over.p_value
    return same | {
        "difference": f"{interval.estimate:.2f}",
        "ci95_low": f"{interval.low:.2f}",
        "ci95_high": f"{interval.high:.2f}",
        "interval": interval.kind,
        "test": name,
        "p_value": f"{p:.2g}",
    }


def _bits(record: results.Record) -> np.ndarray:
    packed = np.frombuffer(bytes.fromhex(record.outcomes["right"]), np.uint8)
    return np.unpackbits(packed, count=record.n_test).astype(bool)

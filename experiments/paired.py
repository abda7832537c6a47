"""Do two methods of a table differ? Paired tests from the records alone: same test images, same draws of labels."""

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

    difference: accuracy of a less that of b, in percentage points, with its 95 % interval. With all labels fitted at
    once: a paired bootstrap over the test images, and McNemar's exact test. Over draws: the t interval and test of the
    draws' differences, which overlapping draws make look surer than they are.
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
        errors = [100 - np.array(r.outcomes["accuracy_percent"]) for r in (b, a)]  # accuracy of a less b's
        if np.ptp(errors[0] - errors[1]) < 1e-9:  # alike in every draw: nothing to test
            alike = float(errors[0][0] - errors[1][0])
            return same | {"difference": f"{alike:.2f}", "test": "none, every draw differs alike"}
        over = evaluation.paired_over_draws(*errors)
        interval, name, p = over.difference, "paired t over draws", over.p_value
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

"""Paired tests from records: the same test images, the same draws, and nothing that a table does not show."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import results
from experiments.paired import as_csv, paired

ROOT = Path(__file__).parents[2]
RECORD = results.read_records(ROOT / "results" / "runs" / "cifar10.jsonl")[0]


def record(method: str, outcomes: dict, run: str = "20260101-00000000", **changes) -> results.Record:
    inputs = {"test": changes.pop("test", "t")}
    return dataclasses.replace(
        RECORD, method=method, protocol="p", run_id=run, inputs=inputs, outcomes=outcomes, **changes
    )


def bits(right: np.ndarray) -> dict:
    return {"labels": "all", "right": np.packbits(right).tobytes().hex()}


def table(*methods: str) -> results.Table:
    rows = tuple(results.MeasuredRow(method=m, protocol="p") for m in methods)
    return results.Table(title="T", caption="C.", protocols={"p": "any"}, rows=rows)


def test_the_same_images() -> None:
    a, b = np.arange(103) < 90, (np.arange(103) < 60) | (np.arange(103) > 97)
    found = paired(table("a", "b"), [record(m, bits(r), n_test=103, n_runs=1) for m, r in (("a", a), ("b", b))])
    (row,) = found.to_dict("records")
    assert (row["method_a"], row["method_b"], row["n_test"], row["test"]) == ("a", "b", 103, "McNemar, exact")
    assert float(row["difference"]) == pytest.approx(100 * (30 - 5) / 103, abs=0.005)
    assert float(row["ci95_low"]) < float(row["difference"]) < float(row["ci95_high"])
    assert float(row["p_value"]) == pytest.approx(2.2e-5, rel=0.1)  # two-sided binomial, 5 or fewer of 35


def test_the_same_draws() -> None:
    values = {"a": [70.0, 71.0, 72.5], "b": [69.0, 69.5, 71.75]}
    records = [record(m, {"labels": "d", "accuracy_percent": v}, n_runs=3) for m, v in values.items()]
    (row,) = paired(table("a", "b"), records).to_dict("records")
    assert float(row["difference"]) == pytest.approx(np.mean([1.0, 1.5, 0.75]), abs=0.005)
    assert (row["test"], row["n_runs"]) == ("paired t over draws", 3)
    assert float(row["p_value"]) == pytest.approx(0.039, abs=0.0005)  # t = 4.91, 2 degrees of freedom


def test_draws_that_all_differ_alike_are_not_tested() -> None:
    values = {"a": [70.0, 71.0], "b": [69.0, 70.0]}
    records = [record(m, {"labels": "d", "accuracy_percent": v}, n_runs=2) for m, v in values.items()]
    (row,) = paired(table("a", "b"), records).to_dict("records")
    assert (row["difference"], row["test"]) == ("1.00", "none, every draw differs alike") and row["p_value"] != row[
        "p_value"
    ]


@pytest.mark.parametrize("change", [{"outcomes": {"labels": "other", "accuracy_percent": [1.0, 2.5]}}, {"test": "u"}])
def test_what_differs_in_draws_or_images_is_not_compared(change: dict) -> None:
    same = {"labels": "d", "accuracy_percent": [1.0, 2.0]}
    records = [record("a", same), record("b", **{"outcomes": same | {"accuracy_percent": [3.0, 4.5]}} | change)]
    assert len(paired(table("a", "b"), records)) == 0


def test_only_what_the_table_shows() -> None:
    right = np.arange(16) < 9
    records = [record(m, bits(right), n_test=16, n_runs=1) for m in "abc"]
    assert len(paired(table("a", "b", "c"), records)) == 3 and len(paired(table("a", "c"), records)) == 1
    assert len(paired(table("a", "b"), records[:1])) == 0
    assert as_csv(table("a"), records).decode().count("\n") == 1
    assert json.loads(results.records.record_to_json(records[0]))["outcomes"] == records[0].outcomes

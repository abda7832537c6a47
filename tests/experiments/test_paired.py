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


def drawn(*counts: int, labels: str = "d") -> dict:
    return {"labels": labels, "right_draws": bytes(counts).hex()}


def test_the_same_draws_over_images() -> None:
    """Three draws, four images: differences of 3, 2, 1 and 0 draws of three."""
    records = [record(m, d, n_runs=3, n_test=4) for m, d in (("a", drawn(3, 2, 2, 1)), ("b", drawn(0, 0, 1, 1)))]
    (row,) = paired(table("a", "b"), records).to_dict("records")
    assert (row["difference"], row["test"], row["n_runs"]) == ("50.00", "paired t over images", 3)
    assert row["interval"] == "95 % t interval over 4 images"
    assert float(row["ci95_high"]) - 50 == pytest.approx(3.1824 * 43.033 / 2, abs=0.01)  # t of 3, sd / sqrt(4)
    assert float(row["p_value"]) == pytest.approx(0.103, abs=0.005)  # t = 2.324, 3 degrees of freedom


def test_what_differs_alike_is_not_tested() -> None:
    records = [record(m, d, n_runs=2, n_test=3) for m, d in (("a", drawn(2, 1, 1)), ("b", drawn(1, 0, 0)))]
    (row,) = paired(table("a", "b"), records).to_dict("records")
    assert (row["difference"], row["test"]) == ("50.00", "none, every image differs alike")


@pytest.mark.parametrize("change", [{"outcomes": drawn(1, 2, labels="other")}, {"test": "u"}])
def test_what_differs_in_draws_or_images_is_not_compared(change: dict) -> None:
    records = [record("a", drawn(0, 1)), record("b", **{"outcomes": drawn(1, 2)} | change)]
    assert len(paired(table("a", "b"), records)) == 0


def test_only_what_the_table_shows() -> None:
    right = np.arange(16) < 9
    records = [record(m, bits(right), n_test=16, n_runs=1) for m in "abc"]
    assert len(paired(table("a", "b", "c"), records)) == 3 and len(paired(table("a", "c"), records)) == 1
    assert len(paired(table("a", "b"), records[:1])) == 0
    assert as_csv(table("a"), records).decode().count("\n") == 1
    assert json.loads(results.records.record_to_json(records[0]))["outcomes"] == records[0].outcomes

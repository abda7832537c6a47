"""Paired tests from records: the same test images, the same draws, and nothing that a table does not show."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import evaluation
import results
from experiments.measure.paired_tests import agreement, as_csv, by_class, compared, paired, unlike

ROOT = Path(__file__).parents[3]
RECORD = results.read_records(ROOT / "results" / "runs" / "cifar10.jsonl")[0]


def record(method: str, outcomes: dict, run: str = "20260101-00000000", **changes) -> results.Record:
    """One of cifar10/400-per-class, whose draws of 4,000 from 40,000 rows overlap by a tenth, under the name p."""
    inputs = {"test": changes.pop("test", "t"), "train": changes.pop("train", "u")}
    spec = {"protocol": "cifar10/400-per-class"}
    kept = {"protocol": "p", "run_id": run, "inputs": inputs, "outcomes": outcomes, "spec": spec}
    return dataclasses.replace(RECORD, **{"method": method} | kept | changes)


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


def drawn(*counts: int, draws: tuple[float, ...], labels: str = "d") -> dict:
    return {"labels": labels, "right_draws": bytes(counts).hex(), "accuracy_percent": list(draws)}


A, B = drawn(3, 2, 2, 1, draws=(50, 75, 75)), drawn(0, 0, 1, 1, draws=(25, 25, 0))


def test_the_same_draws_over_images_and_draws() -> None:
    """Three draws, four images: differences of 3, 2, 1 and 0 draws of three; of 25, 50 and 75 points."""
    records = [record(m, d, n_runs=3, n_test=4) for m, d in (("a", A), ("b", B))]
    (row,) = paired(table("a", "b"), records).to_dict("records")
    assert (row["difference"], row["test"], row["n_runs"]) == ("50.00", "paired t over images and draws", 3)
    assert row["interval"] == "95 % t interval over 4 images and 3 draws"
    of_images, of_draws = 43.033**2 / 4, 25**2 * (1 / 3 + 0.1 / 0.9)
    df = (of_images + of_draws) ** 2 / (of_images**2 / 3 + of_draws**2 / 2)
    half = stats.t.ppf(0.975, df) * np.sqrt(of_images + of_draws)
    assert float(row["ci95_high"]) - 50 == pytest.approx(half, abs=0.01)
    assert float(row["p_value"]) == pytest.approx(2 * stats.t.sf(50 / np.sqrt(of_images + of_draws), df), rel=0.05)
    a, b = records
    less, greater = (compared(a, b, alternative=side).p_value for side in ("less", "greater"))
    assert 2 * greater == pytest.approx(compared(a, b).p_value) and less + greater == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"outcomes": A | {"labels": "other"}}, "draws of labels"),
        ({"n_runs": 2}, "draws of labels"),
        ({"test": "other"}, "test sets"),
        ({"train": "other"}, "training sets"),
        ({"protocol": "q"}, "protocols, p and q"),
    ],
)
def test_what_differs_in_protocol_draws_or_images_is_not_compared(change: dict, what: str) -> None:
    a, b = record("a", A, n_runs=3, n_test=4), record("b", **{"outcomes": B, "n_runs": 3, "n_test": 4} | change)
    assert unlike(a, b) == f"are of different {what}" and unlike(a, a) == ""
    assert len(paired(table("a", "b"), [a, b])) == 0


def test_agreement_of_bits_and_of_most_draws() -> None:
    a, b = (
        record(m, bits(np.array(r, bool)), n_test=4, n_runs=1) for m, r in (("a", [1, 1, 0, 0]), ("b", [1, 0, 0, 0]))
    )
    assert agreement(a, b) == (75.0, 0.5)
    a, b = (record(m, d, n_runs=3, n_test=4) for m, d in (("a", A), ("b", B)))  # right: 3 of 4, none
    assert agreement(a, b).share == 25.0


def test_classes_of_one_fit() -> None:
    labels = np.arange(60) % 2
    right = np.ones(60, bool), (labels == 0) | (np.arange(60) < 40)  # ten images of class 1 are wrong with b
    even, odd = by_class(*(record(m, bits(r), n_test=60, n_runs=1) for m, r in zip("ab", right, strict=True)), labels)
    assert (even.label, even.n_test, even.a, even.b, even.p_value) == (0, 30, 100.0, 100.0, 1.0)
    assert (odd.label, odd.a) == (1, 100.0) and odd.b == pytest.approx(100 * 2 / 3)
    assert odd.p_value == pytest.approx(2 * 2 * 0.5**10)  # two tails, two classes


def test_classes_of_draws_need_each_draws_own() -> None:
    a, b = (record(m, d, n_runs=3, n_test=4) for m, d in (("a", A), ("b", B)))
    labels = np.array([3, 3, 7, 7])
    without = by_class(a, b, labels)
    assert [(row.label, row.p_value) for row in without] == [(3, None), (7, None)]
    assert [(row.a, row.b) for row in without] == [(pytest.approx(500 / 6), 0), (50, pytest.approx(200 / 6))]
    own = {"a": [[50, 50], [100, 50], [100, 50]], "b": [[0, 50], [0, 50], [0, 0]]}
    kept = [dataclasses.replace(r, outcomes=r.outcomes | {"class_accuracy_percent": own[r.method]}) for r in (a, b)]
    with_p = by_class(*kept, labels)
    alone = [
        evaluation.paired_over_draws([100, 200 / 3], [0, 0], [50, 100, 100], [0, 0, 0], overlap=0.1).p_value,
        evaluation.paired_over_draws(
            [200 / 3, 100 / 3], [100 / 3, 100 / 3], [50, 50, 50], [50, 50, 0], overlap=0.1
        ).p_value,
    ]
    assert [row.p_value for row in with_p] == pytest.approx(evaluation.holm(alone).tolist())


def test_only_what_the_table_shows() -> None:
    right = np.arange(16) < 9
    records = [record(m, bits(right), n_test=16, n_runs=1) for m in "abc"]
    assert len(paired(table("a", "b", "c"), records)) == 3 and len(paired(table("a", "c"), records)) == 1
    assert len(paired(table("a", "b"), records[:1])) == 0
    assert as_csv(table("a"), records).decode().count("\n") == 1
    assert json.loads(results.lines.to_json(records[0]))["outcomes"] == records[0].outcomes

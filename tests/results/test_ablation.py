"""The table of ablations: the newest record of each network, a row a variant, from the records alone."""

import csv
import io
from dataclasses import replace

from results import ABLATION_COLUMNS, Record, ablation_files


def variant(kind: str, name: str, accuracy: float) -> dict:
    interval = {"ci95_low": accuracy - 1.234, "ci95_high": accuracy + 1}
    return {"kind": kind, "variant": name, "features": 64, "C": 1e-3 * 3**7, "accuracy_percent": accuracy, **interval}


RECORD = Record(
    run_id="20261122-1a2b3c4d",
    table="ablation",
    method="DCGAN + L2-SVM",
    protocol="cifar10/ablation",
    metric="accuracy_percent",
    value=50.0,
    n_runs=1,
    n_test=10000,
    command=["dcgan-eval", "ablate"],
    spec={},
    inputs={},
    solver={"variants": [variant("protocol", "protocol", 50.0), variant("grid", "1x1", 37.126)]},
    versions={},
    hardware={},
    seconds={},
    started="2026-11-22T10:00:00Z",
)


def test_a_row_a_variant_of_the_newest_record_of_each_network() -> None:
    newer = replace(RECORD, run_id="20261123-1a2b3c4d", started="2026-11-23T10:00:00Z")
    other = replace(RECORD, method="random-init + L2-SVM", solver={"variants": [variant("layer", "conv1", 20.0)]})
    files = ablation_files("ablation", [newer, other, RECORD])
    assert list(files) == ["ablation.csv", "ablation.md"]
    rows = list(csv.DictReader(io.StringIO(files["ablation.csv"].decode())))
    assert tuple(rows[0]) == ABLATION_COLUMNS
    assert [(row["method"], row["variant"], row["provenance"]) for row in rows] == [
        ("random-init + L2-SVM", "conv1", "20261122-1a2b3c4d"),
        ("DCGAN + L2-SVM", "protocol", "20261123-1a2b3c4d"),
        ("DCGAN + L2-SVM", "1x1", "20261123-1a2b3c4d"),
    ]
    figures = [rows[2][name] for name in ("features", "C", "accuracy_percent", "ci95_low", "ci95_high", "n")]
    assert figures == ["64", "2.187", "37.13", "35.89", "38.13", "10000"]
    assert "training images held out" in files["ablation.md"].decode() and "| 1x1 " in files["ablation.md"].decode()


def test_no_record_no_table() -> None:
    assert ablation_files("ablation", []) == {}

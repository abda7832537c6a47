"""The table's rows: what was measured, and in words what could not be."""

import csv
import importlib.util

import pytest

from experiments.run.context import Run
from experiments.studies.benchmark_search import COLUMNS, KINDS, main


def rows(tmp_path, *arguments):
    out = tmp_path / "search.csv"
    main(["--sizes", "400", "--out", str(out), *arguments])
    with out.open() as file:
        return list(csv.DictReader(file))


def test_a_measured_row_and_one_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == "faiss" else module)
    ours, peer = rows(tmp_path, "--methods", "radius_pairs", "faiss IndexBinaryFlat")
    assert tuple(ours) == COLUMNS
    assert (ours["n_runs"], ours["pairs"], ours["exact"]) == ("1", "20", "True")
    assert 0 < float(ours["seconds"]) < 60 and 0 < float(ours["peak_rss_gib"]) < 4
    assert (peer["n_runs"], peer["seconds"], peer["note"]) == ("0", "", "not installed")


def test_a_run_that_takes_too_long_says_so(tmp_path):
    (row,) = rows(tmp_path, "--methods", "radius_pairs", "--limit", "0.01")
    assert row["note"] == "more than 0.01 s" and row["seconds"] == ""


@pytest.mark.parametrize("kind", ["random", "dense", "equal"])
def test_codes_are_the_same_each_time(kind, tmp_path):
    first, again = (KINDS[kind](1000, 4, Run(tmp_path, tmp_path)) for _ in range(2))
    assert first.dtype == "uint64" and (first == again).all()

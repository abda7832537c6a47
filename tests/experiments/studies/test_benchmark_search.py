"""The table's rows: what was measured, and in words what could not be."""

import csv
import importlib.metadata

import pytest

from experiments.studies import benchmark_search as search_benchmarks


def rows(monkeypatch, tmp_path, *arguments):
    out = tmp_path / "search.csv"
    monkeypatch.setattr("sys.argv", ["search_benchmarks", "--sizes", "400", "--out", str(out), *arguments])
    assert search_benchmarks.main() == 0
    with out.open() as file:
        return list(csv.DictReader(file))


def test_a_measured_row_and_one_not_installed(monkeypatch, tmp_path):
    def absent(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    ours, peer = rows(monkeypatch, tmp_path, "--methods", "radius_pairs", "faiss IndexBinaryFlat")
    assert tuple(ours) == search_benchmarks.COLUMNS
    assert (ours["n_runs"], ours["pairs"], ours["exact"]) == ("1", "20", "True")
    assert 0 < float(ours["seconds"]) < 60 and 0 < float(ours["peak_rss_gib"]) < 4
    assert (peer["n_runs"], peer["seconds"], peer["note"]) == ("0", "", "not installed")


def test_a_run_that_takes_too_long_says_so(monkeypatch, tmp_path):
    (row,) = rows(monkeypatch, tmp_path, "--methods", "radius_pairs", "--limit", "0.01")
    assert row["note"] == "more than 0.01 s" and row["seconds"] == ""


@pytest.mark.parametrize("kind", ["random", "dense", "equal"])
def test_codes_are_the_same_each_time(kind):
    first, again = (search_benchmarks.KINDS[kind](1000, 4) for _ in range(2))
    assert first.dtype == "uint64" and (first == again).all()

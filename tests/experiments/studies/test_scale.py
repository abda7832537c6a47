"""The studies of the solver beyond one machine, at a small size."""

import re

import numpy as np
import pandas as pd
import pytest

from evaluation import streamed
from experiments.studies.scale import larger_than_memory, many_classes, several_processes


def test_a_file_is_streamed_and_its_passes_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(streamed, "MEMORY_SHARE", 0)
    arguments = [str(tmp_path / "X.f16"), "--gigabytes", "0.003", "--width", "300", "--out", str(tmp_path / "out.csv")]
    larger_than_memory.main(arguments)
    (row,) = pd.read_csv(tmp_path / "out.csv").to_dict("records")
    assert row["rows"] == 5000 and (tmp_path / "X.f16").stat().st_size == 5000 * 300 * 2
    assert row["gap"] <= 1e-2 and row["passes"] >= 1 and row["plain_read_s"] > 0
    assert 0 < row["lowest_share"] <= row["rate_share"]
    assert len(re.findall(r"pass \d+: .* plain reads", "".join(capsys.readouterr()))) == row["passes"]
    before = (tmp_path / "X.f16").stat().st_mtime_ns
    larger_than_memory.main(arguments)
    assert (tmp_path / "X.f16").stat().st_mtime_ns == before  # it is written once


def test_times_are_compared_round_by_round():
    def run(seconds: float, objective: float, predicted: list[int]) -> dict:
        found = {"seconds": seconds, "C": 1.0, "grid": [], "gap": 0.0}
        return found | {"objective": [objective, 2.0], "predicted": predicted}

    alone = [run(1.0, 1.0, [0, 1]), run(4.0, 1.0, [0, 1]), run(10.0, 1.0, [0, 1])]
    row = several_processes.compared(
        "two", [run(2.0, 1.0, [0, 1]), run(4.0, 1.0, [0, 1]), run(5.0, 1.1, [0, 0])], alone
    )
    assert row["seconds"] == 4.0 and row["ratio"] == 1.0
    assert row["objective_difference"] == pytest.approx(0.1) and row["equal_predictions"] == 0.5


def test_many_classes_are_compared_at_one_objective(tmp_path, capsys):
    arguments = ["--rows", "600", "--width", "40", "--classes", "30", "--C", "0.1", "--compared", "3", "--repeats", "1"]
    many_classes.main([*arguments, "--out", str(tmp_path / "out.csv")])
    ours, *theirs = pd.read_csv(tmp_path / "out.csv").to_dict("records")
    assert ours["classes"] == 30 and ours["gap"] <= 1e-3 and 0 < ours["accuracy"] < 1
    assert [row["class"] for row in theirs] == [0, 14, 29]
    assert all(abs(row["objective_ratio"] - 1) <= 2e-3 and row["seconds_a_class"] > 0 for row in theirs)
    assert "times as long as L2SVM" in capsys.readouterr().out


@pytest.mark.slow
def test_processes_find_what_one_finds(tmp_path):
    several_processes.main(
        [
            str(tmp_path / "X.npy"),
            "--rows",
            "3000",
            "--width",
            "300",
            "--rounds",
            "1",
            "--out",
            str(tmp_path / "out.csv"),
        ]
    )
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table["run"]) == list(several_processes.RUNS)
    assert table["same_accuracies"].all() and (table["objective_difference"] < 1e-6).all()
    assert (table["equal_predictions"] >= 0.9999).all() and np.isfinite(table["seconds"]).all()

"""The study of reading minibatches: what it prints, and what it calls idle."""

import os

import pytest

from experiments.studies.benchmark_reading import __main__ as study


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the study needs Linux")
def test_three_sets_are_read_in_both_ways_and_the_file_is_removed(tmp_path, capsys):
    small = ["--images", "8192", "--minibatches", "5", "--repeats", "1"]
    assert study.main(["--folder", str(tmp_path), *small]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split("|")[1].strip() for row in rows] == ["array in memory", "file in memory", "file on the disk"]
    assert {row.count("|") for row in rows} == {head.count("|")} and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("minibatches_of_time", "share"),
    [
        (0.0, 0.0),
        (0.5, 0.5 / 4.5),  # only the first is waited for: the others are loaded while the stand-in works
        (2.0, 5 / 9),
    ],
)
def test_the_stand_in_is_idle_while_it_has_no_minibatch(monkeypatch, minibatches_of_time, share):
    now = [100.0]

    def pass_by(seconds):
        now[0] += seconds

    monkeypatch.setattr(study.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(study.time, "sleep", pass_by)
    loading = minibatches_of_time * study.BATCH / study.RATE
    assert study.idle(lambda step: pass_by(loading), 4) == pytest.approx(share)

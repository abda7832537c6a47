"""Kills of a training run, in processes of its own; DCGAN_KILLS sets how often (3; the study: 100, of all commands)."""

import os

import pytest

from experiments.studies.reliability import kills


@pytest.mark.slow
def test_a_killed_run_ends_as_the_uninterrupted_one(pool):
    n = int(os.environ.get("DCGAN_KILLS", "3"))
    found = list(kills.verdicts(pool, n, 1, commands=["train"]))
    assert len(found) == n and [verdict for verdict in found if verdict.bad] == []


def test_outputs_are_compared_without_when_and_where(tmp_path):
    command = kills.COMMANDS["look"]
    for name, seconds in (("a", 1), ("b", 2)):
        (tmp_path / name / "out").mkdir(parents=True)
        (tmp_path / name / "out" / "record.json").write_text(f'{{"seconds": {seconds}, "seed": 3}}')
        (tmp_path / name / "out" / ".walk.png.1.partial").write_bytes(b"left by a kill")
    assert kills.outputs(tmp_path / "a", command) == kills.outputs(tmp_path / "b", command) != {}
    (tmp_path / "b" / "out" / "record.json").write_text('{"seconds": 2, "seed": 4}')
    assert kills.outputs(tmp_path / "a", command) != kills.outputs(tmp_path / "b", command)

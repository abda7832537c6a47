"""A run killed in the middle, in processes of its own; DCGAN_KILLS sets how often (3; the study: 20)."""

import os

import pytest

from experiments.studies import kills


@pytest.mark.slow
def test_a_killed_run_ends_as_the_uninterrupted_one(tmp_path):
    n = int(os.environ.get("DCGAN_KILLS", "3"))
    found, different = kills.compare(tmp_path, kills=n, images=1200 * n, seed=1)
    assert different == []
    assert len(found) == n and {kill.signal for kill in found} <= {"SIGKILL", "SIGTERM", "SIGINT", "none"}
    assert any(kill.saved_step for kill in found)  # not all before the first checkpoint
    for kill in found:
        assert kill.written_step >= kill.saved_step  # the curve is never behind the state


def test_a_run_that_differs_is_seen(tmp_path):
    for run, content in (("a", b"same"), ("b", b"same")):
        (tmp_path / run).mkdir()
        for name in kills.COMPARED:
            (tmp_path / run / name).write_bytes(content)
    assert kills.differing(tmp_path / "a", tmp_path / "b") == []
    (tmp_path / "b" / "losses.csv").write_bytes(b"sane")
    (tmp_path / "a" / "generator.safetensors").unlink()
    assert kills.differing(tmp_path / "a", tmp_path / "b") == ["generator.safetensors", "losses.csv"]

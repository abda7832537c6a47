"""Free memory, of the machine and of a control group, and what does not fit into it."""

from pathlib import Path

import pytest

from experiments.run import memory
from experiments.run.errors import UserError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 4,096,000 bytes free, in a control group without a limit."""
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:   4000 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 600000\ninactive_file 300000\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    (tmp_path / "own").write_text("1:cpu:/elsewhere\n0::/\n")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    return tmp_path


def test_a_control_group_lowers_what_is_free(machine: Path) -> None:
    assert memory.available() == 4_096_000
    (machine / "memory.max").write_text("2000000\n")
    assert memory.available() == 2_000_000 - 900_000 + 300_000
    (machine / "memory.max").write_text("20000000\n")
    assert memory.available() == 4_096_000


def test_a_limit_of_any_group_above_counts(machine: Path) -> None:
    (machine / "own").write_text("0::/batch/job_1/step\n")
    step = machine / "batch" / "job_1" / "step"
    step.mkdir(parents=True)
    for folder, limit in ((step, "max"), (step.parent, "3000000")):  # the folder "batch" has no files
        (folder / "memory.max").write_text(limit)
        (folder / "memory.current").write_text("500000\n")
        (folder / "memory.stat").write_text("inactive_file 100000\n")
    assert memory.available() == 3_000_000 - 500_000 + 100_000
    (machine / "own").unlink()
    assert memory.available() == 4_096_000


def test_where_nothing_is_known_nothing_is_refused(machine: Path) -> None:
    (machine / "meminfo").unlink()
    assert memory.available() is None
    memory.check_memory(10**30, "a run", "do less")


def test_what_does_not_fit_is_one_line_with_both_numbers(machine: Path) -> None:
    memory.check_memory(4_096_000, "a run", "do less")
    (machine / "meminfo").write_text("MemAvailable: 2000000 kB\n")
    with pytest.raises(UserError, match=r"^a run takes at least 3\.0 GB, 2\.0 GB are free: do less$"):
        memory.check_memory(3 * 10**9, "a run", "do less")

"""Files written whole or not at all, by one process or by two."""

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

import features
from experiments.run.errors import UserError, one_line
from experiments.run.files import append_bytes, check_own, write_bytes


def test_two_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def after_another(temporary: Path, file: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        write_bytes(file, b"another")
        replace(temporary, file)

    monkeypatch.setattr(os, "replace", after_another)
    write_bytes(tmp_path / "x", b"this")
    assert (tmp_path / "x").read_bytes() == b"this" and os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt("stopped")])
def test_an_error_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def full(*_: object) -> None:
        raise error

    write_bytes(tmp_path / "x", b"old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(type(error)):
        write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old" and os.listdir(tmp_path) == ["x"]


def store(file: Path, content: bytes) -> None:
    width = len(content) // 4
    features.FeatureStore(file.parent, {"of": file.name}, rows=1, width=width)


@pytest.mark.parametrize("write", [write_bytes, append_bytes, store])
def test_a_write_that_fails_names_its_file_and_the_fix(write: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    """A system's own error of a write names none. Python ignores the signal that a limit sends."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            write(tmp_path / "a file", bytes(8192))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    line = one_line(raised.value)
    assert str(tmp_path) in line and "ulimit -f" in line and "partial" not in line
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_an_error_of_the_disk_has_a_fix_and_no_control_characters(number: int) -> None:
    line = one_line(OSError(number, os.strerror(number), b"/a\x1b\n\xff"))
    assert line.startswith(os.strerror(number)) and r": /a\x1b \xff; " in line and "RUNS_ROOT" in line


def test_files_of_another_program_are_not_replaced(tmp_path):
    check_own(tmp_path / "absent", ["a"], "mark")
    check_own(tmp_path, ["a"], "mark")
    (tmp_path / "a").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"a would be replaced, but .* \(it holds no mark\); choose another folder"):
        check_own(tmp_path, ["b", "a"], "mark")
    (tmp_path / "mark").touch()
    check_own(tmp_path, ["b", "a"], "mark")

"""Files written whole or not at all, by one process or by two."""

import os
from pathlib import Path

import pytest

from experiments.run.files import write_bytes


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

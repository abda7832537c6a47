"""The Makefile hands values on as they are, and removes only caches."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def made(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder, in which `dcgan-eval` prints its arguments, one a line."""
    for name in ("pyproject.toml", "constraints.txt", ".venv/bin/dcgan-eval", ".venv/.ready"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (folder / ".venv/bin/dcgan-eval").chmod(0o755)
    command = ["make", "--silent", "-f", str(MAKEFILE), *words]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "value", ["two words", "`touch executed`", '"; touch executed; "', "it's", "$(touch executed)"]
)
def test_a_value_is_one_argument_and_nothing_of_it_is_executed(tmp_path: Path, value: str) -> None:
    given = value.replace("$", "$$")  # as one writes a dollar for make
    words = [f"{name}={given}" for name in ("SET", "AGAINST", "METHOD", "PROTOCOL", "GENERATOR", "SAMPLES")]
    assert made(tmp_path, "dedup", *words).stdout.splitlines() == [
        "dedup",
        value,
        "--against",
        value,
        "--method",
        value,
    ]
    assert made(tmp_path, "svhn-eval", *words).stdout.splitlines()[-2:] == ["--protocol", value]
    ended = ["eval", value, "--table", "mnist", "--samples", value]
    assert made(tmp_path, "mnist-eval", *words).stdout.splitlines()[-6:] == ended
    assert not (tmp_path / "executed").exists()


def test_what_nobody_set_is_left_out(tmp_path: Path) -> None:
    assert made(tmp_path, "dedup", "AGAINST=").stdout.split() == [
        "dedup",
        "cifar10-test",
        "--method",
        "near-duplicates",
    ]
    assert made(tmp_path, "svhn-eval").stdout.split() == ["eval", "--table", "svhn"]
    ended = made(tmp_path, "mnist-eval")
    assert ended.returncode == 0 and ended.stdout.splitlines()[-4:] == ["eval", "real", "--table", "mnist"]


@pytest.mark.parametrize(("roots", "left"), [((), True), (("DATA_ROOT=runs",), False), (("HOME=runs",), False)])
def test_clean_spares_folders_that_may_be_the_users(tmp_path: Path, roots: tuple[str, ...], left: bool) -> None:
    (tmp_path / "runs/photos").mkdir(parents=True)
    (tmp_path / "runs/records").mkdir()
    ended = made(tmp_path, "clean", *roots)
    assert (tmp_path / "runs/photos").exists() != left and (tmp_path / "runs/records").exists()
    assert (ended.returncode == 0) == left and ("by hand" in ended.stderr) != left

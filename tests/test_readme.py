"""The README: its length, its links, and every command and every program in it, run as printed."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import cli
from tests.workplace import learnable

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.S)
PROGRAMS = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [line for language, text in BLOCKS if not language for line in text.splitlines()]
OURS = [line for line in COMMANDS if line.startswith("dcgan-eval")]


def test_it_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) < 136
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) > 10 and [link for link in links if not (ROOT / link).exists()] == []


def test_every_block_is_run_here() -> None:
    assert len(PROGRAMS) == 2 and len(OURS) == 7
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M)
    others = [shlex.split(line, comments=True) for line in COMMANDS if line not in OURS]
    assert others and all(words[0] == "make" and words[1] in targets for words in others)


@pytest.fixture
def folder(workplace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with mynet.py, CIFAR-10's packed sets beside it."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 2000), ("test", 500)):
        workplace.pack(f"cifar10-{split}", *learnable(n, rng))
    (workplace.root / "mynet.py").write_text(PROGRAMS[0])
    monkeypatch.chdir(workplace.root)
    return workplace.root


@pytest.mark.parametrize("command", OURS, ids=lambda line: line.partition("#")[0].strip())
def test_a_command_runs_as_printed(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = shlex.split(command, comments=True)[1:]
    assert cli.main(arguments) == 0
    told = capsys.readouterr()
    assert told.out.strip() or told.err.strip()


def test_the_library_program_runs_as_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    found: dict = {}
    exec(PROGRAMS[1], found)
    assert (found["X"].dtype, found["X"].shape) == (np.float32, (200, 1024))
    assert found["svm"].coef_.shape == (10, 1024) and found["pairs"].shape[1] == 2

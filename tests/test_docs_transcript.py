"""The transcript of docs/your-network.md: few commands, short lines, and the lines that the commands print now."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from docs.tools import transcript
from tests.printed import blocks
from tests.workplace import learnable

PRINTED = transcript.PAGE.read_text()


def shape(text: str) -> list[str]:
    """The lines of a transcript without figures, run ids and verdicts."""
    text = re.sub(r"run \d{8}-[0-9a-f]{8}", "run ID", "".join(transcript.BLOCK.findall(text)))
    text = re.sub(r"[+-]?\d[\d.,]*(e[+-]?\d+)?", "0", text).replace(" not significantly", " significantly")
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def data(workplace) -> Path:
    rng = np.random.default_rng(0)
    for split, n in (("train", 1010), ("test", 210)):
        images, labels = learnable(n, rng)
        workplace.pack(f"cifar10-{split}", images, np.where(rng.random(n) < 0.5, labels, np.arange(n) % 10))
    return workplace.root


def test_from_file_to_compared_rows_in_five_commands() -> None:
    commands = transcript.commands(PRINTED)
    assert len(commands) <= 5
    files = {word.partition(":")[0] for command in commands for word in command.split() if ".py:" in word}
    assert files == {path.name for path in (transcript.DOCS / "examples").glob("*.py")} and len(files) == 3
    assert max(map(len, "".join(transcript.BLOCK.findall(PRINTED)).splitlines())) <= 100


def test_a_shape_tells_lines_apart() -> None:
    first, *_ = transcript.commands(PRINTED)
    assert shape(PRINTED.replace("run 2", "ran 2")) != shape(PRINTED) != shape(PRINTED.replace(first, "true"))
    assert shape(PRINTED.replace("1", "7")) == shape(PRINTED)


@pytest.mark.slow
def test_commands_print_these_lines(data: Path) -> None:
    assert shape(transcript.answered(PRINTED)) == shape(PRINTED)


@pytest.mark.slow
def test_the_program_runs_as_printed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(transcript.DOCS / "examples"))
    monkeypatch.delitem(sys.modules, "vit", raising=False)
    found: dict = {}
    exec(next(text for language, text in blocks(transcript.PAGE) if language == "python"), found)
    assert (found["row"].method, found["row"].n_test) == ("ViT + L2-SVM", 200)

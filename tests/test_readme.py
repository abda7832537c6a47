"""The README: its length, and its programs, run as printed. Its commands: test_docs_commands.py."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.printed import ROOT, blocks

README = ROOT / "README.md"
PROGRAMS = [text for language, text in blocks(README) if language == "python"]


def test_it_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 135


def test_the_programs_run_as_printed(workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    mynet, library = PROGRAMS
    (workplace.root / "mynet.py").write_text(mynet)
    monkeypatch.syspath_prepend(str(workplace.root))
    monkeypatch.delitem(sys.modules, "mynet", raising=False)
    monkeypatch.chdir(workplace.root)
    found: dict = {}
    exec(library, found)
    assert (found["X"].dtype, found["X"].shape) == (np.float32, (200, 1024))
    assert found["svm"].coef_.shape == (10, 1024) and found["pairs"].shape[1] == 2
    assert (found["row"].protocol, found["row"].n_test) == ("own/noise", 50)
    assert [path.name for path in Path.cwd().iterdir() if path.is_dir()] == ["runs"]

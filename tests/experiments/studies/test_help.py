"""Every program has --help, and its docstring the command that starts it."""

import importlib
from pathlib import Path

import pytest

from experiments import studies

SHARED = {"__init__", "program", "timing"}  # no programs
PROGRAMS = sorted({path.stem for path in Path(*studies.__path__).glob("*.py")} - SHARED)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_and_the_command_of_the_docstring(name: str, capsys: pytest.CaptureFixture) -> None:
    program = importlib.import_module(f"experiments.studies.{name}")
    with pytest.raises(SystemExit) as ended:
        program.main(["--help"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("usage: ")
    assert f"\n    python -m experiments.studies.{name}" in program.__doc__

"""Every program has --help, and its docstring the command that starts it."""

import importlib
import re
from pathlib import Path

import pytest

from experiments import studies

SHARED = {"__init__", "program", "timing"}  # no programs
FOLDER = Path(*studies.__path__)
PROGRAMS = sorted(
    {path.stem for path in FOLDER.glob("*.py")} - SHARED
    | {path.parent.name for path in FOLDER.glob("*/__main__.py")}
    | {f"scale.{path.stem}" for path in FOLDER.glob("scale/[a-z]*.py")}
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_and_the_command_of_the_docstring(name: str, capsys: pytest.CaptureFixture) -> None:
    main = f".{name}.__main__" if (FOLDER / name).is_dir() else f".{name}"
    program = importlib.import_module(main, studies.__name__)
    with pytest.raises(SystemExit) as ended:
        program.main(["--help"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("usage: ")
    assert f"\n    python -m experiments.studies.{name}" in program.__doc__


def test_every_program_that_docs_and_makefile_name_is_here() -> None:
    root = Path(*studies.__path__).parents[1]
    files = [root / "Makefile", root / "README.md", root / "CHANGELOG.md", *(root / "docs").glob("*.md")]
    named = {
        name for file in files for name in re.findall(r"experiments\.studies\.((?:scale\.)?[a-z_]+)", file.read_text())
    }
    assert len(named) > 8 and named <= set(PROGRAMS)

"""The import rules, and what no file of the project may hold."""

import ast
import re
from pathlib import Path

import pytest

from experiments.measure.measurement import SOURCE

ROOT = Path(__file__).parents[1]
LIBRARIES = ("gan", "features", "evaluation", "dedup", "results")
PACKAGES = (*LIBRARIES, "experiments")
ROOMS = (
    *("run", "data", "networks", "deduplication", "training", "measure"),
    *("look", "report", "commands", "studies"),
)
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TEXTS = [".cff", ".csv", ".html", ".json", ".jsonl", ".md", ".py", ".tex", ".toml", ".txt"]
# what `measure` reaches and what yet enters no figure's identity: records are built and audits read, no figure is made
WITHOUT_FIGURES = {"results", "dedup"}
# /home/someone stands for any in the tests of what removes such paths
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:home(?!/someone)|root|Users|tmp|work|mnt|private)/[\w.]")
REGISTRY_HOST = re.compile(r"registry\.npmjs|python[h]osted|pypi\.org|//[^\s/]*(?:registry|pypi|artifact|nexus|mirror)")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_modules(source: str) -> set[str]:
    """Dotted names that a module imports, wherever the statement stands; `from a import b` gives a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    # import strings: module:attribute
    strings = [n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return found | {s.partition(":")[0] for s in strings if re.fullmatch(r"experiments(\.\w+)+:\w+", s)}


def imported_packages(source: str) -> set[str]:
    """Their top-level names."""
    return {name.split(".")[0] for name in imported_modules(source)}


def imported_rooms(source: str) -> set[str]:
    """The rooms of `experiments` that a module imports from."""
    return {name.split(".")[1] for name in imported_modules(source) if name.startswith("experiments.")} - {"cli"}


def texts() -> list[Path]:
    """Files that are, or could be, under version control."""
    folders = [ROOT / name for name in (*PACKAGES, "tests", "docs", ".ci")]
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(p for p in files if p.suffix in TEXTS or p.name in ("Makefile", "LICENSE") or p.parent.name == ".ci")


def test_import_statements_are_found_anywhere():
    source = "import a.b\ndef f():\n    from c.d import e\n    from . import g\nif True:\n    import h as i"
    assert imported_modules(source) == {"a.b", "c.d", "c.d.e", "h"} and imported_packages(source) == {"a", "c", "h"}
    assert imported_rooms("from experiments import look\nK = {'x': 'experiments.data.load:load'}") == {"look", "data"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_import_no_other_package_of_the_project(library):
    modules = sorted((ROOT / library).rglob("*.py"))
    assert modules
    others = set(PACKAGES) - {library}
    broken = {named(m): sorted(found) for m in modules if (found := imported_packages(m.read_text()) & others)}
    assert broken == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_to_its_left(room):
    modules = sorted((ROOT / "experiments" / room).rglob("*.py"))
    assert modules
    others = set(ROOMS[ROOMS.index(room) + 1 :])
    broken = {named(m): sorted(found) for m in modules if (found := imported_rooms(m.read_text()) & others)}
    assert broken == {}


def test_there_are_no_other_rooms():
    folders = {path.name for path in (ROOT / "experiments").iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders == set(ROOMS)
    files = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    assert files == {"__init__", "__main__", "api", "cli", "own_packages"}


def test_no_folder_has_more_files_than_a_reader_takes_in():
    folders = {path.parent for path in MODULES if path.is_relative_to(ROOT / "experiments")}
    assert {named(f): n for f in folders if (n := len(list(f.glob("*.py")))) > 15} == {}


def test_only_the_command_line_knows_argparse():
    allowed = ("experiments/cli.py", "experiments/commands/", "experiments/studies/")
    users = [named(m) for m in MODULES if "argparse" in imported_packages(m.read_text())]
    assert "experiments/cli.py" in users and [name for name in users if not name.startswith(allowed)] == []


def reached(start: str) -> set[Path]:
    """The project's files that importing the package `start` can bring in, imports inside functions followed too."""
    todo, seen = sorted((ROOT / start).rglob("*.py")), set()
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        if file == ROOT / "experiments" / "__init__.py":
            continue  # its names are for users: no room imports one of them
        for name in imported_modules(file.read_text()):
            path = ROOT.joinpath(*name.split("."))
            todo += [
                p
                for p in (path.with_suffix(".py"), path / "__init__.py")
                if p.is_file() and name.split(".")[0] in PACKAGES
            ]
    return seen


def test_whatever_measurements_reach_enters_a_figures_identity():
    files = reached("experiments/measure")
    assert ROOT / "evaluation" / "l2svm.py" in files and ROOT / "experiments" / "networks" / "kmeans.py" in files
    outside = {named(f) for f in files if not any(f.is_relative_to(ROOT / package) for package in SOURCE)}
    assert {name for name in outside if name.split("/")[0] not in WITHOUT_FIGURES} <= {"experiments/__init__.py"}


def test_nothing_imports_the_tests():
    assert [named(m) for m in MODULES if "tests" in imported_packages(m.read_text())] == []


def test_every_module_says_what_it_does():
    assert len(MODULES) > 20
    assert [named(m) for m in MODULES if not ast.get_docstring(ast.parse(m.read_text()))] == []


@pytest.mark.parametrize("text", ["/" + "home/ann/data", "x = '/" + "tmp/out'", "/" + "root/.cache"])
def test_machine_paths_are_recognised(text):
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["docs/home/page", "{out}/tmp/x", "a / work / b", "~/work/x"])
def test_other_paths_are_not(text):
    assert not MACHINE_PATH.search(text)


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["machine paths", "registry hosts"])
def test_no_file_holds(pattern):
    files = texts()
    assert Path(__file__) in files and ROOT / "Makefile" in files
    found = {named(f): match.group() for f in files if (match := pattern.search(f.read_text(errors="replace")))}
    assert found == {}

"""The import rule, and what no file of the project may hold."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARIES = ("gan", "features", "evaluation", "dedup", "results")
PACKAGES = (*LIBRARIES, "experiments")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TEXTS = [".cff", ".csv", ".html", ".json", ".jsonl", ".md", ".py", ".tex", ".toml", ".txt"]
# /home/someone stands for any in the tests of what removes such paths
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:home(?!/someone)|root|Users|tmp|work|mnt|private)/[\w.]")
REGISTRY_HOST = re.compile(r"registry\.npmjs|python[h]osted|pypi\.org|//[^\s/]*(?:registry|pypi|artifact|nexus|mirror)")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_packages(source: str) -> set[str]:
    """Top-level names that a module imports, wherever the statement stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).split(".")[0])
    return found


def texts() -> list[Path]:
    """Files that are, or could be, under version control."""
    folders = [ROOT / name for name in (*PACKAGES, "tests", "docs", ".ci")]
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(p for p in files if p.suffix in TEXTS or p.name in ("Makefile", "LICENSE") or p.parent.name == ".ci")


def test_import_statements_are_found_anywhere():
    source = "import a.b\ndef f():\n    from c.d import e\n    from . import g\nif True:\n    import h as i"
    assert imported_packages(source) == {"a", "c", "h"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_import_no_other_package_of_the_project(library):
    modules = sorted((ROOT / library).rglob("*.py"))
    assert modules
    others = set(PACKAGES) - {library}
    broken = {named(m): sorted(found) for m in modules if (found := imported_packages(m.read_text()) & others)}
    assert broken == {}


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

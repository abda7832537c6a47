"""A file or folder of the user's that hides one of our packages is named when `experiments` is imported."""

import os
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest

from experiments import own_packages

ROOT = Path(__file__).parents[2]


def python(*arguments: str, folder: Path, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("file", ["features.py", "results/__init__.py"])
def test_a_script_is_told_which_file_hides_a_package(file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("raise SystemExit('it was executed')")
    done = python("-c", "import experiments", folder=tmp_path)
    name = file.partition("/")[0].removesuffix(".py")
    assert done.returncode == 1 and done.stderr.endswith(
        f"ImportError: {tmp_path / file} is imported as {name}, a package of dcgan-eval: rename it, or start Python in "
        "another folder\n"
    )


def test_the_command_line_says_it_in_one_line_and_ignores_the_current_folder(tmp_path: Path) -> None:
    here, script = tmp_path / "here", tmp_path / "bin" / "dcgan-eval"
    for folder in (here, script.parent):
        folder.mkdir()
    (here / "dedup.py").touch()
    script.write_text("import sys\nfrom experiments.__main__ import main\nsys.exit(main())")
    for program in (["-m", "experiments"], [str(script)]):
        assert python(*program, "--help", folder=here).returncode == 0
        done = python("-P", *program, "--help", folder=ROOT, path=f"{here}{os.pathsep}{ROOT}")
        assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"dcgan-eval: {here}/dedup.py is imported as dedup")


def test_a_folder_of_data_hides_nothing_of_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    assert python("-c", "import experiments", folder=tmp_path).returncode == 0


def test_packages_in_a_zip_are_its_own(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as written:
        for name in own_packages.PACKAGES:
            written.writestr(f"{name}/__init__.py", "")
        for name in ("__init__", "own_packages"):
            written.write(ROOT / "experiments" / f"{name}.py", f"experiments/{name}.py")
    path = str(tmp_path / "all.zip")
    assert python("-c", "import gan, experiments", folder=tmp_path, path=path).returncode == 0
    (tmp_path / "gan.py").touch()
    done = python("-c", "import experiments", folder=tmp_path, path=path)
    assert done.returncode == 1 and f"{tmp_path / 'gan.py'} is imported as gan" in done.stderr


@pytest.mark.parametrize(("file", "named"), [("mine/gan.py", "mine/gan.py"), (None, "sys.modules['gan']")])
def test_a_module_that_was_imported_before_is_named(
    file: str | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("gan")
    if file:
        module.__file__ = file
    monkeypatch.setitem(sys.modules, "gan", module)
    with pytest.raises(ImportError) as told:
        own_packages.check()
    assert str(told.value).startswith(f"{named} is imported as gan")


def test_what_is_missing_is_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_packages, "PACKAGES", ("no_such_package",))
    with pytest.raises(ImportError, match=r"nothing is imported as no_such_package.*: install dcgan-eval again"):
        own_packages.check()

"""The wheel, installed into an empty folder and used in another: it works, and writes only where it says."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.workplace import Workplace, learnable

ROOT = Path(__file__).parents[1]
MOST = 45_000_000  # bytes; README and docs say 40 MB
BUILT = ("gan", "features", "evaluation", "dedup", "results", "experiments")
FILES = ("pyproject.toml", "README.md", "LICENSE")
EVAL = """
import sys
from experiments import cli
from experiments.data.sets import cifar10
cifar10.SHA256 |= {digests!r}
sys.exit(cli.main())
"""
pytestmark = pytest.mark.slow


def pip(*arguments: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the project, which has no `.git` and no earlier `build/`."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("built")
    for name in BUILT:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    pip("wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built), folder=copy)
    (file,) = built.glob("dcgan_eval-*.whl")
    return file


def content(folder: Path) -> dict[str, str]:
    """Return path -> digest of all files below a folder, but those that Python compiles."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass(frozen=True)
class Installed:
    """The package in `target`, and an empty folder in which commands start."""

    target: Path
    place: Workplace

    @property
    def here(self) -> Path:
        """The folder in which commands start."""
        return self.place.root / "here"

    @property
    def environment(self) -> Mapping[str, str]:
        """Nothing of the person who tests but the path, and a home of its own."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG") or "THREADS" in name}
        own = {"HOME": str(self.place.root / "home"), "PYTHONPATH": str(self.target), "DEVICE": "cpu"}
        roots = {"DATA_ROOT": str(self.place.run.data_root), "RUNS_ROOT": str(self.place.run.runs_root)}
        return kept | own | roots

    def outside(self) -> list[str]:
        """The files that are not in RUNS_ROOT: in the home, the current folder, the data."""
        return [name for name in content(self.place.root) if not name.startswith("runs/")]

    def main(self, *arguments: str, program: tuple[str, ...] = ("-m", "experiments")) -> subprocess.CompletedProcess:
        """`dcgan-eval ARGUMENTS` of the installed package."""
        command = [sys.executable, "-P", *program, *arguments]
        return subprocess.run(
            command, cwd=self.here, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )


@pytest.fixture(scope="module")
def target(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("target")
    pip("install", "--no-deps", "--target", str(folder), str(wheel), folder=folder)
    return folder


@pytest.fixture
def installed(target: Path, workplace: Workplace) -> Installed:
    for name in ("here", "home", "data"):
        (workplace.root / name).mkdir()
    return Installed(target, workplace)


def test_the_wheel_holds_what_commands_need_and_is_no_larger_than_said(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stat().st_size < MOST
    tracked = [path.relative_to(ROOT).as_posix() for name in BUILT for path in (ROOT / name).rglob("*.*")]
    code = {name for name in tracked if name.endswith((".py", ".toml", ".html", "py.typed", "copies.safetensors"))}
    records = {name for name in tracked if name.startswith(("results/runs/", "results/tables/", "results/curves/"))}
    networks = {name for name in tracked if name.count("/") == 3 and name.endswith("discriminator.safetensors")}
    assert len(networks) >= 6 and code | records | networks <= {*names}
    assert {name for name in names if name.endswith(".png")} <= {name for name in names if "/leakage/" in name}
    assert {f"{name}/py.typed" for name in BUILT} <= {*names}
    tops = {name.split("/")[0] for name in names}
    assert tops - {*BUILT} == {next(name for name in tops if name.endswith(".dist-info"))}


def test_tables_and_the_report(installed: Installed) -> None:
    before, runs = content(installed.target), installed.place.run.runs_root
    assert installed.main("--version").stdout.startswith("dcgan-eval ")
    assert installed.main("table", "--check").returncode == 0
    done = installed.main("table", "cifar10")
    assert done.returncode == 0 and "DCGAN imagenet32-half + L2-SVM" in done.stdout
    tables = runs / "results" / "tables"
    assert f"written {tables / 'cifar10.csv'}" in done.stderr
    assert content(tables).items() <= content(installed.target / "results" / "tables").items()
    done = installed.main("report")
    assert done.returncode == 0 and "only a clone of the project has" in done.stderr
    assert (runs / "report.html").read_text().count("imagenet32-contrast") > 5
    assert {name.split("/")[0] for name in content(runs)} == {"results", "report.html", "matplotlib"}
    assert content(installed.target) == before and installed.outside() == []


def test_networks_and_recipes(installed: Installed) -> None:
    before = content(installed.target)
    done = installed.main("check", "svhn32-half")
    assert done.returncode == 0 and "DCGAN svhn32-half, on cpu" in done.stdout and "FAIL" not in done.stdout
    assert installed.main("train", "mnist-32", "--dry-run").returncode == 0
    assert installed.main("look", "walk", "svhn32-half", "--steps", "2", "--rows", "2").returncode == 0
    digests = {}
    for split, n in (("train", 2000), ("test", 500)):
        images, labels = learnable(n, np.random.default_rng(0))
        installed.place.pack(f"cifar10-{split}", images, labels)
        for what, array in (("images", images), ("labels", labels.astype(np.uint8))):
            digests[f"{split} {what}"] = hashlib.sha256(array).hexdigest()
    program = ("-c", EVAL.format(digests=digests))
    done = installed.main("eval", "svhn32-half", "--subset", "1000", program=program)
    assert done.returncode == 0 and "cifar10/subset-1000" in done.stdout + done.stderr, done.stderr
    assert '"commit": null' in (installed.place.run.own_records / "cifar10.jsonl").read_text()
    assert content(installed.target) == before and installed.outside() == []


def test_near_duplicates_among_pictures(installed: Installed) -> None:
    before, photos = content(installed.target), installed.place.root / "photos"
    photos.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    for i, picture in enumerate([*pictures, pictures[2]]):
        Image.fromarray(picture).resize((64, 64), Image.Resampling.BICUBIC).save(photos / f"{i}.png")
    given = content(photos)
    done = installed.main("dedup", str(photos), "--out", str(installed.place.root / "out"))
    assert done.returncode == 0, done.stderr
    kept = (installed.place.root / "out" / "keep.txt").read_text().split()
    assert [Path(name).name for name in kept] == [f"{i}.png" for i in range(6)]
    assert content(photos) == given and content(installed.target) == before
    assert {name.split("/")[0] for name in installed.outside()} == {"photos", "out"}


@pytest.mark.parametrize("command", ["eval pixels", "check pixels", "dedup cifar10-test --against cifar10-train"])
def test_results_of_the_project_are_recorded_in_a_clone_only(command: str, installed: Installed) -> None:
    done = installed.main(*command.split(), "--record")
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert "clone the project" in done.stderr and not installed.place.run.runs_root.exists()


def test_an_installation_without_results_is_no_success(installed: Installed) -> None:
    partial = installed.place.root / "partial"
    for name in BUILT:
        left_out = [path.name for path in (installed.target / name).iterdir() if name == "results" and path.is_dir()]
        shutil.copytree(installed.target / name, partial / name, ignore=shutil.ignore_patterns(*left_out))
    done = Installed(partial, installed.place).main("report")
    assert (done.returncode, done.stdout) == (1, "") and "nothing is recorded in" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (installed.place.run.runs_root / "report.html").exists()

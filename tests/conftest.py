"""What every test may ask for."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.workplace import Workplace

COMMITTED = Path(__file__).parents[1] / "results"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data, DATA_ROOT; the test is skipped where there is none."""
    root = os.environ.get("DATA_ROOT")
    if not root:
        pytest.skip("DATA_ROOT is not set: no real data to test on")
    if not Path(root).is_dir():
        pytest.skip(f"DATA_ROOT={root} is no folder: no real data to test on")
    return Path(root)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from a second thread, and on a busy machine wait for it: 60 times slower, measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Started in the background of a script, all processes below would ignore Ctrl-C, which some tests send."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """DATA_ROOT, RUNS_ROOT and results in `tmp_path`, the CPU, and no BACKBONE or LAYERS of the person who tests."""
    for name, value in {"DATA_ROOT": tmp_path / "data", "RUNS_ROOT": tmp_path / "runs", "DEVICE": "cpu"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("BACKBONE", "LAYERS"):
        monkeypatch.delenv(name, raising=False)
    return Workplace(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like results/: its tables, records, curves; one run and a trial with made-up pictures; a look.

    Copy it before you change anything.
    """
    folder = tmp_path_factory.mktemp("recorded") / "results"
    shutil.copytree(COMMITTED, folder, ignore=shutil.ignore_patterns("training", "look", "*.safetensors", "*.png"))
    kept = COMMITTED / "training" / "mnist-32"
    for run in (folder / "training" / "mnist-32", folder / "training" / "why" / "trial"):
        run.mkdir(parents=True)
        for name in ("training.json", "epochs.csv"):
            shutil.copy(kept / name, run)
        frames = [Image.fromarray(noise) for noise in np.random.default_rng(0).integers(0, 255, (2, 64, 64), np.uint8)]
        frames[0].save(run / "samples.png")
        frames[0].convert("RGB").save(run / "samples.webp", save_all=True, append_images=frames[1:], loop=0)
    shutil.copy(COMMITTED / "training" / "kills.csv", folder / "training")
    look = folder / "look" / "walk-faces"
    look.mkdir(parents=True)
    Image.fromarray(np.full((32, 96), 90, np.uint8)).save(look / "walk.png")
    (look / "figures.csv").write_text("path,step\nstraight,0.25\n")
    (look / "shows.txt").write_text("Faces turn <smoothly>.\n")
    made = json.loads((kept / "training.json").read_text())
    record = {name: made[name] for name in ("versions", "hardware")}
    record |= {"command": ["dcgan-eval", "look", "walk"], "inputs": {"generator": "ab" * 32}}
    (look / "record.json").write_text(json.dumps(record | {"written": "2026-11-26T10:00:00Z"}))
    return folder

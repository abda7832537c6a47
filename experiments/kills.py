"""Kills at random moments: whether a run that was killed and started again ends as the uninterrupted one, bit for bit.

    python -m experiments.kills --kills 20 --out results/training/kills.csv

A tiny network is trained on made-up images, once without and once with kills, each session in a process of its own
as a person would start it (`python -m experiments train`). SIGKILL, SIGTERM and SIGINT take turns; the moment is drawn
from the time that a whole run takes, start of the process included. Networks and losses are compared byte for byte.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.datasets.packed import pack
from experiments.loop import STATE
from experiments.pretrain import CURVE

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMPARED = ("discriminator.safetensors", "generator.safetensors", STATE, CURVE)
RECIPE = """preset = "imagenet32"
dataset = "tiny-imagenet-32"
width = 2
held_out = 64
[training]
images = {images}
decay_from = {decay_from}
batch_size = 16
"""


@dataclass(frozen=True)
class Kill:
    """One session: what ended it, and how much of the run was on disk then."""

    signal: str  # "none" where it came to its end before the signal
    seconds: float  # after the start of the process
    exit_code: int  # negative: the signal that ended the process
    saved_step: int  # of the checkpoint, 0 where there is none
    written_step: int  # of the last minibatch in losses.csv: what was done beyond the checkpoint is done again


def prepare(folder: Path, *, images: int) -> None:
    """A data set of 700 made-up images and a recipe that shows `images` of them, below `folder`."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 8, 8, 3), dtype=np.uint8)
    data = noise.repeat(4, axis=1).repeat(4, axis=2)
    pack(folder / "packed" / "tiny-imagenet-32", [data], shape=data.shape, source="made up", transform="none")
    (folder / "tiny.toml").write_text(RECIPE.format(images=images, decay_from=images // 2))


def start(folder: Path, out: Path) -> subprocess.Popen:
    """A session of the run in `out`, as a process of its own."""
    roots = ["--data-root", str(folder / "data"), "--runs-root", str(folder)]
    command = [sys.executable, "-m", "experiments", "train", str(folder / "tiny.toml"), "--out", str(out), *roots]
    return subprocess.Popen(
        [*command, "--device", "cpu", "--checkpoint-images", "320"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def whole(folder: Path, out: Path) -> float:
    """Runs to the end without a kill; seconds. RuntimeError with its words where it fails."""
    started = time.monotonic()
    process = start(folder, out)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"training failed with {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    return time.monotonic() - started


def killed(folder: Path, out: Path, *, kills: int, longest: float, seed: int = 0) -> Iterator[Kill]:
    """Starts the run in `out` again and again, yielding each kill, at most `kills`, up to `longest` seconds after its
    start; a session that came to its end starts the run over in an emptied folder.
    """
    moments = np.random.default_rng(seed).uniform(0, longest, kills)
    for number, moment in enumerate(moments):
        process = start(folder, out)
        name = SIGNALS[number % len(SIGNALS)]
        try:
            process.communicate(timeout=float(moment))
            yield Kill("none", float(moment), process.returncode, *_steps(out))
        except subprocess.TimeoutExpired:
            process.send_signal(name)
            process.communicate()
            yield Kill(name.name, float(moment), process.returncode, *_steps(out))


def differing(a: Path, b: Path) -> list[str]:
    """The files of `COMPARED` that are not the same byte for byte, or are not there."""
    same = [(a / f).exists() and (b / f).exists() and (a / f).read_bytes() == (b / f).read_bytes() for f in COMPARED]
    return [file for file, equal in zip(COMPARED, same, strict=True) if not equal]


def _steps(out: Path) -> tuple[int, int]:
    from safetensors import safe_open

    saved = written = 0
    if (out / STATE).exists():
        import json

        with safe_open(out / STATE, "pt") as opened:
            saved = int(json.loads(opened.metadata()["dcgan-eval"])["step"])
    if (out / CURVE).exists():
        lines = (out / CURVE).read_text().splitlines()[1:]
        written = int(lines[-1].split(",")[0]) if lines else 0
    return saved, written

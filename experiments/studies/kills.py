"""Kills at random moments: does a run that is killed and started again end like an uninterrupted one, bit for bit?

    python -m experiments.studies.kills --kills 20 --out results/training/kills.csv

A tiny network is trained on made-up images, once without kills and once with them. Each session is a process of its
own, started as a person would start it (`python -m experiments train`). SIGKILL, SIGTERM and SIGINT take turns, each
at a moment drawn from the time after the data are read. Networks and losses are compared byte for byte.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from experiments.data.packed import pack
from experiments.run.context import ROOT
from experiments.studies.program import new_parser, write_table
from experiments.training.files import DISCRIMINATOR, GENERATOR, LOSSES, STATE

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMPARED = (DISCRIMINATOR, GENERATOR, STATE, LOSSES)
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
    """How one session ended, and how much of the run was on disk then."""

    signal: str  # "none" if the process ended before the signal
    seconds: float  # from the beginning of training to the signal
    exit_code: int  # negative: the signal that ended the process
    saved_step: int  # of the checkpoint; 0 if there is none
    written_step: int  # of the last minibatch in losses.csv; those after the checkpoint are repeated


def prepare(folder: Path, *, images: int) -> None:
    """Write a data set of 700 made-up images, and a recipe that shows `images` of them, below `folder`."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 8, 8, 3), dtype=np.uint8)
    data = noise.repeat(4, axis=1).repeat(4, axis=2)
    pack(folder / "packed" / "tiny-imagenet-32", [data], shape=data.shape, source="made up", transform="none")
    (folder / "tiny.toml").write_text(RECIPE.format(images=images, decay_from=images // 2))


def start(folder: Path, out: Path) -> subprocess.Popen:
    """Start a session of the run in `out` as a process of its own; return it once the data are read and it trains."""
    command = [sys.executable, "-m", "experiments", "train", str(folder / "tiny.toml"), "--out", str(out)]
    command += ["--data-root", str(folder / "data"), "--runs-root", str(folder)]
    command += ["--device", "cpu", "--checkpoint-images", "320"]
    one_thread, null = os.environ | {"OMP_NUM_THREADS": "1"}, subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env=one_thread, stdout=null, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if b"near-duplicates removed" in line:
            break
    return process


def finish(folder: Path, out: Path) -> float:
    """Train to the end; return the seconds of training. Raises RuntimeError with the program's output on failure."""
    process = start(folder, out)
    begun = time.monotonic()
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"training failed with {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    return time.monotonic() - begun


def killed(folder: Path, out: Path, *, kills: int, longest: float, seed: int = 0) -> Iterator[Kill]:
    """Start the run in `out` and kill it, `kills` times, each up to `longest` seconds after training began."""
    for number, moment in enumerate(np.random.default_rng(seed).uniform(0, longest, kills)):
        process = start(folder, out)
        sent, name = SIGNALS[number % len(SIGNALS)], "none"
        try:
            process.communicate(timeout=float(moment))
        except subprocess.TimeoutExpired:
            name = sent.name
            process.send_signal(sent)
            process.communicate()
        yield Kill(name, round(float(moment), 3), process.returncode, *_steps(out))


def compare(folder: Path, *, kills: int, images: int, seed: int = 0) -> tuple[list[Kill], list[str]]:
    """Return the kills of one run, and the files in which it differs from a run that nothing interrupted.

    The moments are drawn so that the run is about half done when the last kill comes.
    """
    prepare(folder, images=images)
    seconds = finish(folder, folder / "whole")
    found = list(killed(folder, folder / "killed", kills=kills, longest=seconds / kills, seed=seed))
    finish(folder, folder / "killed")
    return found, differing(folder / "whole", folder / "killed")


def differing(a: Path, b: Path) -> list[str]:
    """Return the files of `COMPARED` that are not the same byte for byte, or are missing."""
    same = [(a / f).exists() and (b / f).exists() and (a / f).read_bytes() == (b / f).read_bytes() for f in COMPARED]
    return [file for file, equal in zip(COMPARED, same, strict=True) if not equal]


def _steps(out: Path) -> tuple[int, int]:
    """The step of the checkpoint, and of the last line of the losses; 0 if there is none."""
    saved = written = 0
    if (out / STATE).exists():
        with safe_open(out / STATE, "pt") as opened:
            saved = int(json.loads(opened.metadata()["dcgan-eval"])["step"])
    if (out / LOSSES).exists():
        written = len((out / LOSSES).read_text().splitlines()[1:])
    return saved, written


def main(argv: list[str] | None = None) -> int:
    """Kill, compare, print the table and write it; return 1 if the runs differ."""
    parser = new_parser(__doc__)
    parser.add_argument("--kills", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--images", type=int, default=32_000, help="length of the run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="CSV file to write")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        kills, different = compare(Path(folder), kills=arguments.kills, images=arguments.images, seed=arguments.seed)
    table = pd.DataFrame(kills).assign(different_at_the_end=" ".join(different) or "none")
    print(table.to_string())
    write_table(table, arguments.out)
    given = int((table["signal"] != "none").sum())
    print(f"{given} kills; files that differ from the uninterrupted run's: {', '.join(different) or 'none'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

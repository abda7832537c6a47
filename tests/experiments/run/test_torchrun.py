"""Two processes under `torchrun` write the same files as one, with the same losses up to the order of additions."""

import csv
import json
import os
import subprocess
import sys

import pytest
import torch

import gan
from experiments.run.context import ROOT
from experiments.studies.reliability import workplace


def train(folder, out, *launcher):
    roots = ["--data-root", str(folder / "data"), "--runs-root", str(folder), "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "experiments", "train", str(folder / "tiny.toml"), "--out", str(out), *roots],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    workplace.make(tmp_path)
    (tmp_path / "packed").symlink_to(tmp_path / "runs" / "packed")
    (tmp_path / "tiny.toml").write_text(workplace.recipe(images=128, batch_size=16))
    train(tmp_path, tmp_path / "one")
    done = train(tmp_path, tmp_path / "two", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert done.stdout.split() == [str(tmp_path / "two" / "discriminator.safetensors")]  # one of them speaks
    one, two = (
        list(csv.DictReader((tmp_path / run / "losses.csv").read_text().splitlines())) for run in ("one", "two")
    )
    assert [row["step"] for row in two] == [row["step"] for row in one] == [str(i) for i in range(1, 9)]
    assert [float(row["loss"]) for row in two] == pytest.approx([float(row["loss"]) for row in one], abs=1e-4)
    files = [{p.name for p in (tmp_path / run).iterdir() if ".tfevents." not in p.name} for run in ("one", "two")]
    assert files[0] == files[1]
    assert json.loads((tmp_path / "two" / "training.json").read_text())["images_seen"] == 128
    for name in ("discriminator", "generator"):
        a, b = (gan.load(tmp_path / run / f"{name}.safetensors").state_dict() for run in ("one", "two"))
        for key in a:  # the eight steps moved weights by up to 8e-4
            exact = key.endswith(("weight", "bias"))  # the statistics are as large as their maps
            torch.testing.assert_close(b[key], a[key], rtol=0 if exact else 1e-3, atol=2e-5)

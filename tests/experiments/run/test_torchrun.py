"""Two processes under `torchrun` write the same files as one, with the same losses up to the order of additions."""

import contextlib
import csv
import itertools
import json
import os
import subprocess
import sys

import pytest
import torch

import gan
from experiments.run import torchrun
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


@pytest.mark.parametrize(
    ("told", "rank", "line"),
    [
        ({0: "interrupted", 2: "lost"}, 0, "process 1 ended; it stays; run the same command again to go on"),
        ({1: "lost"}, 1, "processes 0, 2 ended; it stays; run the same command again to go on"),
        ({0: "lost", 1: "failed", 2: "busy"}, 1, None),  # its own mistake
        ({0: "lost", 1: "failed"}, 1, None),  # and of one that has died nothing, since that came after it
        ({0: "interrupted", 1: "interrupted", 2: "lost"}, 0, None),
        ({0: "busy", 1: "interrupted", 2: "lost"}, 0, "interrupted; run the same command again to go on"),
        ({0: "lost", 1: "lost", 2: "lost"}, 0, "the connection between the processes broke; it stays; run"),
    ],
)
def test_one_of_those_left_says_how_it_ended(told, rank, line):
    assert [other for other in told if torchrun.speaks(other, told)] == [rank]
    said = torchrun.said(rank, 3, told, "it stays")
    assert said is None if line is None else said.startswith(line)


@pytest.mark.parametrize("multiple", [1, 128, 1024])
@pytest.mark.parametrize("n", [1, 640, 2500, 50_000])
def test_shares_make_the_whole(monkeypatch, n, multiple):
    monkeypatch.setattr(torchrun, "processes", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(torchrun, "rank", lambda rank=rank: rank)
        shares.append(torchrun.share(n, multiple))
    assert shares[0].start == 0 and shares[-1].stop == n
    assert all(a.stop == b.start and (b.start % multiple == 0 or b.start == n) for a, b in itertools.pairwise(shares))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["eval", "kmeans:16"], "k-means runs in one process; start it without torchrun"),
        (
            ["eval", "pixels", "--classifier", "k-nn", "--protocol", "svhn/1000-balanced", "--table", "svhn"],
            "k-nn runs",
        ),
    ],
)
def test_what_one_process_must_do_is_refused(workplace, monkeypatch, capsys, arguments, text):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torchrun, "joined", lambda run, **_: contextlib.nullcontext(run))
    assert workplace.main(*arguments) == 2
    assert text in capsys.readouterr().err

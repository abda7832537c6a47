"""What a command refuses before any work, and that its dry run refuses the same in the same line."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from experiments import cli
from experiments.commands.options import whole
from experiments.run import memory
from experiments.run.errors import UserError
from experiments.run.files import check_place, refuse_irregular

RECIPE = """preset = "svhn32"
dataset = "photos"
width = 2
[training]
images = 64
decay_from = 64
batch_size = 8
"""
SMALL = ("eval", "random:svhn32,width=1", "--subset", "640")


@pytest.fixture
def place(workplace, monkeypatch: pytest.MonkeyPatch):
    """A workplace with 40 packed photographs and a recipe, as the present folder."""
    workplace.pack("photos", np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8))
    (workplace.root / "mine.toml").write_text(RECIPE)
    monkeypatch.chdir(workplace.root)
    for variable in ("BACKBONE", "LAYERS", "DEVICE"):
        monkeypatch.setenv(variable, "")  # as make exports it: as good as unset
    return workplace


def line(place, capsys: pytest.CaptureFixture, words: Sequence[str]) -> str:
    """The one line with which a command ends, before it has written anything."""
    before = {file for file in place.root.rglob("*") if file.is_file()}
    assert place.main(*words) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("dcgan-eval: ") and before == {file for file in place.root.rglob("*") if file.is_file()}
    return said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([*SMALL, "--seed=-1"], "--seed must be at least 0, got -1"),
        ([*SMALL, "--seed", str(2**63)], "--seed must be at most 9,223,372,036,854,775,807, got"),
        (["eval", "pixels", "--subset", "60000"], "a subset must be smaller than the set of 50000, got 60000"),
        (["ablate", "pixels", "--subset", "60000"], "a subset must be smaller than the set of 50000, got 60000"),
        ([*SMALL, "--device", "meta"], "device 'meta' cannot be used; set DEVICE=cpu"),
        ([*SMALL, "--device", "cuda:77"], "device 'cuda:77' cannot be used; set DEVICE=cpu"),
        ([*SMALL, "--device", "nonsense"], "device 'nonsense' cannot be used; set DEVICE=cpu"),
        (["extract", "pixels", "--device", "meta"], "device 'meta' cannot be used; set DEVICE=cpu"),
        (["ablate", "random:svhn32", "--device", "meta"], "device 'meta' cannot be used; set DEVICE=cpu"),
        (["eval", "random:svhn32,width=1000000000"], "weights, and values of an image, must be at most"),
        (["eval", "supervised:svhn32", "--table", "svhn", "--trials", "9000000"], "trials must be at most 10,000"),
        (["eval", "supervised:dcgan64", "--table", "svhn"], "supervised:dcgan64 takes (3, 64, 64), svhn-train has"),
        (["eval", "absent.safetensors", "--table", "mnist"], "name the generator.safetensors of a training run"),
        (["eval", "real.st", "--table", "mnist", "--samples", "1000000000"], "samples must be at most 500,000,000"),
        (["train", "mine.toml", "--checkpoint-images", "0"], "--checkpoint-images must be at least 1, got 0"),
        (["train", "mine.toml", "--device", "meta"], "device 'meta' cannot be used; set DEVICE=cpu"),
        (["train", "mine.toml", "--set", f"training.images={10**18}"], "must be at most 1,000,000,000,000, got"),
        (["train", "mine.toml", "--set", "held_out=33"], "photos leaves 7 images to train on, fewer than a minibatch"),
        (["train", "mine.toml", "--set", f"held_out={10**12}"], "photos leaves 0 images to train on, fewer than a"),
        (["train", "mine.toml", "--set", "channels=1"], "or --set channels=3"),
        (["train", "mine.toml", "--set", "dataset=none"], "the data set must be one of"),
        (["train", "mine.toml", "--set", "generator=absent"], "no checkpoint at"),
    ],
)
def test_a_dry_run_refuses_what_the_run_refuses(place, capsys: pytest.CaptureFixture, words: list, text: str) -> None:
    planned = line(place, capsys, [*words, "--dry-run"])
    assert text in planned and line(place, capsys, words) == planned


def test_a_dry_run_refuses_a_damaged_set_that_the_run_cannot_build(place, capsys: pytest.CaptureFixture) -> None:
    given = place.run.data_root / "packed/photos"
    given.parent.mkdir(parents=True)
    (place.run.runs_root / "packed/photos").rename(given)
    images = given / "images.u8"
    images.write_bytes(images.read_bytes()[:-1] + b"\0")
    planned = line(place, capsys, ["train", "mine.toml", "--dry-run"])
    assert "photos cannot be used" in planned and line(place, capsys, ["train", "mine.toml"]) == planned


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["eval", ""], "an argument is empty; leave it out for the default"),
        ([*SMALL, "--layers", ""], "the value of --layers is empty"),
        ([*SMALL, "--layers="], "the value of --layers is empty"),
        ([*SMALL, "--C", " "], "the value of --C is empty"),
        (["train", "mine.toml", "--out", ""], "the value of --out is empty"),
        (["report", "--runs-root", ""], "the value of --runs-root is empty"),
        (["compare", "pixels", ""], "an argument is empty"),
        (["look", "walk", "faces-64", "--z", ""], "the value of --z is empty"),
    ],
)
def test_an_empty_argument_is_a_mistake(place, capsys: pytest.CaptureFixture, words: list, text: str) -> None:
    assert text in line(place, capsys, words)


def test_an_empty_variable_counts_as_unset(place, capsys: pytest.CaptureFixture) -> None:
    assert place.main("eval", "--dry-run") == 0 and "imagenet32-contrast" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "pipe"],
        ["eval", "--backbone=pipe"],
        ["eval", "pipe:make"],
        ["eval", "theano:svhn32:pipe"],
        ["train", "pipe"],
        ["train", "mine.toml", "--set", "discriminator=pipe"],
        ["train", "mine.toml", "--out", "pipe"],
        ["report", "--out", "socket"],
        ["dedup", "/dev/zero"],
        ["look", "forget", "faces-64", "--boxes", "pipe"],
    ],
)
def test_what_would_be_waited_for_is_refused(place, capsys: pytest.CaptureFixture, words: list) -> None:
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert "is no regular file; copy its content to one" in line(place, capsys, words)


def test_files_folders_and_what_is_absent_are_not_irregular(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    refused = []
    for path in (tmp_path, tmp_path / "file", tmp_path / "absent", Path("x" * 5000), Path("\0"), tmp_path / "pipe"):
        try:
            refuse_irregular(path)
        except UserError:
            refused.append(path)
    assert refused == [tmp_path / "pipe"]


def test_a_place_below_a_file_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(UserError, match="Not a directory"):
            check_place(folder)
    check_place(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_a_minibatch_beyond_the_memory_is_refused(place, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 2 * 10**7)
    large = ["train", "mine.toml", "--set", "training.batch_size=1_000_000", "--set", "training.images=1_000_000"]
    text = "training mine with width 2 and batch_size 1000000 takes at least"
    assert text in (planned := line(place, capsys, [*large, "--dry-run"])) and line(place, capsys, large) == planned
    assert planned.endswith("0.0 GB are free: lower width or batch_size with --set")
    assert place.main("train", "mine.toml", "--dry-run") == 0


@pytest.mark.parametrize(
    ("backbone", "text"),
    [
        ("kmeans:4800", "kmeans:4800 takes at least 1.8 GB, 1.0 GB are free: name fewer centroids"),
        (
            "torchvision:resnet18,size=2000",
            "a batch of 128 images of 3x2000x2000 takes at least 6.1 GB, 1.0 GB are free",
        ),
        ("random:svhn32,width=1000", "random:svhn32,width=1000 takes at least 1.3 GB, 1.0 GB are free"),
        ("supervised:svhn32,width=1000", "supervised:svhn32,width=1000 takes at least 4.3 GB, 1.0 GB are free"),
    ],
)
def test_networks_beyond_the_memory_are_refused(place, capsys, monkeypatch, backbone: str, text: str) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 10**9)
    words = ["eval", backbone, *(["--table", "svhn"] if backbone.startswith("supervised") else [])]
    assert text in (planned := line(place, capsys, [*words, "--dry-run"])) and line(place, capsys, words) == planned


def test_another_runs_folder_is_refused_by_the_plan_with_what_differs(place, capsys: pytest.CaptureFixture) -> None:
    assert place.main("train", "mine.toml") == 0
    capsys.readouterr()
    for more in (["--dry-run"], []):
        assert place.main("train", "mine.toml", "--set", "width=3", *more) == 2
        (said,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("dcgan-eval: ")]
        assert "belongs to another run: its architecture is width=2, this run's is width=3; give that run's" in said


def test_a_whole_number_beyond_its_range_names_the_option(capsys: pytest.CaptureFixture) -> None:
    taken = whole("--count", 1, 9)
    assert [taken("1"), taken("9")] == [1, 9]
    for text, wrong in (("0", "at least 1, got 0"), ("1000", "at most 9, got 1,000")):
        with pytest.raises(UserError, match=f"^--count must be {wrong}$"):
            taken(text)
    with pytest.raises(SystemExit):
        cli.main(["train", "x", "--checkpoint-images", "many"])
    assert "invalid int value: 'many'" in capsys.readouterr().err

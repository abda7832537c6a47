"""The command `train`: what it prints, where it writes, and that naming recipes costs no torch."""

import errno
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from experiments.data.sets.tiny_imagenet import halve
from experiments.networks.resolve import resolve
from experiments.run.context import ROOT

TINY = """preset = "imagenet32"
dataset = "tiny-imagenet-32"
width = 2
[training]
images = 64
decay_from = 32
batch_size = 8
"""


@pytest.fixture
def recipe(workplace):
    """The file of a recipe whose data set is at hand."""
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    workplace.pack("tiny-imagenet-32", images)
    (workplace.root / "tiny.toml").write_text(TINY)
    return str(workplace.root / "tiny.toml")


def dry(workplace, capsys, *arguments):
    """What --dry-run prints: the recipe, and the line after it."""
    assert workplace.main("train", *arguments, "--dry-run") == 0
    printed = capsys.readouterr().out
    recipe, end = json.JSONDecoder().raw_decode(printed)
    return recipe, printed[end:].strip()


def test_a_dry_run_says_what_would_be_trained(workplace, capsys):
    shorter = ("--set", "width=16", "--set", "training.images=100_000")  # as in the README
    recipe, line = dry(workplace, capsys, "imagenet32-half", *shorter)
    assert (recipe["name"], recipe["width"], recipe["dedup"]) == (
        "imagenet32-half",
        16,
        {"method": "phash", "radius": 4},
    )
    assert (recipe["training"]["images"], recipe["training"]["decay_from"]) == (100_000, 75_000)
    out = workplace.run.runs_root / "train" / "imagenet32-half"
    assert line == f"would train 6,250 minibatches on cpu into {out}, from the start"
    assert not out.exists()


@pytest.fixture
def official(workplace):
    """ImageNet-32's ten training batches of four images each; the last image is the first one again."""
    planes = np.random.default_rng(0).integers(0, 256, (40, 3072), dtype=np.uint8)
    planes[-1] = planes[0]
    folder = workplace.run.data_root / "imagenet32"
    folder.mkdir(parents=True)
    for n in range(10):
        batch = {"data": planes[4 * n : 4 * n + 4], "labels": [1, 7, 500, 1000], "mean": planes.mean(axis=0)}
        (folder / f"train_data_batch_{n + 1}").write_bytes(pickle.dumps(batch, protocol=2))


def test_the_official_imagenet32(workplace, official, capsys):
    recipe, line = dry(workplace, capsys, "imagenet32-official")
    assert recipe["dataset"] == "imagenet32-train" and recipe["dedup"] == {"method": "phash", "radius": 4}
    assert line.startswith(f"would train {60 * 1_281_167 // 128:,} minibatches on cpu into ")
    smaller = [f"--set={value}" for value in ("width=2", "training.images=32", "training.batch_size=8")]
    assert workplace.main("train", "imagenet32-official", *smaller) == 0
    assert "imagenet32-train: 39 images, 1 near-duplicate removed" in capsys.readouterr().err
    out = workplace.run.runs_root / "train" / "imagenet32-official"
    summary = json.loads((out / "training.json").read_text())
    assert summary["images_seen"] == 32 and (out / "removed.csv").read_text() == "index,kept\n39,0\n"
    assert summary["data"]["images"] == 40 and summary["data"]["kept"] == 39


def test_a_disk_that_fails_while_it_trains_is_one_line(workplace, recipe, capsys, monkeypatch):
    def failing(*given):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", failing)
    assert workplace.main("train", recipe) == 2
    file = workplace.run.runs_root / "packed" / "tiny-imagenet-32" / "images.u8"
    assert capsys.readouterr().err.splitlines()[-1] == f"dcgan-eval: Input/output error: {file}"


def test_a_tracker_of_the_users_own_is_told_of_every_look(workplace, recipe, capsys):
    own = workplace.root / "own.py"
    own.write_text(
        "def tracker(folder, recipe):\n"
        "    return lambda step, row, grid: (folder / f\"told {recipe['name']} {grid.name}\").touch()\n"
    )
    assert workplace.main("train", recipe, "--tracker", f"{own}:none", "--dry-run") == 2
    assert f"cannot load the tracker {own}:none" in capsys.readouterr().err
    assert not (workplace.run.runs_root / "train").exists()
    assert workplace.main("train", recipe, "--tracker", f"{own}:tracker") == 0
    out = workplace.run.runs_root / "train" / "tiny"
    frames = sorted(f"told tiny {file.name}" for file in (out / "epochs").iterdir())
    assert sorted(file.name for file in out.glob("told *")) == frames and len(frames) > 1


def test_a_recipe_is_trained_and_recorded(workplace, recipe, capsys):
    assert workplace.main("train", recipe, "--record", "--checkpoint-images", "16") == 0
    out = workplace.run.runs_root / "train" / "tiny"
    printed, said = capsys.readouterr()
    assert printed == f"{out / 'discriminator.safetensors'}\n"
    assert "tiny-imagenet-32: 40 images, 0 near-duplicates removed" in said
    kept = workplace.run.results / "training" / "tiny"
    shown = ["epochs.csv", "losses.png", "samples.png", "samples.webp", "training.json"]
    assert sorted(file.name for file in kept.iterdir()) == shown
    assert all((kept / name).read_bytes() == (out / name).read_bytes() for name in shown)
    summary = json.loads((out / "training.json").read_text())
    assert summary["command"] == ["dcgan-eval", "train", "tiny.toml", "--record", "--checkpoint-images", "16"]
    assert dry(workplace, capsys, recipe)[1].endswith("continuing from the checkpoint there")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["mnist32"], "or give a .toml file; did you mean 'mnist-32'?"),
        (["mnist-32", "--set", "widht=8"], "did you mean 'width'?"),
    ],
)
def test_mistakes_are_one_line(workplace, capsys, arguments, error):
    assert workplace.main("train", *arguments, "--dry-run") == 2
    said = capsys.readouterr().err
    assert error in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (["training.crop=0"], "tiny.toml: crop must lie in (0, 1], got 0"),
        (["training.crop=1.01"], "tiny.toml: crop must lie in (0, 1], got 1.01"),
        (["training.contrast=-0.5"], "tiny.toml: contrast must be 0 or more, got -0.5"),
        (["training.contrast=1", "training.batch_size=2"], "tiny.toml: contrast needs a batch_size of at least 4, got"),
        (["dataset=small"], "small holds images of 16x16 with 3 channels, but tiny needs squares of 32x32 or larger"),
        (["dataset=wide"], "wide holds images of 32x48 with 3 channels, but tiny needs squares of 32x32 or larger"),
        (["dataset=gray"], "gray holds images of 64x64 with 1 channels, but tiny needs squares of 32x32 or larger"),
    ],
)
def test_views_and_objectives_that_cannot_be_are_one_line(workplace, recipe, capsys, changes, error):
    for name, shape in (("small", (16, 16, 3)), ("wide", (32, 48, 3)), ("gray", (64, 64, 1))):
        workplace.pack(name, np.zeros((8, *shape), np.uint8))
    given = [text for change in changes for text in ("--set", change)]
    assert workplace.main("train", recipe, *given) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dcgan-eval: {error}") and said.count("\n") == 1
    assert not list(workplace.root.rglob("training.json"))


def test_mirrored_characters_are_warned_of(workplace, recipe, capsys):
    mirrored = ("--set", "training.mirror=true", "--set", "training.images=8")
    line = "warning: mirror = true trains on mirrored characters; leave it out for "
    digits = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), dtype=np.uint8)
    for name, warned in (("mnist-mine", True), ("svhn-mine", True), ("fashion-mnist-mine", False)):
        workplace.pack(name, digits)
        data = ("--set", f"dataset={name}", "--set", "channels=1", "--out", str(workplace.root / name))
        assert workplace.main("train", recipe, *mirrored, *data) == 0
        assert capsys.readouterr().err.count(line + name) == warned
    plain = ("--set", "dataset=mnist-mine", "--set", "channels=1", "--out", str(workplace.root / "plain"))
    assert workplace.main("train", recipe, "--set", "training.images=8", *plain) == 0
    assert line not in capsys.readouterr().err


def test_a_recipe_may_read_views_of_a_larger_set(workplace, recipe, capsys):
    fine = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    small = workplace.pack("tiny-imagenet-32", halve(fine))
    workplace.pack("tiny-imagenet-64", fine)
    views = ("--set", "dataset=tiny-imagenet-64", "--set", "training.crop=0.75", "--set", "training.mirror=true")
    assert workplace.main("train", recipe, *views) == 0
    out = workplace.run.runs_root / "train" / "tiny"
    data, summary = (json.loads((out / name).read_text()) for name in ("data.json", "training.json"))
    assert summary["data"] == data and data["at_network_size"] == small.digest != data["digest"]
    assert resolve(str(out / "discriminator.safetensors")).trained_on == small.digest
    assert workplace.main("train", recipe, *views) == 0 and "trained before" in capsys.readouterr().err


def test_help_names_the_recipes_without_torch():
    script = (
        "import sys; from experiments.cli import main\ntry: main(['train', '--help'])\nfinally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "imagenet32-half" in done.stdout and "at the same fraction of the run" in " ".join(done.stdout.split())
    assert not {"torch", "sklearn", "pandas", "PIL"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--set", ".width=3"], "an override must be key=value"),
        (["--set", "discriminator=results/weights/svhn32.safetensors"], "write svhn32: networks that come with"),
        (["--set", "discriminator=svhn32"], "svhn32 is not a discriminator of this recipe's architecture"),
        (["--device", "nogpu"], "set DEVICE=cpu"),
        (["--checkpoint-images", "0"], "--checkpoint-images must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_line_and_begins_no_run(workplace, recipe, capsys, arguments, text):
    assert workplace.main("train", recipe, *arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dcgan-eval: ")]
    assert text in line and not list(workplace.root.rglob("training.json"))


def test_a_recipe_may_begin_with_a_network_that_comes_with_the_project(workplace, recipe, capsys):
    known = ("--set", "preset=svhn32", "--set", "width=64", "--set", "training.images=16")
    assert workplace.main("train", recipe, *known, "--set", "discriminator=svhn32") == 0


def test_other_settings_than_the_checkpoints_are_told_with_both_ways_out(workplace, recipe, capsys):
    assert workplace.main("train", recipe) == 0
    assert workplace.main("train", recipe, "--set", "training.decay_from=40") == 2
    assert "give that run's settings with --set, delete " in capsys.readouterr().err

"""What was made before `experiments` was divided into subpackages is still used: a run, sets, features, a network.

The folder `before` holds what the code of then wrote, of made-up images. Its large files are compressed, and what a run
does not need to go on is left out. These commands made it, with DEVICE=cpu, in a folder with `tiny.toml`, `pictures/`
(four PNGs of coloured blocks) and three sets in `runs/packed`, written by that code's `pack`: `tiny-imagenet-32`, 60
images of coloured blocks, the last six of them copies of the first six, `cifar10-train` and `cifar10-test`, 680 and 150
images of 30 kinds. These images' digests stood in for CIFAR-10's, as they do below.

    dcgan-eval data pack pictures --size 32 --name mine
    dcgan-eval data tiny-imagenet-32 mine cifar10-train cifar10-test > data.txt
    dcgan-eval train tiny.toml --out runs/train/finished --set training.images=96 --set training.decay_from=96
    dcgan-eval train tiny.toml --out runs/train/half                   # paused a minute, SIGTERM: exit code 130
    dcgan-eval eval random:imagenet32,width=2 --layers conv2 --subset 660 --C 0.1,1
    dcgan-eval eval runs/train/finished/discriminator.safetensors --layers conv2 --subset 660 --C 0.1,1

`next-losses.csv` holds the first losses with which the same code went on with a copy of `runs/train/half`.
"""

import csv
import dataclasses
import gzip
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

import features
import gan
from experiments import cli
from experiments.data.sets import cifar10

BEFORE = Path(__file__).parent / "before"
FINISHED = "runs/train/finished/discriminator.safetensors"
NETWORKS = ("random:imagenet32,width=2", FINISHED)


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, with its files as they were written; its `runs` is RUNS_ROOT."""
    root = tmp_path / "before"
    shutil.copytree(BEFORE, root)
    for file in sorted(root.rglob("*.gz")):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    for name, value in {"DATA_ROOT": tmp_path / "data", "RUNS_ROOT": root / "runs", "DEVICE": "cpu"}.items():
        monkeypatch.setenv(name, str(value))
    for name in ("BACKBONE", "LAYERS"):
        monkeypatch.delenv(name, raising=False)
    for split in ("train", "test"):
        folder = root / "runs" / "packed" / f"cifar10-{split}"
        images = json.loads((folder / "meta.json").read_text())["sha256"]["images"]
        labels = hashlib.sha256(np.load(folder / "labels.npy").astype(np.uint8)).hexdigest()
        monkeypatch.setitem(cifar10.SHA256, f"{split} images", images)
        monkeypatch.setitem(cifar10.SHA256, f"{split} labels", labels)
    file_under_the_key_of_here(root / "runs" / "features", [drawn(), gan.load(root / FINISHED)])
    return root


def drawn() -> gan.Discriminator:
    """The network of `random:imagenet32,width=2`."""
    network = gan.Discriminator(dataclasses.replace(gan.architecture("imagenet32"), width=2))
    gan.initialise(network, torch.Generator().manual_seed(0))
    return network


def file_under_the_key_of_here(root: Path, networks: Iterable[torch.nn.Module]) -> None:
    """Stored features lie under it already, unless torch is another release or gan's or features' own code another.

    Features are rightly taken again then; what `experiments` gives to the key is the same in any case.
    """
    known = {features.weights_digest(network): network for network in networks}
    for folder in list(root.iterdir()):
        key = json.loads((folder / "key.json").read_text())
        size = {name: key["store"][name] for name in ("rows", "width", "chunk_rows")}
        backbone = features.Backbone(
            known[key["weights"]], key["layers"], tuple(key["image_shape"]), tuple(key["value_range"])
        )
        here = features.feature_key(
            backbone, data_digest=key["data"], batchnorm=key["batchnorm"], pool=features.max_grid(4), device="cpu"
        )
        assert {name for name in here if here[name] != key[name]} <= {"torch", "code", "structure"}
        store = features.FeatureStore(root, here, **size)
        if store.folder != folder:
            for name in ("features.f32", "chunks.json"):
                shutil.copy(folder / name, store.folder)
            shutil.rmtree(folder)


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """Of everything below: whether it is the same file, and not written to since."""
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def records(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "runs" / "records" / "cifar10.jsonl").read_text().splitlines()]


def test_a_run_goes_on_from_its_step(before: Path, capsys: pytest.CaptureFixture) -> None:
    """With the same images left out and held out, the same images and noise drawn, and nothing of it lost."""
    run, packed = before / "runs" / "train" / "half", states(before / "runs" / "packed")
    begun = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    command = ["train", str(before / "tiny.toml"), "--out", str(run)]

    assert cli.main(command) == 0
    said = capsys.readouterr().err
    assert "going on from step 61 of 120" in said and "48 images, 6 near-duplicates removed" in said
    assert "warning" not in said and states(before / "runs" / "packed") == packed
    for name in ("losses.csv", "epochs.csv"):
        assert (run / name).read_bytes().startswith(begun[name])
    for name in ("data.json", "removed.csv", "snapshots/000000000048.safetensors"):
        assert (run / name).read_bytes() == begun[name]
    losses = rows(run / "losses.csv")
    assert [int(row["step"]) for row in losses] == list(range(1, 121))
    for row, then in zip(losses[61:], rows(before / "next-losses.csv"), strict=False):
        assert float(row.pop("loss")) == pytest.approx(float(then.pop("loss")), rel=1e-3)  # machines round differently
        assert row == then
    assert [int(row["step"]) for row in rows(run / "epochs.csv")] == list(range(6, 121, 6))
    summary = json.loads((run / "training.json").read_text())
    assert summary["images_seen"] == 960 and summary["data"] == json.loads(begun["data.json"])
    assert summary["seconds"] > json.loads(begun["clock.json"])["seconds"]  # earlier sessions included

    assert cli.main(command) == 0
    assert "trained before" in capsys.readouterr().err


def test_packed_sets_are_opened(before: Path, capsys: pytest.CaptureFixture) -> None:
    runs, printed = before / "runs", (before / "data.txt").read_text()
    there = states(runs)
    assert cli.main(["data", *(line.partition(":")[0] for line in printed.splitlines())]) == 0
    assert capsys.readouterr() == (printed, "")
    assert states(runs) == there  # none is built again


@pytest.mark.parametrize("network", NETWORKS)
def test_stored_features_are_used(before: Path, monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    """And the record is that of then, whose file takes it, but for the code and the time."""

    def refused(*_: object) -> NoReturn:
        raise AssertionError("features are taken again")

    monkeypatch.setattr(features.FeatureStore, "write", refused)
    stored, packed, recorded = states(before / "runs" / "features"), states(before / "runs" / "packed"), records(before)
    then = recorded[NETWORKS.index(network)]
    assert evaluate(before, network) == 0
    assert (states(before / "runs" / "features"), states(before / "runs" / "packed")) == (stored, packed)

    *earlier, now = records(before)
    assert earlier == recorded
    for name in ("method", "protocol", "value", "features", "spec"):
        assert now[name] == then[name], name
    for name in ("train", "test", "weights"):
        assert now["inputs"][name] == then["inputs"][name], name


@pytest.mark.parametrize("network", NETWORKS)
def test_features_taken_again_are_those_of_then(before: Path, network: str) -> None:
    """The network's file is read, batch norm calibrated and the images drawn as then."""
    root, aside = before / "runs" / "features", before / "aside"
    root.rename(aside)
    assert evaluate(before, network) == 0
    taken = sorted(path.name for path in root.iterdir())
    assert len(taken) == 2  # of the training and the test images
    for name in taken:
        again, stored = (np.fromfile(folder / name / "features.f32", "<f4") for folder in (root, aside))
        np.testing.assert_allclose(again, stored, rtol=1e-3, atol=1e-4)


def evaluate(root: Path, network: str) -> int:
    """The exit code; --fresh, since the code of then, asked again, would answer from its record."""
    backbone = str(root / network) if network == FINISHED else network
    return cli.main(["eval", backbone, "--layers", "conv2", "--subset", "660", "--C", "0.1,1", "--fresh"])

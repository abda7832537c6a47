"""`dcgan-eval look memorised`: planted copies and collapses among made-up images."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch

import gan
from tests.experiments.look.made_up import (
    IMAGES,
    NETWORKS,
    TRAINED_ON,
    N,
    looked,
    record,
    refused,
    rows,
    scenes,
)


def planted(monkeypatch, images):
    """A generator that draws these, one after another, whatever the z."""
    monkeypatch.setattr(
        gan, "draw", lambda generator, z: torch.from_numpy(np.resize(images, (len(z), *images.shape[1:])))
    )


def test_training_images_of_a_larger_set_are_compared_at_the_networks_size(workplace, root):
    """A run that read views of the same pictures at twice the size looks as one that saw them at its own."""
    command = ("memorised", root / "run", "--samples", "60", "--out")
    looked(*command, root / "of-small")
    written = json.loads((root / "run" / "training.json").read_text())
    larger = workplace.pack("made-up", IMAGES.repeat(2, axis=1).repeat(2, axis=2))
    written["data"] |= {"digest": larger.digest, "at_network_size": written["data"]["digest"]}
    (root / "run" / "training.json").write_text(json.dumps(written))
    looked(*command, root / "of-large")
    assert rows(root / "of-large" / "memorised.csv") == rows(root / "of-small" / "memorised.csv")
    pictures = [file.name for file in (root / "of-small").glob("*.png")]
    assert len(pictures) > 3
    for name in pictures:
        assert (root / "of-large" / name).read_bytes() == (root / "of-small" / name).read_bytes()
    assert record(root / "of-large", root)["inputs"]["training"] == larger.digest
    for look in (("filters", root / "run", "--maps", 5, "--top", 2, "--images", 50), ("walk", root / "run")):
        looked(*look, "--out", root / look[0])
    assert "nearest.png" in {file.name for file in (root / "walk").iterdir()}


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ("replayed", "memorised: 60 of 60 samples"),
        ("half replayed", "memorised: 30 of 60 samples"),
        ("two replayed", "2 of 60 samples are copies (pixels; 0 of 60 training images are): too few to decide"),
        ("one", "collapsed: samples differ from one another 0.00 times"),
        ("three", "collapsed: "),
        ("honest", "no near-exact copies, no collapse"),
    ],
)
def test_planted_generators_are_told_apart(root, monkeypatch, capsys, drawn, expected):
    honest, training = scenes(60, 7), IMAGES[TRAINED_ON]
    images = {
        "replayed": training[:60],
        "half replayed": np.concatenate([training[:30], honest[:30]]),
        "two replayed": np.concatenate([training[:2], honest[:58]]),
        "one": honest[:1],
        "three": honest[:3],
        "honest": honest,
    }[drawn]
    planted(monkeypatch, images)
    looked("memorised", root / "run", "--samples", "60")
    verdicts = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert verdicts["run"].startswith(expected) and ("memorised" in verdicts["run"]) == (
        drawn in ("replayed", "half replayed")
    )
    assert verdicts["held-out images"] == "no near-exact copies, no collapse"
    out = root / "runs" / "look" / "memorised-run"
    lines = {(r["images"], r["space"]): r for r in rows(out / "memorised.csv")}
    share = {"replayed": 100, "half replayed": 50, "two replayed": 100 / 30}.get(drawn, 0)
    assert len(lines) == 4 and record(out, root)["figures"]["verdicts"] == verdicts
    assert float(lines["run", "pixels"]["copies_percent"]) == pytest.approx(share, abs=0.01)


def test_generators_beside_one_another_without_discriminator_or_record(root, capsys):
    (root / "other" / "discriminator.safetensors").unlink()
    several = [root / name / "generator.safetensors" for name in ("other", "run")]
    looked("memorised", *several, "--samples", "20", "--data", "made-up")
    told = capsys.readouterr()
    assert [line.split(":")[0] for line in told.out.splitlines()] == ["other", "run"]
    assert "pixels only" in told.err


def test_generators_of_other_images_are_not_judged_together(root, workplace, capsys):
    packed = workplace.pack("two", scenes(N, 5))
    written = json.loads((root / "run" / "training.json").read_text())
    own = {n: hashlib.sha256((root / "other" / f"{n}.safetensors").read_bytes()).hexdigest() for n in NETWORKS}
    data = {"name": "two", "digest": packed.digest, "images": N, "kept": N}
    (root / "other" / "training.json").write_text(json.dumps(written | own | {"data": data}))
    (root / "other" / "removed.csv").write_text("index,kept\n")
    both = [root / "run", root / "other"]
    assert "was trained on other images than" in refused(capsys, "memorised", *both, "--samples", "20")
    assert "named twice" in refused(capsys, "memorised", root / "run", root / "run" / "generator.safetensors")
    looked("memorised", *both, "--samples", "20", "--data", "made-up")


def test_the_generators_after_early_epochs_are_looked_at_with_their_runs(root, capsys, sheets):
    early = root / "run" / "generators" / "epoch-1.safetensors"
    early.parent.mkdir()
    gan.save(early, gan.load(root / "other" / "generator.safetensors"), dtype=torch.float16)
    looked("memorised", root / "run", "--samples", "20")
    told = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["run", "epoch-1", "held-out images"]
    out = root / "runs" / "look" / "memorised-run"
    assert list(sheets[0][0].rows) == ["run", "epoch-1"]  # no image of the set among them
    assert all([list(block.columns) for block in blocks] == [["sample", "nearest"]] * 4 for blocks in sheets[1:])
    assert len(sheets) == 1 + 3 * 2 and (out / "samples.png").exists()
    assert set(record(out, root)["inputs"]) == {"training", "features", "run", "epoch-1"}


def test_runs_of_one_name_are_told_apart_without_machine_paths(root, capsys):
    shutil.copytree(root / "run", root / "elsewhere" / "run")
    both = [root / "run", root / "elsewhere" / "run"]
    looked("memorised", *both, "--samples", "20", "--out", root / "m")
    told = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()]
    expected = [f"{folder}/run/generator.safetensors" for folder in (root.name, "elsewhere")]
    assert told == [*expected, "held-out images"]
    record(root / "m", root)

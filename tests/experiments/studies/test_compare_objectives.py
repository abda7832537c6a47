"""Runs are judged once, on the same images; the tables follow from the records alone."""

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch

import evaluation
import gan
from experiments.data.packed import PackedSet
from experiments.studies import compare_objectives

ARCH = dataclasses.replace(gan.PRESETS["svhn32"], width=2)
TRAINING = {"images": 640, "decay_from": 320, "batch_size": 64}


class Digits(PackedSet):
    digest = "0" * 64


@pytest.fixture
def digits(monkeypatch):
    labels = np.arange(200) % 10
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (200, 32, 32, 3), dtype=np.uint8) + (labels * 18).astype(np.uint8)[:, None, None, None]
    monkeypatch.setattr(compare_objectives, "load", lambda name, run: Digits(name, images, labels, {}))


def a_run(folder, seed, arch=ARCH, **training):
    net = gan.Discriminator(arch)
    gan.initialise(net, torch.Generator().manual_seed(seed))
    folder.mkdir(parents=True, exist_ok=True)
    gan.save(folder / "discriminator.safetensors", net)
    digest = hashlib.sha256((folder / "discriminator.safetensors").read_bytes()).hexdigest()
    summary = {"recipe": {"training": TRAINING | training}, "discriminator": digest, "seconds": 1800}
    (folder / "training.json").write_text(json.dumps(summary))
    return str(folder)


def compare(tmp_path, *runs):
    out = tmp_path / "out"
    compare_objectives.main([*runs, "--on", "svhn", "--out", str(out), "--device", "cpu"])
    return pd.read_csv(out / "networks.csv").set_index("run"), pd.read_csv(out / "paired.csv")


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({}, "GAN"),
        ({"crop": 0.75, "mirror": True}, "GAN on views"),
        ({"crop": 0.75, "contrast": 1.0, "rotation": 1.0}, "GAN on views + NT-Xent + rotation"),
        ({"contrast": 1.0, "adversarial": 0.0}, "NT-Xent, no GAN"),
    ],
)
def test_objectives_are_named(training, words):
    assert compare_objectives.objective(TRAINING | training) == words


def test_networks_are_compared_on_the_same_images(tmp_path, digits):
    runs = [a_run(tmp_path / "a", 1), a_run(tmp_path / "b", 2, contrast=1.0, adversarial=0.0)]
    networks, paired = compare(tmp_path, *runs)
    assert set(networks.index) == {"a", "b", "random-init"} and (networks["scored"] == 200).all()
    assert networks["accuracy_percent"].is_monotonic_decreasing
    assert networks.loc["a", "discriminator_updates"] == 5 and networks.loc["b", "discriminator_updates"] == 10
    assert len(paired) == 3 and b"NT-Xent, no GAN: b" in (tmp_path / "out" / "networks.svg").read_bytes()
    records = {name: json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("a", "b")}
    right = [np.unpackbits(np.frombuffer(bytes.fromhex(records[n]["right"]), np.uint8))[:200] for n in ("a", "b")]
    assert [100 * r.mean() for r in right] == pytest.approx([networks.loc[n, "accuracy_percent"] for n in ("a", "b")])
    pair = paired[paired["run_a"].isin(["a", "b"]) & paired["run_b"].isin(["a", "b"])].iloc[0]
    sign = 1 if pair["run_a"] == "a" else -1
    assert pair["difference"] == pytest.approx(sign * 100 * (right[0].mean() - right[1].mean()), abs=0.01)
    expected = evaluation.mcnemar(*(r.astype(bool) for r in right)).p_value
    assert pair["p_value"] == pytest.approx(expected, rel=0.01)


def test_a_network_with_a_record_is_not_measured_again_unless_it_changed(tmp_path, digits, monkeypatch, capsys):
    runs = [a_run(tmp_path / "a", 1)]
    before, _ = compare(tmp_path, *runs)
    capsys.readouterr()
    _, paired = compare(tmp_path, *runs, a_run(tmp_path / "b", 2))
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.endswith(" %")] == ["b"]
    assert len(paired) == 3
    a_run(tmp_path / "a", 3)
    after, _ = compare(tmp_path, *runs)
    assert after.loc["a", "accuracy_percent"] != before.loc["a", "accuracy_percent"]
    assert set(after.index) == {"a", "b", "random-init"}


def unfinished(tmp_path):
    (tmp_path / "a" / "training.json").unlink()


def of_another_file(tmp_path):
    (tmp_path / "a" / "discriminator.safetensors").write_bytes(
        (tmp_path / "b" / "discriminator.safetensors").read_bytes()
    )


def of_no_run(tmp_path):
    (tmp_path / "a" / "training.json").write_text('{"recipe": {}}')


def of_another_width(tmp_path):
    a_run(tmp_path / "b", 2, dataclasses.replace(ARCH, width=3))


def foreign(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (unfinished, "training.json"),
        (of_another_file, "discriminator.safetensors is not the file that its training.json names"),
        (of_no_run, "training.json does not describe a training run"),
        (of_another_width, "b has another architecture than a"),
        (foreign, "training.json is no record of this study: name another --out"),
    ],
)
def test_what_cannot_be_compared_is_one_line_before_any_work(tmp_path, digits, capsys, damage, message):
    runs = [a_run(tmp_path / "a", 1), a_run(tmp_path / "b", 2)]
    damage(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        compare(tmp_path, *runs)
    assert stopped.value.code == 2 and message in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("a.json"))


@pytest.mark.parametrize("name", ["x/a", "random-init"])
def test_two_networks_of_one_name_are_refused(tmp_path, digits, capsys, name):
    with pytest.raises(SystemExit):
        compare(tmp_path, a_run(tmp_path / "a", 1), a_run(tmp_path / name, 2))
    assert "two networks are called" in capsys.readouterr().err


def test_records_on_other_images_stay_apart(tmp_path, digits, monkeypatch, capsys):
    run = a_run(tmp_path / "a", 1)
    compare(tmp_path, run)
    monkeypatch.setattr(Digits, "digest", "1" * 64)
    with pytest.raises(SystemExit):
        compare(tmp_path, run)
    assert "of other images or another architecture: name another --out" in capsys.readouterr().err

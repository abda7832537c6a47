"""`dcgan-eval check` end to end: what it prints, what it records, and its exit codes."""

import json
import os
import re

import pytest
import torch

import features
import results
from experiments.networks.resolve import resolve
from tests.workplace import Workplace

USERS = """import torch
import features

def make():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(4))
    return features.Backbone(model, ["1", "2"], (3, 32, 32), (-1, 1))
"""


@pytest.fixture
def place(workplace: Workplace) -> Workplace:
    """A workplace with a user's file."""
    (workplace.root / "mine.py").write_text(USERS)
    return workplace


def printed_by(capsys: pytest.CaptureFixture) -> str:
    """What was printed, each check and note on one line; no line is longer than 100 characters."""
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    return re.sub(r"\n( {22}| {7})(?=\S)", " ", out)


def test_a_sound_network_of_a_users_own(place: Workplace, capsys: pytest.CaptureFixture) -> None:
    assert place.main("check", f"{place.root / 'mine.py'}:make") == 0
    printed = printed_by(capsys)
    assert printed.startswith("mine.py:make, on cpu\nok     module         Sequential\n")
    assert len(re.findall(r"^ok ", printed, re.MULTILINE)) == 15 and "FAIL" not in printed
    assert re.search(r"^1 +5 x 32 x 32 +80\n2 +5 x 8 x 8 +80\nall +160$", printed, re.MULTILINE)
    assert "parameters     140\n" in printed and "multiply-adds  0.1 million an image\n" in printed
    assert re.search(r"^speed +[\d.,]+ ms an image, [\d.,]+ a second \(median of 7 batches of \d+\)$", printed, re.M)
    assert re.search(
        r"^cifar10 +38\.4 MB of features for 60,000 images\nsvhn +63\.5 MB .* 99,289 images$", printed, re.M
    )
    assert not place.run.results.exists()


def test_a_record_is_found_by_weights_and_layers(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBONE", "random:imagenet32,width=4")
    assert place.main("check", "--layers", "conv6,conv2", "--record") == 0
    assert place.main("check", "--seed", "1", "--record") == 0
    restricted, whole = results.read_costs(place.run.records / "costs.jsonl")
    contender = resolve("random:imagenet32,width=4", layers=["conv6", "conv2"])
    assert (restricted.weights, restricted.layers) == (contender.weights, list(contender.backbone.layers))
    assert restricted.name == contender.name == "random-init imagenet32 width 4 [conv6,conv2]"
    assert restricted.features == features.feature_width(contender.backbone) == 16 * (16 + 4)
    assert whole.weights != restricted.weights and len(whole.layers) == 6
    assert {"cpu", "cores", "accelerator"} <= whole.hardware.keys() and {"torch", "commit"} <= whole.versions.keys()


def test_large_features_are_warned_of_and_are_no_failure(place: Workplace, capsys: pytest.CaptureFixture) -> None:
    loud = USERS.replace("torch.nn.MaxPool2d(4)", "torch.nn.LPPool2d(1, 4)").replace("(-1, 1)", "(-1e4, 1e4)")
    (place.root / "mine.py").write_text(loud)
    assert place.main("check", f"{place.root / 'mine.py'}:make") == 0
    assert re.search(r"^warn   range          .*: 1, 2; scale the features, or", printed_by(capsys), re.MULTILINE)


def test_what_is_assumed_about_a_port_is_told(place: Workplace, capsys: pytest.CaptureFixture) -> None:
    nn = torch.nn
    parts = [
        nn.Conv2d(3, 4, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 8, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.BatchNorm2d(8),
    ]
    net = nn.Sequential(*parts, nn.Conv2d(8, 1, 4))
    torch.save({"netD": net.state_dict()}, place.root / "last.ckpt")
    assert place.main("check", str(place.root / "last.ckpt")) == 0
    assert printed_by(capsys).splitlines()[:4] == [
        "DCGAN port last, on cpu",
        "note   the discriminator is netD in the file",
        "note   batch norm is after its activation, as the keys tell",
        "note   assumed, since a state dict does not tell: stride 2, padding 1, LeakyReLU(0.2), batch norm's eps 1e-05",
    ]


def test_costs_that_cannot_be_measured_are_one_line(
    place: Workplace, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise AttributeError("no weight")

    monkeypatch.setattr(features, "measure_costs", broken)
    assert place.main("check", f"{place.root / 'mine.py'}:make") == 2
    assert "passes the checks, but its costs cannot be measured: AttributeError: no weight" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edits", "lines"),
    [
        (
            [('"2"]', '"9"]'), ("(3, 32, 32)", "(4, 32, 32)")],
            ["layers .*no layer '9' in this network", r"runs .*image_shape=\(3, 32, 32\)"],
        ),
        ([("(-1, 1)", "(1, -1)")], [r"input .*low < high, numbers or 3 of each, got \(1, -1\)"]),
        ([("Backbone(model", "Backbone(model.forward")], ["module .*got method; wrap it in a torch.nn.Module"]),
        ([("torch.nn.ReLU()", "torch.nn.Flatten()"), ("torch.nn.MaxPool2d(4)", "torch.nn.ReLU()")], ["maps .*to_maps"]),
    ],
)
def test_everything_that_is_wrong_is_told_and_exit_1(
    place: Workplace, capsys: pytest.CaptureFixture, edits: list[tuple[str, str]], lines: list[str]
) -> None:
    source = USERS
    for edit in edits:
        assert edit[0] in source
        source = source.replace(*edit)
    (place.root / "mine.py").write_text(source)
    assert place.main("check", f"{place.root / 'mine.py'}:make", "--record") == 1
    printed = printed_by(capsys)
    failed = [line for line in printed.splitlines() if line.startswith("FAIL")]
    assert len(failed) == len(lines)
    assert all(re.match(f"FAIL   {line}", found) for line, found in zip(lines, failed, strict=True)), failed
    assert "speed" not in printed and not (place.run.records / "costs.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "name the backbone: dcgan-eval check mynet.py:network"),
        (["missing.py:make"], "cannot make it: FileNotFoundError"),
        (["missing.safetensors"], "no checkpoint at missing.safetensors"),
        (["random:imagenet32", "--layers", "conv9"], "no layer 'conv9'; the layers are conv1"),
        (["pixels", "--device", "nogpu"], "set DEVICE=cpu"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    place: Workplace, capsys: pytest.CaptureFixture, arguments: list[str], text: str
) -> None:
    assert place.main("check", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert text in error and "\n" not in error


def test_json_is_one_object(place: Workplace, capsys: pytest.CaptureFixture) -> None:
    keys = {"network", "device", "passed", "notes", "checks", "layers"}
    keys |= {"parameters", "multiply_adds", "images_per_second", "batch", "features"}
    assert place.main("check", f"{place.root / 'mine.py'}:make", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == keys and found["passed"] and found["features"] == 160
    assert found["layers"] == [
        {"layer": "1", "maps": [5, 32, 32], "features": 80},
        {"layer": "2", "maps": [5, 8, 8], "features": 80},
    ]
    (place.root / "mine.py").write_text(USERS.replace("(-1, 1)", "(1, -1)"))
    assert place.main("check", f"{place.root / 'mine.py'}:make", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == keys and not found["passed"] and found["parameters"] is None
    (failed,) = [check for check in found["checks"] if check["verdict"] == "fail"]
    assert failed["check"] == "input" and "low < high" in failed["seen"]


@pytest.mark.parametrize("load", [0.1, 64.0])
def test_a_busy_machine_is_warned_of(
    place: Workplace, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, load: float
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert place.main("check", "random:imagenet32,width=2", "--quiet") == 0
    told = capsys.readouterr().err
    assert told == "" if load < 1 else told.startswith("warning: the machine is busy (load 64.0 on 2 cores): its speed")


def test_an_unwritable_place_for_records_is_found_first(place: Workplace, capsys: pytest.CaptureFixture) -> None:
    place.run.results.write_text("a file where the folder should be")
    assert place.main("check", "pixels", "--record") == 2
    assert "cannot write to" in capsys.readouterr().err

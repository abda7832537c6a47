"""The campaign of a GPU: its steps are commands that exist, in order; it goes on, and ends in time."""

import hashlib
import subprocess
import sys
import time

import pytest
import torch

import gan
from experiments.cli import main as command_line
from experiments.run.reading.documents import read_json, write_json
from experiments.studies.campaign import __main__ as campaign
from experiments.studies.campaign.rounded import round_network
from experiments.studies.campaign.steps import DISCRIMINATOR, STEPS, Step

TWO = (
    Step("first", "a network", 1, "imagenet32", rows=((), ("--mirrored",))),
    Step("second", "a row", 1, rows=(("pixels",),)),
)


@pytest.fixture
def calls(monkeypatch):
    """The commands that were started, by their first words; `codes` are the exit codes that they have."""
    found, codes = [], {}

    def command(words, run, until):
        found.append(words)
        return codes.get(words[0], 0)

    monkeypatch.setattr(campaign, "STEPS", TWO)
    monkeypatch.setattr(campaign, "_command", command)
    monkeypatch.setattr(campaign, "round_network", lambda trained, out, networks: found.append(("round", out.name)))
    return found, codes


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_command_is_understood(step, tmp_path, capsys):
    for command in step.commands(tmp_path):
        if command[0] == "train":
            assert command_line([*command, "--dry-run", "--device", "cpu", "--runs-root", str(tmp_path)]) == 0
        else:
            with pytest.raises(SystemExit):  # the parser takes the options, and --help ends it
                command_line([*command, "--help"])
            assert "usage: dcgan-eval eval" in capsys.readouterr().out


def test_rows_are_those_of_the_rounded_network(calls, tmp_path):
    assert campaign.main(["--runs-root", str(tmp_path), "--device", "cpu"]) == 0
    network = str(tmp_path / "weights" / "first" / "discriminator.safetensors")
    assert [words[:2] for words in calls[0]] == [
        ("train", "imagenet32"), ("round", "first"), ("eval", network), ("eval", network), ("eval", "pixels")
    ]  # fmt: skip


def test_a_step_that_fails_is_named_and_the_others_follow(calls, tmp_path, capsys):
    calls[1]["train"] = 2
    assert campaign.main(["--runs-root", str(tmp_path), "--device", "cpu"]) == 1
    assert [words[:2] for words in calls[0]] == [("train", "imagenet32"), ("eval", "pixels")]
    assert "failed, see above: first" in capsys.readouterr().err


def test_an_interrupted_step_ends_the_campaign(calls, tmp_path, capsys):
    calls[1]["train"] = 130
    assert campaign.main(["--runs-root", str(tmp_path), "--device", "cpu"]) == 130
    assert len(calls[0]) == 1 and "start the same command again to go on" in capsys.readouterr().err


def test_a_command_is_interrupted_when_time_is_up(tmp_path, monkeypatch):
    program = "import time; time.sleep(100)"
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: start([sys.executable, "-c", program], **how))
    began = time.monotonic()
    arguments = ["--runs-root", str(tmp_path), "--device", "cpu", "--only", "supervised", "--minutes", "0.01"]
    assert campaign.main(arguments) == 130 and time.monotonic() - began < 20
    assert campaign.main([*arguments[:-1], "0"]) == 130


def test_an_unknown_step_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        campaign.main(["--only", "nonsense"])
    assert ended.value.code == 2 and "no step nonsense; choose from contrast-long-0" in capsys.readouterr().err


def test_a_network_is_rounded_and_its_summary_says_so(tmp_path):
    trained, out = tmp_path / "run", tmp_path / "out"
    trained.mkdir()
    network = gan.Discriminator(gan.PRESETS["dcgan32"])
    gan.save(trained / "discriminator.safetensors", network)
    digest = hashlib.sha256((trained / "discriminator.safetensors").read_bytes()).hexdigest()
    write_json(trained / "training.json", {"seed": 0, "discriminator": digest, "generator": "g"})
    round_network(trained, out, DISCRIMINATOR)
    summary = read_json(out / "training.json")  # its seal is new, too
    file = out / "discriminator.safetensors"
    assert summary["discriminator"] == hashlib.sha256(file.read_bytes()).hexdigest() != digest
    assert summary["before_rounding_to_float16"] == {"discriminator": digest} and summary["generator"] == "g"
    again = gan.load(file).state_dict()
    assert all(torch.equal(again[name], x.half().to(x.dtype) if x.is_floating_point() else x)
               for name, x in network.state_dict().items())  # fmt: skip

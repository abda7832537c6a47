"""The command line end to end on a fabricated CIFAR-10: figures, records, tables, exit codes, one-line errors."""

import dataclasses
import json
import os
import re
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gan
from experiments import cli
from experiments.data.packed import pack
from experiments.measure import svm
from tests.experiments.commands.small import RANDOM, USERS, records


def test_eval_measures_records_and_prints(roots: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["eval", *RANDOM]) == 0
    printed = capsys.readouterr().out
    (record,) = records(roots)
    assert record["value"] > 40  # chance is 10
    assert record["protocol"] == "cifar10/subset-640" and record["n_test"] == 128
    assert (record["features"], record["max_units"]) == (16 * 4 * (1 + 1 + 2 + 2 + 4 + 4), 16)
    *_, beside, figure = printed.splitlines()
    assert f"{record['value']:.2f} % (95 % " in figure and "n 128, cifar10/subset-640, run " in figure
    assert figure.endswith(record["run_id"]) and "82.8" not in printed  # a subset is not set beside the paper's row
    assert beside == "compare with a control: dcgan-eval eval pixels --subset 640"
    grid = record["selection"]["grid"]
    assert len(grid) >= 6 and max(g["accuracy"] for g in grid) == next(
        g["accuracy"] for g in grid if g["C"] == record["selection"]["C"]
    )
    assert str(roots) not in json.dumps(record)
    assert (roots / "runs" / "tables" / "cifar10.csv").read_text().count(record["run_id"]) == 1


def test_a_second_call_answers_from_the_record(roots: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["eval", *RANDOM]) == 0
    first = capsys.readouterr().out
    for folder in (roots / "runs" / "features").iterdir():
        (folder / "features.f32").unlink()  # would have to be computed again
    assert cli.main(["eval", *RANDOM]) == 0
    again = capsys.readouterr()
    assert again.out == first and "measured before" in again.err and len(records(roots)) == 1
    assert cli.main(["eval", *RANDOM, "--seed", "1"]) == 0
    assert len(records(roots)) == 2


def test_same_seed_same_figure(roots: Path) -> None:
    values = []
    for runs in ("a", "b"):
        os.symlink(roots / "runs" / "packed", roots / "data-packed") if runs == "a" else None
        (roots / runs).mkdir()
        os.symlink(roots / "runs" / "packed", roots / runs / "packed")
        assert cli.main(["eval", *RANDOM, "--runs-root", str(roots / runs)]) == 0
        record = json.loads((roots / runs / "records" / "cifar10.jsonl").read_text())
        values.append((record["value"], record["selection"]["C"], record["solver"]["objective"]))
    assert values[0] == values[1]


@pytest.mark.parametrize("mode", ["running", "batch"])
def test_other_batchnorm_modes(roots: Path, mode: str) -> None:
    assert cli.main(["eval", *RANDOM, "--batchnorm", mode]) == 0
    assert records(roots)[0]["spec"]["batchnorm"] == mode


def test_layers_pixels_and_factories(roots: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\nimport features\n"
        "def make():\n"
        "    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.ReLU())\n"
        "    torch.manual_seed(0)\n"
        "    return features.Backbone(model, ['1'], (3, 32, 32), (-1, 1))\n"
    )
    for backbone, layers, width in (
        ("random:imagenet32,width=4", "conv6,conv2", 16 * (16 + 4)),
        ("pixels", None, 3072),
        (f"{tmp_path / 'mine.py'}:make", None, 80),
    ):
        restrict = ["--layers", layers] if layers else []
        assert cli.main(["eval", backbone, "--subset", "640", *restrict]) == 0
        assert records(roots)[-1]["features"] == width
    assert [r["method"] for r in records(roots)] == [
        "random-init imagenet32 width 4 [conv6,conv2] + L2-SVM",
        "raw pixels + L2-SVM",
        "mine.py:make + L2-SVM",
    ]


def test_extract_and_dry_run(roots: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["eval", *RANDOM, "--dry-run"]) == 0
    assert "896 features" in capsys.readouterr().out and not (roots / "runs" / "features").exists()
    assert cli.main(["extract", *RANDOM]) == 0
    assert "float32 [640, 896]" in capsys.readouterr().out
    assert cli.main(["extract", *RANDOM, "--store", "float16"]) == 0
    assert "float16 [640, 896]" in capsys.readouterr().out
    sizes = [sum(f.stat().st_size for f in roots.rglob(f"features.{kind}")) for kind in ("f32", "f16")]
    assert sizes[0] == 2 * sizes[1] > 0


def test_table_is_made_of_records_alone(roots: Path) -> None:
    assert cli.main(["table", "cifar10"], results=roots / "results") == 0
    csv = (roots / "results" / "tables" / "cifar10.csv").read_text()
    measured = [line for line in csv.splitlines() if ",measured," in line]
    assert measured and all(line.endswith(",measured,") for line in measured)  # no record, no figure


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["eval", "--backbone", "nothing.safetensors"], "no checkpoint at nothing.safetensors"),
        (["eval", "--backbone", "random:imagenet33"], "unknown preset 'imagenet33'; the presets are imagenet32"),
        (["eval", "--backbone", "random:imagenet32,wdth=3"], "settings are width=N"),
        (["eval", "--backbone", "random:imagenet32", "--layers", "conv9"], "no layer 'conv9'; the layers are conv1"),
        (["eval", "--backbone", "theano:imagenet32:nowhere"], "no folder nowhere"),
        (["eval", "--backbone", "nomodule:make"], "cannot make it: ModuleNotFoundError: No module named 'nomodule'"),
        (["eval", "--backbone", "?"], "backbone '?': no file and no network is named like that; write NAME, FILE"),
        (["eval", *RANDOM, "--C", "0,1"], "every C must be positive"),
        (["eval", *RANDOM, "--C", "a"], "--C takes numbers"),
        (["eval", *RANDOM, "--C", "nan"], "every C must be positive and finite"),
        (["eval", *RANDOM, "--record"], "cifar10/subset-640 cannot be recorded among the committed results"),
        (["eval", "pixels", "--batchnorm", "batch", "--record"], "cifar10/full-batchnorm-batch cannot be recorded"),
        (["eval", *RANDOM, "--device", "nogpu"], "set DEVICE=cpu"),
        (["eval", "real", "--table", "mnist", "--mirrored"], "--mirrored has no meaning for --table mnist"),
        (["eval", "supervised:svhn32", "--table", "svhn", "--store", "float16"], "--store has no meaning for"),
        (["eval", "pixels", "--protocol", "cifar10/full-mirrored"], "write --protocol cifar10/full --mirrored"),
        (["eval", "pixels", "--subset", "2000"], "a subset must be smaller"),
        (["data", "cifar11"], "the data set must be one of cifar10-train"),
        (["train", "nothing"], "unknown recipe 'nothing'; the recipes are"),
        (["train", "missing.toml"], "no file missing.toml"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    roots: Path, capsys: pytest.CaptureFixture, arguments: list[str], text: str
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert text in error and "\n" not in error and error.startswith("dcgan-eval: ")
    assert not records(roots) and not list(roots.rglob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["evil"], "no command 'evil'; did you mean 'eval'?"),
        ([], "name a command: data"),
        (["eval", "--subset", "many"], "argument --subset: invalid int value: 'many'"),
        (["eval", "--store", "float8"], "invalid choice: 'float8' (choose from float32, float16)"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_2(capsys: pytest.CaptureFixture, arguments: list[str], text: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and text in error and "\n" not in error and "--help" in error


def test_the_variable_names_the_network(
    roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """As the Makefile hands BACKBONE on."""
    (roots / "mine.py").write_text(USERS)
    monkeypatch.setenv("BACKBONE", f"{roots / 'mine.py'}:make")
    assert cli.main(["eval", "--table", "cifar10", "--subset", "640"]) == 0
    assert "mine.py:make + L2-SVM" in capsys.readouterr().out


def test_an_edited_factory_is_measured_again(roots: Path, capsys: pytest.CaptureFixture) -> None:
    """The weights stay; what is read of them changes."""
    file = roots / "mine.py"
    edits = [("", ""), ('["1"]', '["0"]'), ("(-1, 1)", "(0, 1)"), ('["1"]', '["0", "1"]')]
    for edit in edits:
        file.write_text(USERS.replace(*edit))
        assert cli.main(["eval", f"{file}:make", "--subset", "640"]) == 0
        assert "measured before" not in capsys.readouterr().err
    assert len({r["run_id"] for r in records(roots)}) == len(edits)
    assert len({r["inputs"]["weights"] for r in records(roots)}) == 1


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def make(:\n", "SyntaxError: "),
        ("def make(width):\n    return width\n", "TypeError: make() missing 1 required positional argument: 'width'"),
        ("make = 3\n", "TypeError: 'int' object is not callable"),
        ("def made():\n    return 3\n", "AttributeError: "),
        ("def make():\n    return 3\n", "the factory must return a features.Backbone or a torch.nn.Module, got int"),
        (
            USERS.replace("(3, 32, 32)", "(4, 32, 32)"),
            "cannot run on one image of image_shape (4, 32, 32): RuntimeError",
        ),
        (USERS.replace('["1"]', '["2"]'), "no layer '2' in this network; it has: 0, 1"),
    ],
)
def test_mistakes_in_a_users_file_are_one_line(
    roots: Path, capsys: pytest.CaptureFixture, source: str, text: str
) -> None:
    (roots / "gan.py").write_text(source)  # a name that this project uses
    for more in ([], ["--dry-run"]):
        assert cli.main(["eval", f"{roots / 'gan.py'}:make", "--subset", "640", *more]) == 2
        error = capsys.readouterr().err.strip()
        assert text in error and "\n" not in error
    assert sys.modules["gan"] is gan


def test_a_module_is_found_in_the_present_folder(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (roots / "a_users_module.py").write_text(USERS)
    monkeypatch.chdir(roots)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(roots))])
    assert cli.main(["eval", "a_users_module:make", "--subset", "640"]) == 0


def test_another_figure_of_the_same_run_is_told(
    roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["eval", *RANDOM]) == 0
    measure = svm.FeatureClassification.measure
    monkeypatch.setattr(
        svm.FeatureClassification,
        "measure",
        lambda self, run: [dataclasses.replace(figure, value=1.0) for figure in measure(self, run)],
    )
    assert cli.main(["eval", *RANDOM, "--fresh"]) == 0
    assert re.search(r"already holds run .* so the new 1\.00 %", capsys.readouterr().err) and len(records(roots)) == 1


def test_skipped_files_are_listed_and_exit_1(roots: Path, capsys: pytest.CaptureFixture) -> None:
    images = np.zeros((2, 32, 32, 3), np.uint8)
    folder = roots / "runs" / "packed" / "tiny-imagenet-32"
    details = {"skipped_files": ["a.JPEG: truncated"]}
    pack(folder, [images], shape=images.shape, source="fabricated", transform="none", details=details)
    assert cli.main(["data", "tiny-imagenet-32"]) == 1
    assert "skipped a.JPEG: truncated" in capsys.readouterr().err


def test_nan_weights_are_refused(roots: Path, capsys: pytest.CaptureFixture) -> None:
    (roots / "nan.py").write_text(
        "import torch\nimport features\n"
        "def make():\n"
        "    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3))\n"
        "    torch.nn.init.constant_(model[0].weight, float('nan'))\n"
        "    return features.Backbone(model, ['0'], (3, 32, 32), (-1, 1))\n"
    )
    assert cli.main(["eval", f"{roots / 'nan.py'}:make", "--subset", "640"]) == 2
    assert re.search(r"features must be finite, got NaN or infinity in row 0, layer '0'", capsys.readouterr().err)
    assert not records(roots)


def test_unwritable_results_are_found_before_the_work(roots: Path, capsys: pytest.CaptureFixture) -> None:
    (roots / "results").mkdir()
    (roots / "results" / "runs").write_text("a file where the folder should be")
    assert cli.main(["eval", "pixels", "--record"], results=roots / "results") == 2
    assert "cannot write to" in capsys.readouterr().err and not (roots / "runs" / "features").exists()


def test_interrupt_is_130(roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(svm, "prepare", interrupted)
    assert cli.main(["eval", *RANDOM]) == 130
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["data", "dedup", "train", "check", "extract", "eval", "table"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0 and f"dcgan-eval {command}" in capsys.readouterr().out.split("example:")[1]


def test_a_network_that_fails_late_is_told_in_one_line(roots: Path, capsys: pytest.CaptureFixture) -> None:
    fails = "if len(x) > 8:\n            raise RuntimeError('late')"
    layer = f"class Late(nn.ReLU):\n    def forward(self, x):\n        {fails}\n        return super().forward(x)\n"
    source = USERS.replace("torch.nn.ReLU()", "Late()").replace("def make", f"from torch import nn\n{layer}\ndef make")
    (roots / "late.py").write_text(source)
    assert cli.main(["eval", f"{roots}/late.py:make", "--subset", "640"]) == 2
    assert "the network raises RuntimeError: late (late.py:" in (told := capsys.readouterr().err)
    assert "Traceback" not in told


def test_what_is_assumed_about_a_port_is_told_where_it_is_measured(roots: Path, capsys: pytest.CaptureFixture) -> None:
    named = OrderedDict[str, nn.Module](conv0=nn.Conv2d(3, 4, 4, 2, 1), conv1=nn.Conv2d(4, 8, 4, 2, 1))
    named |= {"norm1": nn.BatchNorm2d(8), "out": nn.Conv2d(8, 1, 4)}  # names that do not tell where norm1 stands
    torch.save(nn.Sequential(named).state_dict(), roots / "netD.pth")
    assert cli.main(["extract", str(roots / "netD.pth"), "--subset", "640"]) == 0
    assert (
        "note: assumed, since a state dict does not tell: batch norm before its activation" in capsys.readouterr().err
    )

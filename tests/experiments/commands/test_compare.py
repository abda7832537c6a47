"""`dcgan-eval compare` end to end on fabricated records: the gate's exit codes, what it prints, what it refuses."""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import results
from experiments import cli
from experiments.commands import eval as eval_
from experiments.data.packed import pack
from experiments.measure.protocols import MIRRORED, PROTOCOLS, SUBSET, WITHOUT_TRAIN
from experiments.measure.records import eval_command
from experiments.networks.resolve import resolve

ROOT = Path(__file__).parents[3]
RECORD = results.read_records(ROOT / "results" / "runs" / "cifar10.jsonl")[0]
LABELS = np.arange(200) % 10
GOOD, BAD = np.arange(200) < 150, (np.arange(200) < 120) & (LABELS != 3)
RUNS = {"good": "20260101-00000001", "bad": "20260102-00000002", "none": "20260103-00000003"}


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workplace with a packed test set of 200 images, and three runs, the last without outcomes."""
    images = np.zeros((200, 32, 32, 3), np.uint8)
    packed = pack(
        tmp_path / "runs" / "packed" / "cifar10-test",
        [images],
        shape=images.shape,
        labels=LABELS,
        source="fabricated",
        transform="none",
    )
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("RUNS_ROOT", str(tmp_path / "runs"))
    for name, right in (("good", GOOD), ("bad", BAD), ("none", None)):
        add(tmp_path, name, right, test=packed.digest)
    return tmp_path


def add(root: Path, name: str, right: np.ndarray | None, *, test: str, **changes) -> results.Record:
    run = changes.pop("run_id", RUNS.get(name))
    outcomes = {} if right is None else {"labels": "all", "right": np.packbits(right).tobytes().hex()}
    inputs = {"test": test, "train": "t", "weights": changes.pop("weights", "w")}
    fixed = {
        "method": name,
        "run_id": run,
        "started": f"{run[:4]}-{run[4:6]}-{run[6:8]}T00:00:00Z",
        "inputs": inputs,
        "outcomes": outcomes,
        "n_test": 200,
        "value": 0.0 if right is None else 100 * float(right.mean()),
        "spec": {"protocol": "cifar10/full"},
        "command": ["dcgan-eval", "eval", name],
    }
    record = dataclasses.replace(RECORD, **fixed | changes)
    results.append_record(root / "runs" / "records" / "cifar10.jsonl", record)
    return record


def compare(root: Path, *arguments: str) -> int:
    return cli.main(["compare", *arguments], results=root / "results")


def told(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    """Lines of the answer without the verdict, none too long; and the verdict, or the error."""
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    return (lines[:-2], lines[-1]) if lines else ([], captured.err.splitlines()[-1])


def test_a_worse_network_closes_the_gate(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(roots, RUNS["good"], RUNS["bad"]) == 1
    lines, said = told(capsys)
    assert said.startswith("B is significantly worse than A: one-sided p = ")
    text = "\n".join(lines)
    for part in ("good: 75.00 % (run 20260101-00000001)", "bad: 54.00 %", "cifar10/full: 200 test images"):
        assert part in text
    assert "-21.00 points of accuracy" in text and "(McNemar, exact)" in text
    assert "79.00 % of the images right or wrong with both, Cohen's kappa 0.56" in text  # (0.79 - 0.52) / 0.48
    classes = {line.split()[0]: line.split()[1:] for line in lines[-10:]}
    assert classes["3"][:4] == ["20", "75.00", "0.00", "-75.00"] and float(classes["3"][4]) < 0.01
    assert classes["4"] == ["20", "75.00", "60.00", "-15.00", "1"]


def test_no_other_order_closes_it(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pair in ((RUNS["bad"], RUNS["good"]), (RUNS["good"], RUNS["good"])):
        assert compare(roots, *pair) == 0
        assert told(capsys)[1].startswith("B is not significantly worse than A")


def test_alpha_moves_the_gate(roots: Path) -> None:
    little = GOOD & (np.arange(200) >= 4)  # four coins of one side: p 1/16
    other = "20260104-00000004"
    add(roots, "little", little, test=results.read_records(records(roots))[0].inputs["test"], run_id=other)
    assert compare(roots, RUNS["good"], other) == 0
    assert compare(roots, RUNS["good"], other, "--alpha", "0.07") == 1
    assert compare(roots, RUNS["good"], other, "--alpha", "1") == 2


def records(root: Path) -> Path:
    return root / "runs" / "records" / "cifar10.jsonl"


def test_a_target_is_its_newest_record_of_these_weights(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = results.read_records(records(roots))[0].inputs["test"]
    target = "random:imagenet32,width=2"
    contender = resolve(target)
    named = {"method": f"{contender.name} + L2-SVM", "test": test}
    for run, weights, right in (
        ("20260105-00000000", contender.weights, BAD),
        ("20260106-00000000", contender.weights, GOOD),
        ("20260107-00000000", "of another seed", BAD),
    ):
        add(roots, "r", right, weights=weights, run_id=run, **named)
    assert compare(roots, RUNS["good"], target) == 0
    assert "20260106-00000000" in "\n".join(told(capsys)[0])


def test_mirrored_records_are_compared_with_each_other(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = results.read_records(records(roots))[0].inputs["test"]
    target, mirrored = "random:imagenet32,width=2", "cifar10/full-mirrored"
    contender = resolve(target)
    named = {"method": f"{contender.name} + L2-SVM", "test": test, "weights": contender.weights}
    assert compare(roots, target, target, "--protocol", mirrored) == 2
    said = told(capsys)[1]
    assert said.startswith("dcgan-eval: no record of both by cifar10/full-mirrored: A (random:imagenet32,width=2) was")
    assert said.endswith("measure A first: dcgan-eval eval random:imagenet32,width=2 --mirrored")
    add(roots, "r", GOOD, protocol="cifar10/full", run_id="20260111-00000000", **named)
    add(roots, "r", BAD, protocol=mirrored, run_id="20260112-00000000", **named)
    assert compare(roots, target, target, "--protocol", mirrored) == 0
    assert "20260112-00000000" in (text := "\n".join(told(capsys)[0])) and "20260111-00000000" not in text
    assert compare(roots, "20260112-00000000", target) == 0  # the named run's protocol
    assert compare(roots, "20260112-00000000", RUNS["good"]) == 2


def test_classes_are_left_out_where_their_labels_are_not_at_hand(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "bad"):
        add(roots, f"{name} of others", GOOD, test="another", run_id=f"20260108-0000000{len(name)}")
    runs = [r.run_id for r in results.read_records(records(roots))[-2:]]
    assert compare(roots, *runs) == 0
    assert told(capsys)[0][-1] == (
        "no classes: no labels of these test images are at hand; dcgan-eval data cifar10-test gets them"
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([RUNS["good"], RUNS["none"]], "does not say which images were right; measure it again: dcgan-eval eval none"),
        ([RUNS["good"], "20200101-00000000"], "no run 20200101-00000000 in"),
        (
            [RUNS["good"], "pixels"],
            "A (20260101-00000001) was measured by cifar10/full; B (pixels) was measured by none; measure B first: "
            "dcgan-eval eval pixels",
        ),
        ([RUNS["good"], "nothing.safetensors"], "no checkpoint at nothing.safetensors"),
        (["pixels", "pixels", "--table", "svhn"], "eval pixels --table svhn --protocol svhn/1000-balanced"),
        (["pixels", "pixels", "--protocol", "x"], "no protocol 'x'; there are cifar10/full, cifar10/400-per-class"),
        (["pixels", "pixels", "--protocol", "cifar10/ful-mirrored"], "did you mean 'cifar10/full-mirrored'?"),
        (["supervised:svhn32", "pixels"], "'supervised:svhn32' must be named by its run id"),
        (
            [RUNS["good"], RUNS["bad"], "--protocol", "cifar10/400-per-class"],
            "no record of both by cifar10/400-per-class: A (20260101-00000001) was measured by cifar10/full; B",
        ),
        ([RUNS["good"], "20260109-00000000"], "was measured by cifar10/full-without-leaked; name runs"),
        (["20260109-00000000", "20260109-00000000"], "got cifar10/full-without-leaked"),
        ([RUNS["good"], "20260110-00000000"], "are of different test sets: name runs that share them"),
    ],
)
def test_mistakes_are_one_line_that_names_the_fix(
    roots: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add(roots, "part", None, test="t", protocol="cifar10/full-without-leaked", run_id="20260109-00000000")
    add(roots, "else", GOOD, test="another", run_id="20260110-00000000")
    assert compare(roots, *words) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert text in line and captured.out == ""


def test_the_newest_common_protocol_is_taken_and_said(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both by cifar10/full, then by a subset, then A by another seed's subset that B lacks."""
    test = results.read_records(records(roots))[0].inputs["test"]
    targets = ("random:imagenet32,width=2", "random:imagenet32,width=3")
    subset = {"protocol": "cifar10/subset-1000", "spec": {"protocol": "cifar10/full", "subset": 1000, "seed": 0}}
    runs = [(0, "20260201-00000000", {}), (1, "20260201-00000001", {})]
    runs += [(0, "20260202-00000000", subset), (1, "20260202-00000001", subset)]
    runs += [(0, "20260203-00000000", subset)]
    for i, run_id, changes in runs:
        contender = resolve(targets[i])
        named = {"method": f"{contender.name} + L2-SVM", "weights": contender.weights, "run_id": run_id}
        digest = test if not changes else "of seed 1" if run_id.startswith("20260203") else "of seed 0"
        add(roots, "r", GOOD, test=digest, **named, **changes)
    for words in (targets, ("20260202-00000000", targets[1])):
        assert compare(roots, *words) == 0
        out, err = capsys.readouterr()
        assert "cifar10/subset-1000: 200 test images" in out and "20260202-00000001" in out
        note = "by cifar10/subset-1000, the newest of both; --protocol takes another: cifar10/full\n"
        assert err == (note if words is targets else "")
    assert compare(roots, *targets, "--protocol", "cifar10/full") == 0
    assert "20260201-00000001" in capsys.readouterr().out
    assert compare(roots, "20260202-00000000", "random:imagenet32,width=4") == 2
    fix = "measure B first: dcgan-eval eval random:imagenet32,width=4 --subset 1000\n"
    assert capsys.readouterr().err.endswith(fix)


def test_json_is_one_object(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(roots, RUNS["good"], RUNS["bad"], "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [
        *("a", "b", "protocol", "n_test", "n_runs", "difference", "interval", "interval_kind", "test", "p_value"),
        *("agreement_percent", "kappa", "classes", "alpha", "worse"),
    ]
    assert found["a"] == {"method": "good", "run_id": RUNS["good"], "accuracy_percent": 75.0}
    assert found["difference"] == pytest.approx(-21) and found["worse"] and len(found["classes"]) == 10


def test_help_states_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["compare", "--help"])
    assert stopped.value.code == 0 and "one-sided" in capsys.readouterr().out


@pytest.mark.parametrize("mirrored", ["", MIRRORED])
@pytest.mark.parametrize("protocol", [*PROTOCOLS, f"{SUBSET}1000"])
def test_the_command_that_is_named_measures_by_that_protocol(protocol: str, mirrored: str) -> None:
    parser = argparse.ArgumentParser(epilog="")
    eval_.options(parser)
    program, name, *words = eval_command("pixels", protocol + mirrored) or ()
    _, spec = eval_._spec(parser.parse_args(words))
    assert (program, name, spec.backbone, spec.rows) == ("dcgan-eval", "eval", "pixels", [protocol + mirrored])
    assert eval_command("pixels", WITHOUT_TRAIN) == eval_command("pixels", "cifar10/full")  # it gives that row, too
    assert eval_command("pixels", "own/mine") is eval_command("pixels", f"{protocol}-batchnorm-batch") is None

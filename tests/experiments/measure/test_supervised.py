"""The supervised row end to end on fabricated digits: what chooses, what is kept, what is refused."""

import dataclasses
import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import evaluation
import gan
from experiments import cli
from experiments.measure import protocols, supervised
from experiments.measure.protocols import FewLabels, Protocol
from experiments.measure.supervised import SupervisedSpec
from experiments.measure.tables import load_table
from experiments.run.context import Run

NAME = "svhn/supervised-of-1083"
COMMAND = ["eval", "supervised:svhn32,width=2", "--table", "svhn", "--protocol", NAME, "--trials", "4"]


@pytest.fixture
def roots(workplace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workplace whose RUNS_ROOT holds 120 + 60 digits that a network can learn, as the protocol has them."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 120), ("test", 60)):
        labels = rng.permutation(np.arange(n) % 3)
        images = rng.integers(0, 200, (n, 32, 32, 3), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):  # class k: a patch at its own place, faint
            image[10 * label : 10 * label + 10, :12] += 50
        workplace.pack(f"svhn-{split}", images, labels)
    monkeypatch.setitem(protocols.SUPERVISED, NAME, Protocol("svhn", "svhn", 120, 60, "error_percent", 30))
    monkeypatch.setattr(supervised, "SupervisedSpec", partial(SupervisedSpec, epochs=8))
    return workplace.root


def records(root: Path) -> list[dict]:
    file = root / "runs" / "records" / "svhn.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def figures(record: dict) -> dict:
    return {name: record[name] for name in ("run_id", "method", "value", "selection", "solver", "outcomes", "spec")}


def test_the_record_holds_every_trial_and_both_errors(roots: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(COMMAND) == 0
    told = capsys.readouterr()
    (record,) = records(roots)
    assert record["method"] == "supervised CNN svhn32 width 2, best of 4 trials" and record["protocol"] == NAME
    assert (record["n_test"], record["n_runs"], record["metric"]) == (60, 1, "error_percent")
    chosen = record["selection"]
    drawn = [dataclasses.asdict(trial) for trial in evaluation.draw_trials(4, seed=0)]
    assert [{k: t[k] for k in drawn[0]} for t in chosen["tried"]] == drawn and chosen["trials"] == 4
    accuracies = [t["accuracy"] for t in chosen["tried"]]
    assert len(set(accuracies)) > 1 and chosen["best"] == int(np.argmax(accuracies))
    assert chosen["validation_error_percent"] == pytest.approx(100 - 100 * max(accuracies))
    assert (chosen["holdout"], record["solver"]["trained on"], record["spec"]["epochs"]) == (30, 90, 8)
    right = np.unpackbits(np.frombuffer(bytes.fromhex(record["outcomes"]["right"]), np.uint8), count=60)
    assert record["value"] == pytest.approx(100 - 100 * right.mean()) and record["value"] < 50  # chance is 67
    assert told.err.count("held-out images") == 4
    assert f"{chosen['validation_error_percent']:.2f} % error on 30 held-out images" in told.err
    assert record["run_id"] in told.out
    assert cli.main([*COMMAND, "--show-table"]) == 0
    told = capsys.readouterr()
    assert "measured before" in told.err and "28.87" in told.out and len(records(roots)) == 1


def test_a_stopped_search_goes_on_and_a_longer_one_begins_with_it(
    roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(COMMAND) == 0
    shutil.rmtree(roots / "runs" / "supervised")
    run_trial, ran = evaluation.run_trial, []

    def counted(data, trial, make, **options):
        if len(ran) == 2 and "stopped" not in ran:
            ran.append("stopped")
            raise KeyboardInterrupt
        ran.append(trial)
        return run_trial(data, trial, make, **options)

    monkeypatch.setattr(evaluation, "run_trial", counted)
    assert cli.main([*COMMAND, "--fresh"]) == 130
    capsys.readouterr()
    shutil.move(roots / "runs" / "records", roots / "uninterrupted")
    assert cli.main([*COMMAND, "--fresh"]) == 0
    assert "2 of 4 trials were run before" in capsys.readouterr().err and len(ran) == 5
    (before,) = [json.loads(line) for line in (roots / "uninterrupted" / "svhn.jsonl").read_text().splitlines()]
    assert figures(records(roots)[0]) == figures(before)
    assert cli.main([*COMMAND[:-1], "5"]) == 0 and len(ran) == 6
    assert records(roots)[1]["selection"]["tried"][:4] == before["selection"]["tried"]


def test_a_damaged_trial_is_told_and_run_again(roots: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(COMMAND) == 0
    files = sorted((roots / "runs" / "supervised").rglob("*.safetensors"))
    whole = [file.read_bytes() for file in files]
    assert len(whole) == 4 and len(whole[0]) > min(map(len, whole))  # one that is not the best has no network
    worst = whole[int(np.argmin([len(content) for content in whole]))]
    flipped = bytearray(whole[0])
    flipped[-5] ^= 1
    for damage in (whole[0][:-9], bytes(flipped), b"", b"{}", worst, whole[0].replace(b"conv", b"cone", 1)):
        files[0].write_bytes(damage)
        capsys.readouterr()
        assert cli.main([*COMMAND, "--fresh"]) == 0
        assert re.search(r"running a trial again: .*trial-0000.safetensors is damaged", capsys.readouterr().err)
        assert len(files[0].read_bytes()) == len(whole[0])  # the same but for the seconds, and so the digest
    assert {json.dumps(figures(record)) for record in records(roots)} == {json.dumps(figures(records(roots)[0]))}


def test_test_digits_change_the_figure_alone(roots: Path) -> None:
    spec = SupervisedSpec("svhn32,width=2", NAME, trials=2, epochs=8)
    run = Run(roots / "data", roots / "runs")
    prepared = supervised.prepare(spec, run)
    data = prepared.data
    assert set(data.test) == set(range(120, 180)) and len(data.train) == 90 and len(data.validation) == 30
    labels = data.labels.copy()
    labels[data.test] = (labels[data.test] + 1) % 3
    other = dataclasses.replace(prepared, data=dataclasses.replace(data, labels=labels), folder=roots / "other")
    (one,), (two,) = (search.measure(run) for search in (prepared, other))
    assert one.selection == two.selection and one.value != two.value
    with pytest.raises(ValueError, match="test and train must have no row in common"):
        dataclasses.replace(data, train=np.append(data.train, data.test[0]))


def test_few_labels_a_class_train_and_none_of_those_held_out(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Protocol("svhn", "svhn", 120, 60, "error_percent", 60, few=FewLabels(per_class=7, select=1, score=1))
    monkeypatch.setitem(protocols.SUPERVISED, "svhn/supervised-1000", rules)
    spec = SupervisedSpec("svhn32,width=2", "svhn/supervised-1000")
    data = supervised.prepare(spec, Run(roots / "data", roots / "runs")).data
    assert np.bincount(data.labels[data.train]).tolist() == [7, 7, 7]
    assert np.bincount(data.labels[data.validation]).tolist() == [20, 20, 20]


def test_the_network_is_the_discriminator_with_another_head() -> None:
    arch = dataclasses.replace(gan.PRESETS["svhn32"], width=4)
    trial = evaluation.draw_trials(1, seed=0)[0]
    made = supervised.network(arch, 10, trial, torch.Generator().manual_seed(trial.seed)).eval()
    discriminator = gan.Discriminator(arch).eval()
    stages = {k: v for k, v in made.state_dict().items() if k.startswith("conv")}
    discriminator.load_state_dict(stages, strict=False)
    assert set(discriminator.state_dict()) - set(stages) == {"logit.weight"}
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = discriminator.units(images) @ made.logits.weight.T + made.logits.bias
    torch.testing.assert_close(made(images), expected)
    assert made(images).shape == (2, 10) and [m.p for m in made if isinstance(m, nn.Dropout)] == [trial.dropout]
    again = supervised.network(arch, 10, trial, torch.Generator().manual_seed(trial.seed))
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True))


def test_dry_run_does_nothing(roots: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main([*COMMAND, "--dry-run"]) == 0
    assert "best of 4 trials: 8 epochs each, svhn/supervised-of-1083" in capsys.readouterr().out
    assert not (roots / "runs" / "supervised").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["supervised:svhn32", "--table", "svhn", "--trials", "0"], "trials must be at least 1, got 0"),
        (["supervised:svhn32", "--table", "svhn", "--trials", "-3"], "trials must be at least 1, got -3"),
        (["supervised:vgg", "--table", "svhn"], "unknown preset 'vgg'; the presets are imagenet32, svhn32"),
        (["supervised:svhn32,depth=3", "--table", "svhn"], "settings are width=N"),
        (
            ["supervised:svhn32", "--table", "svhn", "--protocol", "svhn/1000-of-1083"],
            "it has svhn/supervised-1000, svhn",
        ),
        (
            ["random:svhn32", "--table", "svhn", "--protocol", NAME],
            "for features it has svhn/1000-balanced, svhn/1000-of-1083;",
        ),
        (["supervised:svhn32"], "table cifar10 has no protocol for supervised: networks; choose --table svhn"),
        (["supervised:svhn32", "--table", "svhn", "--layers", "conv1"], "--layers has no meaning for supervised:"),
        (["supervised:svhn32", "--table", "svhn", "--classifier", "k-nn"], "--classifier has no meaning for"),
        (["random:svhn32", "--table", "svhn", "--trials", "4"], "--trials has no meaning for a row of features"),
        (["real", "--table", "mnist", "--trials", "4"], "--trials has no meaning for --table mnist"),
        (
            ["supervised:dcgan64", "--table", "svhn", "--protocol", NAME],
            "takes (3, 64, 64), svhn-train has (3, 32, 32)",
        ),
        (["supervised:svhn32", "--table", "svhn"], "there are 120 and 60; choose --protocol svhn/supervised-of-1083"),
        ([*COMMAND[1:], "--record"], "the table has no row 'supervised CNN svhn32 width 2, best of 4 trials'"),
    ],
)
def test_mistakes_are_one_line(roots: Path, capsys: pytest.CaptureFixture, arguments: list[str], text: str) -> None:
    assert cli.main(["eval", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert text in error and "\n" not in error
    assert not list((roots / "runs").rglob("trial-*"))


def test_trials_that_are_no_number_are_one_line(roots: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*COMMAND[:-1], "many"])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and "--trials: invalid int value: 'many'" in error and "\n" not in error


def test_every_supervised_row_of_the_table_can_be_measured() -> None:
    rows = [row for row in load_table("svhn").rows if row.protocol in protocols.SUPERVISED]
    assert rows
    for row in rows:
        trials = int(row.method.split()[-2])
        assert row.method == SupervisedSpec("svhn32", row.protocol, trials=trials).method

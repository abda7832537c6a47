"""experiments.evaluate: the figures of `dcgan-eval eval` in Python, and figures on own arrays."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import experiments
import features
import results
from experiments import api, evaluate
from experiments.run.context import RESULTS
from tests.workplace import Workplace, learnable

RNG = np.random.default_rng(0)
PARTS = learnable(700, RNG), learnable(300, RNG)
IMAGES, LABELS = [part[0] for part in PARTS], [part[1] for part in PARTS]


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, 4), torch.nn.BatchNorm2d(8), torch.nn.ReLU())


@pytest.fixture
def sets(workplace: Workplace) -> Workplace:
    for part, (images, labels) in zip(("train", "test"), PARTS, strict=True):
        workplace.pack(f"cifar10-{part}", images, labels)
    return workplace


def own(backbone: object = "pixels", protocol: str = "own/blocks", **changed: object) -> "experiments.api.Row":
    given = {"images": IMAGES, "labels": LABELS} | changed
    return evaluate(backbone, protocol, **given)  # type: ignore[arg-type]


def test_importing_experiments_is_cheap() -> None:
    code = "import sys, experiments; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="has no attribute 'evalute'"):
        experiments.evalute  # noqa: B018


def test_a_row_is_that_of_the_command(sets: Workplace, capsys: pytest.CaptureFixture) -> None:
    row = evaluate("random:imagenet32,width=2", "cifar10/subset-640")
    assert capsys.readouterr() == ("", "")
    stored = results.read_records(sets.run.own_records / "cifar10.jsonl")
    assert stored == [row.record] and row.record.command[:3] == ["dcgan-eval", "eval", "random:imagenet32,width=2"]
    assert sets.main(*row.record.command[1:]) == 0
    assert f"measured before, as run {row.run_id}" in capsys.readouterr().err
    assert (row.method, row.protocol, row.metric, row.n_test) == (
        "random-init imagenet32 width 2 + L2-SVM",
        "cifar10/subset-640",
        "accuracy_percent",
        128,
    )
    assert row.interval[0] < row.value < row.interval[1] and row.C == row.record.solver["C"]
    assert re.fullmatch(
        rf"random-ini.* L2-SVM: .* % \(95 % .*-.*\), n 128, cifar10/subset-640, run {row.run_id}", repr(row)
    )
    assert f"<td>{row.run_id}</td>" in row._repr_html_()


def test_objects_are_measured_by_their_name_and_stay_as_they_are(sets: Workplace) -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    row = evaluate(net, "cifar10/subset-640")
    assert row.method == "Sequential + L2-SVM" and row.value > 50
    assert net.training and all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert evaluate(net, "cifar10/subset-640").record == row.record  # measured before
    backbone = features.Backbone(net, ["0"], (3, 32, 32), (0.0, 1.0))
    other = evaluate(backbone, "cifar10/subset-640-mirrored", name="mine")
    assert (other.method, other.protocol) == ("mine + L2-SVM", "cifar10/subset-640-mirrored")
    third = evaluate(backbone, "cifar10/subset-640", name="mine")
    assert sets.main("compare", row.run_id, third.run_id) in (0, 1)


def test_own_arrays_of_any_labels(workplace: Workplace) -> None:
    names = [np.where(labels < 5, "cat", "dog") for labels in LABELS]
    row = own(network(), labels=names, name="mine", runs_root=workplace.root / "elsewhere")
    assert (row.protocol, row.n_test, row.record.selection["holdout"]) == ("own/blocks", 300, 140)
    assert row.value > 80
    assert results.read_records(workplace.root / "elsewhere" / "records" / "own.jsonl") == [row.record]
    same = own(network(), labels=[labels < 5 for labels in LABELS], name="mine", runs_root=workplace.root / "third")
    assert abs(same.value - row.value) < 2
    gray = own(images=[images[:, :16, :, :1] for images in IMAGES], labels=[labels % 3 for labels in LABELS])
    assert gray.n_test == 300 and gray.record.features == 3072


def test_rows_of_own_arrays_are_compared(workplace: Workplace, capsys: pytest.CaptureFixture) -> None:
    runs = [own(backbone, runs_root=workplace.run.runs_root).run_id for backbone in ("pixels", network())]
    assert workplace.main("compare", *runs) in (0, 1)
    told = capsys.readouterr().out
    assert "own/blocks: 300 test images" in told and "labels of own arrays are not kept" in told


def test_test_labels_choose_nothing(workplace: Workplace) -> None:
    """C and the fit are those of the training images, whatever the test labels say."""
    row, wrong = own(), own(labels=[LABELS[0], (LABELS[1] + 1) % 10])
    assert row.value > 90 and wrong.value < 10 and row.run_id != wrong.run_id
    assert row.record.solver == wrong.record.solver


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"protocol": "cifar10/full"}, "the protocol of own arrays must be own/NAME, with a name of yours"),
        ({"labels": None}, "images and labels must both be given"),
        ({"images": [IMAGES[0]]}, r"each as a pair \(training, test\)"),
        ({"images": [IMAGES[0] / 255, IMAGES[1]]}, r"training images must be uint8 .* got float64 \[700, 32, 32, 3\]"),
        ({"labels": [LABELS[0], LABELS[0]]}, r"test labels must be \[300\], one for each image, got \[700\]"),
        ({"labels": [LABELS[0] * 0, LABELS[1]]}, r"at least two classes, got \[0\]"),
        ({"labels": [LABELS[0], LABELS[1] + 5]}, r"which lack \[10, 11, 12, 13, 14\]"),
        ({"labels": [np.arange(700) // 699, LABELS[1]]}, "at least two training images.*; 1 has one"),
        ({"images": [IMAGES[0][:4], IMAGES[1]], "labels": [[0, 1, 0, 1], LABELS[1]]}, "need 5 training images or more"),
        ({"labels": [np.array([1, "b"] * 350, object), LABELS[1]]}, "labels must be of one type that sorts"),
        ({"labels": [LABELS[0], np.array([None] * 300)]}, "labels must be of one type that sorts"),
        ({"labels": [np.where(LABELS[0], np.nan, 0), LABELS[1]]}, "labels must be finite, got NaN"),
        ({"protocol": None}, "the protocol of own arrays must be own/NAME"),
        ({"backbone": "kmeans:8"}, "learned from a named set's images"),
        ({"backbone": "pixles"}, "backbone 'pixles': no file and no network is named like that"),
        ({"backbone": 3}, "backbone 'int': it must be a features.Backbone or a torch.nn.Module, got int"),
        ({"name": "x"}, "keeps its name; leave name= out"),
        ({"backbone": torch.nn.ReLU(), "name": " "}, "name must be one line of text"),
        ({"backbone": torch.nn.Linear(3, 3)}, "backbone 'Linear': "),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
    ],
)
def test_mistakes_are_value_errors_that_name_the_fix(changed: dict, text: str, workplace: Workplace) -> None:
    with pytest.raises(ValueError, match=text):
        own(**changed)
    assert not workplace.run.own_records.exists() or not list(workplace.run.own_records.iterdir())


def test_batch_norm_needs_a_batch(workplace: Workplace) -> None:
    few = {"images": [images[:150] for images in IMAGES], "labels": [labels[:150] for labels in LABELS]}
    with pytest.raises(ValueError, match="a network with batch norm needs 160 training images or more, got 150"):
        own(network(), **few)
    assert own(**few).n_test == 150


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        ("cifar10/ful", "one of them with -mirrored, got 'cifar10/ful'; did you mean 'cifar10/full'?"),
        ("own/pets", "own/NAME needs images= and labels="),
        ("cifar10/subset-10", "subset must be at least 640 images, got 10"),
    ],
)
def test_protocols_are_those_of_tables(protocol: str, text: str, workplace: Workplace) -> None:
    with pytest.raises(ValueError, match=text.replace("?", r"\?")):
        evaluate("pixels", protocol)


def test_a_network_that_cannot_be_copied_is_refused(workplace: Workplace) -> None:
    net = network()
    net.scale = torch.ones(1, requires_grad=True) * 2  # no leaf
    with pytest.raises(ValueError, match="cannot be copied, so that yours stays as it is; write a function"):
        own(net)


def test_rows_are_frozen(workplace: Workplace) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        own().value = 100.0  # type: ignore[misc]


def test_a_row_over_draws_of_labels() -> None:
    record = next(r for r in results.read_records(RESULTS / "runs" / "svhn.jsonl") if r.protocol == "svhn/1000-of-1083")
    row = api._row([record], record.protocol)
    assert row.metric == "error_percent" and row.interval[0] < row.value < row.interval[1] < row.value + 3
    assert f": error {row.value:.2f} % (95 % {row.interval[0]:.2f}-{row.interval[1]:.2f})" in repr(row)
    with pytest.raises(ValueError, match="no audit says which test images cifar10/full-without-leaked leaves out"):
        api._row([record], "cifar10/full-without-leaked")

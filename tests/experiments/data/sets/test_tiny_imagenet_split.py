"""Tiny-ImageNet as a labelled set: a stratified split without near-duplicates across it."""

import dataclasses

import numpy as np
import pytest

import dedup
from experiments.data.leakage import read_audit, write_audit
from experiments.data.load import load
from experiments.data.sets import tiny_imagenet_split
from experiments.data.sets.tiny_imagenet_split import WHOLE, split_rows
from experiments.run.errors import UserError
from tests.workplace import Workplace

CLASSES, EACH, TESTED = 4, 10, 3


@pytest.fixture
def photographs(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(tiny_imagenet_split, "TESTED", TESTED)
    images = np.random.default_rng(0).integers(0, 256, (CLASSES * EACH, 32, 32, 3), dtype=np.uint8)
    train, test = split_rows(workplace.pack(WHOLE, images, np.arange(len(images)) // EACH))
    images[train[5]] = images[test[2]]  # a copy
    images[train[9]] = (images[test[2]] * 0.9).astype(np.uint8)  # the same, darker
    images[train[1]] = images[train[0]]  # copies within one part stay
    workplace.pack(WHOLE, images, np.arange(len(images)) // EACH)
    return images


def test_the_parts_are_the_photographs_but_for_copies_of_test_photographs(
    photographs: np.ndarray, workplace: Workplace
) -> None:
    said: list[str] = []
    run = workplace.run
    object.__setattr__(run, "say", said.append)
    train, test = load("tiny-imagenet-train", run), load("tiny-imagenet-test", run)
    rest, tested = split_rows(load(WHOLE, run))
    assert np.bincount(test.labels).tolist() == [TESTED] * CLASSES
    np.testing.assert_array_equal(test.images, photographs[tested])
    np.testing.assert_array_equal(train.images, photographs[np.delete(rest, [5, 9])])
    np.testing.assert_array_equal(train.labels, np.delete(rest, [5, 9]) // EACH)
    assert train.meta["removed"] == 2 and "removed" not in test.meta
    assert any(line.startswith("2 training photographs are left out") for line in said)
    assert train.meta["of"] == load(WHOLE, run).digest
    assert load("tiny-imagenet-train", run).digest == train.digest


def test_the_pass_over_the_photographs_runs_once(
    photographs: np.ndarray, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("tiny-imagenet-train", workplace.run)
    for file in (workplace.run.runs_root / "packed" / "tiny-imagenet-train").iterdir():
        file.unlink()
    monkeypatch.setattr(dedup, "near_duplicates", lambda *_, **__: pytest.fail("it was computed before"))
    with pytest.warns(UserWarning, match="building tiny-imagenet-train again"):
        assert load("tiny-imagenet-train", workplace.run).digest == first.digest


def test_an_audit_of_images_that_are_not_there_is_one_line(photographs: np.ndarray, workplace: Workplace) -> None:
    load("tiny-imagenet-train", workplace.run)
    (file,) = (workplace.run.runs_root / "leakage").glob("*.json")
    found = read_audit(file)
    write_audit(file.parent, dataclasses.replace(found, pairs=np.array([[0, CLASSES * EACH]])))
    for packed in (workplace.run.runs_root / "packed" / "tiny-imagenet-train").iterdir():
        packed.unlink()
    with (
        pytest.warns(UserWarning, match="building tiny-imagenet-train again"),
        pytest.raises(
            UserError, match=r"tiny-imagenet-test-in-tiny-imagenet-rest\.json names images beyond the end; delete it"
        ),
    ):
        load("tiny-imagenet-train", workplace.run)


def test_too_few_photographs_are_refused(workplace: Workplace) -> None:
    images = np.zeros((8, 32, 32, 3), np.uint8)
    for labels in (np.arange(8) // 4, None):
        workplace.pack(WHOLE, images, labels)
        with pytest.raises(UserError, match="equally many photographs of each class, more than 50"):
            load("tiny-imagenet-test", workplace.run)

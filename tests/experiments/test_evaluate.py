"""The protocol: nothing that is chosen or fitted can see the test set, and it is scored once."""

from pathlib import Path

import numpy as np
import pytest

import evaluation
from experiments import evaluate as module
from experiments.evaluate import BATCH, EvalSpec, Labelled, Prepared, evaluate, prepare

SPEC = EvalSpec("random:imagenet32,width=2", subset=640, calibration_batches=2)


def split(n: int, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    return Labelled(rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.permutation(np.arange(n) % 10), f"{seed}")


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepared:
    sets = {"cifar10-train": split(700, 0), "cifar10-test": split(300, 1)}
    monkeypatch.setattr(module.datasets, "load", lambda name, **_: name)
    monkeypatch.setattr(module, "_labelled", sets.__getitem__)
    return prepare(SPEC, data_root=tmp_path, runs_root=tmp_path)


def run(prepared: Prepared, tmp_path: Path):
    return evaluate(prepared, runs_root=tmp_path, command=[], say=lambda text: None, roots={".": tmp_path})[0]


def test_calibration_and_fit_never_see_the_held_out(prepared: Prepared) -> None:
    assert len(prepared.shown) == 2 * BATCH and len(prepared.holdout) == SPEC.held_out == 128
    assert not set(prepared.shown) & set(prepared.holdout)


def test_test_labels_change_the_figure_alone(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(prepared, tmp_path)
    prepared.test.labels[:] = (prepared.test.labels + 1) % 10
    second = run(prepared, tmp_path)
    assert first.value != second.value
    assert [t["accuracy"] for t in first.selection["grid"]] == [t["accuracy"] for t in second.selection["grid"]]
    assert (first.selection["C"], first.solver) == (second.selection["C"], second.solver)


def test_the_test_set_is_scored_once_after_everything_else(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []

    def noted(owner: object, name: str) -> None:
        function = getattr(owner, name)

        def scripted(*arguments, **options):
            events.append((name, next(len(a) for a in arguments if isinstance(a, np.ndarray))))
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, scripted)

    for owner, name in (
        (evaluation, "select_C"),
        (evaluation, "fit_selected"),
        (evaluation.L2SVM, "decision_function"),
    ):
        noted(owner, name)
    run(prepared, tmp_path)
    assert events == [("select_C", 640), ("fit_selected", 640), ("decision_function", 128)]

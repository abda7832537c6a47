"""Several processes that hold the rows together find what one process finds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluation import L2SVM
from tests.evaluation.sharded_fits import WAYS, cut, problem

pytestmark = pytest.mark.slow

Fits = list[dict[str, np.ndarray]]


def run(folder: Path, processes: int) -> Fits:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.evaluation.sharded_fits", str(folder)]
    started = [subprocess.Popen([*command, str(rank), str(processes)]) for rank in range(processes)]
    assert [process.wait(timeout=300) for process in started] == [0] * processes
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(processes)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return run(tmp_path_factory.mktemp("fits") / "1", 1)[0]


@pytest.fixture(scope="module", params=[2, 3])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fits:
    return run(tmp_path_factory.mktemp("fits") / str(request.param), request.param)


@pytest.mark.parametrize("way", WAYS)
def test_objectives_choices_and_predictions_are_those_of_one_process(way, alone, together):
    for found in together:
        assert (found[f"{way} gap"] <= 1e-7).all()
        for name in ("objective", "two classes", "chosen"):
            np.testing.assert_allclose(found[f"{way} {name}"], alone[f"{way} {name}"], rtol=1e-6)
        np.testing.assert_allclose(found[f"{way} coef"], alone[f"{way} coef"], atol=1e-4)
        np.testing.assert_array_equal(found[f"{way} accuracies"], alone[f"{way} accuracies"])
        assert (found[f"{way} predicted"] == alone[f"{way} predicted"]).mean() >= 0.9999


def test_every_process_has_the_same_fit(together):
    for name in ("objective", "coef", "predicted", "chosen"):
        for way in WAYS:
            for found in together[1:]:
                np.testing.assert_array_equal(found[f"{way} {name}"], together[0][f"{way} {name}"])


def test_problems_in_groups(alone, together):
    for found in (alone, *together):
        np.testing.assert_allclose(found["in groups"], alone["in groups"], rtol=1e-6)


def test_draws_score_each_process_rows(alone, together):
    right = np.concatenate([found["right"] for found in together], 2)
    assert right.shape == alone["right"].shape
    assert (right == alone["right"]).mean() >= 0.9999
    assert all(found["draws gap"] <= 1e-7 for found in together)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NaN", "feature row 899 has NaN"),
        ("labels", "inconsistent numbers of samples"),
        ("one class", "labels must hold at least two classes"),
        ("width", r"every process must have features of one width and type"),
        ("holdout", "holdout must leave rows of every class"),
        ("C", "C must be a positive, finite number, got 0"),
        ("Cs", "C, tol and max_iter must be the same in every process"),
        ("device", "device must be 'cpu' or a 'cuda' device that is there, got 'meta'"),
        ("scored width", "X and X_scored must be equally wide"),
        ("scored labels", "every row of X and X_scored must have one label"),
        ("draws", "draws must be the same in every process"),
    ],
)
def test_what_is_unfit_in_one_process_is_said_in_all(name, text, together):
    said = {str(found[f"error {name}"]) for found in together}
    assert len(said) == 1 and text in said.pop()


def test_a_process_may_have_no_rows_or_none_that_take_part(together):
    X, y, _ = problem()
    rest = slice(cut(900, 0, len(together)).stop, None)
    expected = L2SVM(0.1, tol=1e-7).fit(X[rest], y[rest])
    for rank, found in enumerate(together):
        assert found["odd classes"].dtype == expected.classes_.dtype  # that of the empty list is float64
        for objective in found["odd objective"]:
            np.testing.assert_allclose(objective, expected.objective_, rtol=1e-6)
        assert (found["odd right"].shape[2] == 0) == (rank == 0)


def test_shares_are_all_rows_once():
    for processes in (1, 2, 3):
        rows = np.concatenate([np.arange(900)[cut(900, rank, processes)] for rank in range(processes)])
        np.testing.assert_array_equal(rows, np.arange(900))


def test_without_other_processes_sharded_changes_nothing():
    X, y, _ = problem()
    np.testing.assert_array_equal(L2SVM(0.1, sharded=True).fit(X, y).coef_, L2SVM(0.1).fit(X, y).coef_)

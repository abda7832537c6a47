"""From features to figures: C never sees what is scored, few labels are drawn where they may be."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

import evaluation
from experiments.measure import classify
from experiments.measure.classify import Split, all_labels, among_best, few_labels, scored, standardised
from experiments.measure.protocols import PROTOCOLS, FewLabels, check_images, protocol_of
from experiments.measure.svm import EvalSpec
from experiments.run.context import Run
from experiments.run.errors import UserError

RUN = Run(Path("data"), Path("runs"))
GRID = (1e-3, 1e-2, 1e-1)


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(200) % 2)
    X = (rng.normal(size=(200, 5)) + y[:, None]).astype(np.float32)
    return Split(X[:120], y[:120], X[120:], y[120:], np.arange(90, 120))


@pytest.mark.parametrize("few", [FewLabels(per_class=10, select=4, score=6), FewLabels(size=30, select=0, score=6)])
def test_test_rows_change_the_figure_alone(split: Split, few: FewLabels) -> None:
    if not few.select:
        split = dataclasses.replace(split, holdout=np.empty(0, np.int64))
    first = few_labels(split, GRID, few, 0, RUN)
    other = few_labels(dataclasses.replace(split, y_test=1 - split.y_test), GRID, few, 0, RUN)
    assert first.right.shape == (6, 80) and first.right.mean() > 0.6
    assert (first.selection, first.solver["C"]) == (other.selection, other.solver["C"])
    np.testing.assert_array_equal(first.right, ~other.right)
    assert [entry["C"] for entry in first.selection["grid"]] == list(GRID)


def test_draws_take_no_row_held_out_and_the_scored_ones_are_fresh(split: Split) -> None:
    seen = []
    real = evaluation.score_draws

    def spied(X, y, draws, Cs, X_scored, y_scored, **options):
        seen.append((draws, Cs, len(X_scored)))
        return real(X, y, draws, Cs, X_scored, y_scored, **options)

    by = dataclasses.replace(classify.CLASSIFIER["l2-svm"], score=spied)
    few_labels(split, GRID, FewLabels(per_class=10, select=4, score=6), 0, RUN, by)
    (chosen, Cs, held), (scored, best, tested) = seen
    assert (chosen.shape, held, tuple(Cs)) == ((4, 20), 30, GRID)
    assert (scored.shape, tested, len(best)) == ((6, 20), 80, 1)
    assert not np.isin(split.holdout, np.concatenate([chosen.ravel(), scored.ravel()])).any()
    assert not (chosen[:, None] == scored[None]).all(2).any()


def test_neighbours_go_through_the_same_protocol(split: Split) -> None:
    """The same draws as the L2-SVM's, so that the two can be compared; each row's answer as scikit-learn's."""
    few, by = FewLabels(per_class=10, select=4, score=6), classify.CLASSIFIER["k-nn"]
    svm = few_labels(split, GRID, few, 0, RUN)
    knn = few_labels(split, (1, 5), few, 0, RUN, by)
    np.testing.assert_array_equal(knn.drawn, svm.drawn)
    k = knn.selection["k"]
    for rows, right in zip(knn.drawn, knn.right, strict=True):
        theirs = KNeighborsClassifier(k).fit(split.X[rows], split.y[rows]).predict(split.X_test)
        np.testing.assert_array_equal(right, theirs == split.y_test)
    with pytest.raises(ValueError, match="k-nn needs a protocol with few labels"):
        EvalSpec("pixels", classifier="k-nn")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_features_in_tensors_give_the_same_answers(split: Split, dtype: torch.dtype) -> None:
    """As they come from a GPU: in any classifier, with draws or folds or all labels."""
    X, X_test = (torch.from_numpy(x).to(dtype) for x in (split.X, split.X_test))
    tensors = dataclasses.replace(split, X=X, X_test=X_test)
    arrays = dataclasses.replace(split, X=X.float().numpy(), X_test=X_test.float().numpy())
    folds = FewLabels(size=30, select=0, score=6)
    for ask in (
        lambda s: all_labels(s, GRID, RUN),
        lambda s: few_labels(s, GRID, FewLabels(per_class=10, select=4, score=6), 0, RUN),
        lambda s: few_labels(dataclasses.replace(s, holdout=np.empty(0, np.int64)), GRID, folds, 0, RUN),
        lambda s: few_labels(s, (1, 5), FewLabels(per_class=10), 0, RUN, classify.CLASSIFIER["k-nn"]),
    ):
        found, expected = ask(tensors), ask(arrays)
        np.testing.assert_array_equal(found.right, expected.right)
        accuracies = [[entry["accuracy"] for entry in answer.selection["grid"]] for answer in (found, expected)]
        assert accuracies[0] == accuracies[1]


def test_float16_features_are_standardised_in_float32(split: Split) -> None:
    """Their squares are beyond float16."""
    X, X_test = ((1000 + 100 * x).astype(np.float16) for x in (split.X, split.X_test))
    for found, expected in zip(
        standardised(X, X_test), standardised(X.astype(np.float32), X_test.astype(np.float32)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_standardised_features_keep_the_training_rows_measure(split: Split) -> None:
    X, X_test = standardised(split.X * 7 + 3, split.X_test * 7 + 3)
    np.testing.assert_allclose(X.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(X.std(0), 1, atol=1e-3)
    mean, sd = (split.X * 7 + 3).mean(0), np.sqrt((split.X * 7).var(0) + 0.01)
    np.testing.assert_allclose(X_test, (split.X_test * 7 + 3 - mean) / sd, rtol=1e-4, atol=1e-5)


def test_all_labels_is_one_draw(split: Split) -> None:
    answer = all_labels(split, GRID, RUN)
    assert answer.right.shape == (1, 80) and answer.solver["C"] == answer.selection["C"]


def test_values_that_were_not_tried_are_recorded_and_said(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    select, said = evaluation.select_C, list[str]()
    monkeypatch.setattr(evaluation, "select_C", lambda *a, **o: dataclasses.replace(select(*a, **o), skipped=(1.0, 2)))
    answer = all_labels(split, GRID, dataclasses.replace(RUN, say=said.append))
    assert answer.selection["skipped"] == [1.0, 2] and said[-1].startswith("C 1, 2: not tried")
    assert len(said) == len(answer.selection["grid"]) + 1


def test_figures_of_draws() -> None:
    right = np.array([[True, True, True, False], [True, False, False, False]])  # 75 and 25 %
    error = scored(right, PROTOCOLS["svhn/1000-balanced"])
    assert (error["value"], error["n_test"], error["error_bar_kind"]) == (50, 4, "1.96sd")
    assert error["error_bar"] == pytest.approx(1.96 * np.std([25, 75], ddof=1))
    assert scored(right, PROTOCOLS["cifar10/400-per-class"])["error_bar"] == pytest.approx(np.std([25, 75], ddof=1))
    assert scored(right[:1], PROTOCOLS["cifar10/full"]) == {"value": 75, "n_test": 4}


def test_protocols_are_never_mixed_silently() -> None:
    assert (protocol_of("svhn", None), protocol_of("cifar10", None)) == ("svhn/1000-balanced", "cifar10/full")
    with pytest.raises(
        UserError, match="table svhn has no protocol 'cifar10/full'; for features it has svhn/1000-balanced"
    ):
        protocol_of("svhn", "cifar10/full")
    check_images("svhn/1000-of-1083", 1_083, 6_001)
    with pytest.raises(UserError, match="there are 1,083 and 6,001; choose --protocol svhn/1000-of-1083"):
        check_images("svhn/1000-balanced", 1_083, 6_001)
    with pytest.raises(UserError, match="put the official files in DATA_ROOT"):
        check_images("svhn/1000-balanced", 1_084, 6_001)
    with pytest.raises(ValueError, match="only cifar10/full takes a subset"):
        EvalSpec("pixels", protocol="svhn/1000-balanced", subset=640)


def test_the_best_five_are_counted_as_by_hand() -> None:
    rng = np.random.default_rng(0)
    scores, classes = rng.integers(0, 6, (200, 9)).astype(float), np.arange(9) * 3  # with many equal scores
    truth = classes[rng.integers(0, 9, 200)]
    truth[:5] = 1  # no class
    best, five = among_best(scores, classes, truth)
    order = [sorted(range(9), key=lambda c: (-row[c], c)) for row in scores]
    assert best.tolist() == [classes[o[0]] == t for o, t in zip(order, truth, strict=True)]
    assert five.tolist() == [t in classes[o[:5]] for o, t in zip(order, truth, strict=True)]
    two = np.array([-1.0, 0.0, 2.0, 2.0])
    assert among_best(two, np.array([4, 7]), np.array([4, 4, 7, 4]))[0].tolist() == [True, True, True, False]


def test_c_is_chosen_on_some_rows_and_all_are_fitted() -> None:
    """What lies outside the rows that choose C changes the fit, and not the choice."""
    rng, y, choice = np.random.default_rng(0), np.arange(240) % 12, np.arange(120)
    holdout = choice[96:]
    X = np.eye(12)[y] + rng.normal(0, 0.8, (240, 12))
    split = Split(X.astype(np.float32), y, X.astype(np.float32), y, holdout, choice)
    first = all_labels(split, (0.01, 0.1, 1.0), RUN)
    assert first.selection["rows"] == 120 and first.selection["holdout"] == 24
    again = dataclasses.replace(split, X=split.X.copy())
    again.X[120:] = 0
    other = all_labels(again, (0.01, 0.1, 1.0), RUN)
    assert [t["accuracy"] for t in other.selection["grid"]] == [t["accuracy"] for t in first.selection["grid"]]
    assert other.solver["objective"] != first.solver["objective"]
    svm = evaluation.L2SVM(first.selection["C"], tol=classify.TOL).fit(split.X, y)
    assert first.solver["objective"] == svm.objective_.tolist()
    np.testing.assert_array_equal(first.right[0], svm.predict(split.X_test) == y)
    assert first.top5 is not None and (first.top5 >= first.right[0]).all() and first.top5.mean() > first.right[0].mean()

"""The protocol: nothing that is chosen or fitted can see the test set, and it is scored once."""

import dataclasses

import numpy as np
import pytest
import torch

import evaluation
import features
from dedup.confirm import settings
from experiments.data.leakage import Audit, write_audit
from experiments.measure import extraction, svm
from experiments.measure.labelled_images import BATCH, Labelled, leaked_rows
from experiments.measure.measurement import Figure, identity, recorded
from experiments.measure.protocols import WITHOUT_LEAKED, WITHOUT_TRAIN
from experiments.measure.svm import EvalSpec, FeatureClassification, prepare
from experiments.networks.contender import NOTHING
from experiments.networks.resolve import resolve

SPEC = EvalSpec("random:imagenet32,width=2", subset=640, calibration_batches=2)


def split(n: int, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    return Labelled(rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.permutation(np.arange(n) % 10), f"{seed}")


@pytest.fixture
def prepared(workplace, monkeypatch: pytest.MonkeyPatch) -> FeatureClassification:
    sets = {"cifar10-train": split(700, 0), "cifar10-test": split(300, 1)}
    monkeypatch.setattr(svm, "load_labelled", lambda name, run: sets[name])
    return prepare(SPEC, workplace.run)


def measure(prepared: FeatureClassification, workplace) -> Figure:
    return prepared.measure(workplace.run)[0]


def test_calibration_and_fit_never_see_the_held_out(prepared: FeatureClassification) -> None:
    assert len(prepared.shown) == 2 * BATCH and len(prepared.holdout) == SPEC.held_out == 128
    assert not set(prepared.shown) & set(prepared.holdout)


def test_test_labels_change_the_figure_alone(
    prepared: FeatureClassification, workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure(prepared, workplace)
    prepared.test.labels[:] = (prepared.test.labels + 1) % 10
    second = measure(prepared, workplace)
    assert first.value != second.value
    assert [t["accuracy"] for t in first.selection["grid"]] == [t["accuracy"] for t in second.selection["grid"]]
    assert (first.selection["C"], first.solver) == (second.selection["C"], second.solver)


def test_the_test_set_is_scored_once_after_everything_else(
    prepared: FeatureClassification, workplace, monkeypatch: pytest.MonkeyPatch
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
    measure(prepared, workplace)
    assert events == [("select_C", 640), ("fit_selected", 640), ("decision_function", 128)]


def test_rows_without_leaked_images_come_from_the_same_scoring(prepared: FeatureClassification, workplace) -> None:
    """Leaving out the images that were classified wrongly leaves 100 %: each row counts its own images."""
    prepared.test.labels[:64] = -1  # no class: wrong whatever the network says
    leaked = {"cifar10/a": np.arange(64), "cifar10/b": np.empty(0, np.int64)}
    run = workplace.run
    whole, a, b = recorded(dataclasses.replace(prepared, leaked=leaked), run)
    assert (whole.n_test, a.n_test, b.n_test) == (128, 64, 128)
    assert (a.protocol, b.protocol) == ("cifar10/a", "cifar10/b")
    assert b.value == whole.value == pytest.approx(a.value / 2)
    assert whole.run_id == a.run_id == b.run_id
    plain = recorded(prepared, run)
    assert [record.protocol for record in plain] == [whole.protocol] and plain[0].run_id != whole.run_id


def test_what_is_left_out_comes_from_the_audits_at_hand(workplace) -> None:
    """A control was trained on nothing; a network trained on an audited set loses its leaked images."""
    committed, own = workplace.run.audits
    train, test = split(20, 0), split(10, 1)

    def protocols(trained_on: str | None) -> dict[str, list[int]]:
        contender = dataclasses.replace(resolve("random:imagenet32,width=2"), trained_on=trained_on)
        return {k: v.tolist() for k, v in leaked_rows(contender, train, test, workplace.run).items()}

    assert protocols(None) == {}
    assert protocols(NOTHING) == {WITHOUT_LEAKED: []}
    for folder, against, pairs in ((committed, train.digest, [[3, 0]]), (own, "photos", [[4, 9], [6, 2]])):
        found = Audit(
            {"name": "t", "digest": test.digest}, {"name": against, "digest": against}, np.array(pairs), settings(), {}
        )
        write_audit(folder, found)
    assert protocols(None) == {WITHOUT_TRAIN: [3]}
    assert protocols("photos") == {WITHOUT_LEAKED: [4, 6], WITHOUT_TRAIN: [3]}
    assert protocols("never audited") == {WITHOUT_TRAIN: [3]}


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({}, "cifar10/full"),
        ({"store": "float16"}, "cifar10/full"),
        ({"mirrored": True}, "cifar10/full-mirrored"),
        ({"mirrored": True, "subset": 1000}, "cifar10/subset-1000-mirrored"),
        ({"mirrored": True, "batchnorm": "running"}, "cifar10/full-batchnorm-running-mirrored"),
        ({"mirrored": True, "protocol": "cifar10/400-per-class"}, "cifar10/400-per-class-mirrored"),
        ({"mirrored": True, "protocol": "svhn/1000-balanced"}, "svhn/1000-balanced-mirrored"),
    ],
)
def test_the_column_names_what_departs_from_the_protocol(changes: dict, column: str) -> None:
    assert EvalSpec("pixels", **changes).column == column


def test_records_made_before_there_was_a_choice_keep_their_identity(prepared: FeatureClassification, workplace) -> None:
    spec, inputs = identity(prepared, workplace.run)
    assert list(spec) == [
        *("backbone", "layers", "batchnorm", "calibration_batches", "grid"),
        *("seed", "subset", "protocol", "classifier"),
    ]
    for changes in ({"mirrored": True}, {"store": "float16"}):
        other = dataclasses.replace(prepared, spec=dataclasses.replace(SPEC, **changes))
        assert identity(other, workplace.run) == (spec | changes, inputs)
    with pytest.raises(ValueError, match="store must be one of float32, float16, got 'float64'"):
        EvalSpec("pixels", store="float64")


def test_mirrored_features_have_keys_of_their_own(prepared: FeatureClassification, workplace) -> None:
    mirrored = prepare(dataclasses.replace(SPEC, mirrored=True), workplace.run)
    assert mirrored.keys == tuple({**key, "mirrored": True} for key in prepared.keys)
    assert mirrored.leaked == {}
    stored = svm.extract_features(prepared, workplace.run), svm.extract_features(mirrored, workplace.run)
    images, backbone = prepared.train.images, mirrored.contender.backbone  # calibrated by now
    views = [features.extract(backbone, view, pool=mirrored.contender.pool) for view in (images, images[:, :, ::-1])]
    np.testing.assert_array_equal(stored[0][0], views[0])
    np.testing.assert_array_equal(stored[1][0], (views[0] + views[1]) / 2)


@pytest.mark.parametrize(("store", "batchnorm"), [("float32", "calibrated"), ("float16", "batch")])
def test_features_that_fit_beside_the_solver_stay_on_the_device(
    prepared: FeatureClassification, workplace, monkeypatch: pytest.MonkeyPatch, store: str, batchnorm: str
) -> None:
    """The figure is that of stored ones, and nothing is stored."""
    prepared, said = prepare(dataclasses.replace(SPEC, store=store, batchnorm=batchnorm), workplace.run), []
    run = dataclasses.replace(workplace.run, say=said.append)
    folder = run.runs_root / "features"
    monkeypatch.setattr(extraction, "free_bytes", lambda device: 2**40)
    (resident,) = prepared.measure(run)
    assert not folder.exists() and sum("stay on cpu" in text and "none are stored" in text for text in said) == 1
    monkeypatch.undo()
    (stored,) = prepared.measure(run)
    assert len(list(folder.glob(f"*/features.{'f32' if store == 'float32' else 'f16'}"))) == 2
    for name in ("value", "outcomes", "solver", "features"):
        assert getattr(resident, name) == getattr(stored, name), name


def test_features_are_stored_where_they_leave_the_solver_no_room(
    prepared: FeatureClassification, workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = svm.extraction(prepared)
    width = features.feature_width(prepared.contender.backbone)
    needed = (640 + 128) * (width * 4 + 10 * extraction.SOLVER_SCORE_BYTES)
    needed += extraction.SOLVER_BYTES + width * extraction.SOLVER_COLUMN_BYTES
    for free, kind in ((needed / extraction.SHARE + 1, torch.Tensor), (needed / extraction.SHARE - 1, np.memmap)):
        monkeypatch.setattr(extraction, "free_bytes", lambda device, free=free: free)
        assert all(isinstance(part, kind) for part in wanted.for_classifier(workplace.run, 10))

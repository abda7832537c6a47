"""Sets by name: the user's packed set, then ours, then the source; DATA_ROOT is never written."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.data.load import is_packed, load
from experiments.data.names import KNOWN, NAMES, is_name
from experiments.data.packed import pack
from experiments.run.context import Run
from experiments.run.errors import UserError


def _tree(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}


@pytest.fixture
def run(cifar: SimpleNamespace, tmp_path: Path) -> Run:
    """DATA_ROOT with the official folder, RUNS_ROOT not yet there."""
    cifar.write_folder(tmp_path / "data")
    return Run(tmp_path / "data", tmp_path / "runs")


def test_names() -> None:
    assert len(NAMES) == len(set(NAMES)) and len(KNOWN) == len(set(KNOWN)) and all(map(is_name, KNOWN))
    assert {"cifar10-test", "mnist-28", "fashion-mnist-test-64", "tiny-imagenet-32"} < set(KNOWN)
    assert is_name("lsun-church_outdoor-64")
    assert not any(map(is_name, ("", "mnist", "mnist-test28", "cifar10-val", "lsun-Tower-64", "celeba-128")))


def test_a_set_is_packed_in_either_root(tmp_path: Path) -> None:
    run = Run(tmp_path / "data", tmp_path / "runs")
    for root in (run.data_root, run.runs_root):
        (root / "packed" / root.name).mkdir(parents=True)
        assert is_packed(root.name, run)
    assert not any(is_packed(name, run) for name in ("other", "", ".", "../packed", "data/"))


def test_built_once_and_data_root_untouched(cifar: SimpleNamespace, run: Run) -> None:
    before = _tree(run.data_root)
    made = load("cifar10-test", run)
    np.testing.assert_array_equal(made.images, cifar.images["test"])
    assert made.name == "cifar10-test"
    assert _tree(run.data_root) == before
    built = _tree(run.runs_root)
    (run.data_root / "cifar-10-batches-py" / "test_batch").unlink()
    assert load("cifar10-test", run).digest == made.digest
    assert _tree(run.runs_root) == built


def test_a_damaged_set_of_ours_is_built_again_with_a_warning(cifar: SimpleNamespace, run: Run) -> None:
    load("cifar10-test", run)
    os.truncate(run.runs_root / "packed" / "cifar10-test" / "images.u8", 5)
    with pytest.warns(UserWarning, match=r"building cifar10-test again: .*images\.u8 must hold 12,288 bytes, got 5"):
        made = load("cifar10-test", run)
    np.testing.assert_array_equal(made.images, cifar.images["test"])
    assert os.listdir(run.runs_root / "packed") == ["cifar10-test"]


def test_a_set_without_sidecar_is_built_again(cifar: SimpleNamespace, run: Run) -> None:
    (run.runs_root / "packed" / "cifar10-test").mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"meta\.json is missing"):
        made = load("cifar10-test", run)
    np.testing.assert_array_equal(made.images, cifar.images["test"])
    assert (run.runs_root / "packed" / "cifar10-test" / "meta.json").exists()


def test_another_set_under_the_name_is_not_believed(cifar: SimpleNamespace, run: Run) -> None:
    images = np.zeros((3, 32, 32, 3), np.uint8)  # whole by its own digests, but no CIFAR-10
    pack(run.runs_root / "packed" / "cifar10-test", [images], shape=images.shape, source="s", transform="t")
    with pytest.warns(UserWarning, match="SHA-256 of the test images must be"):
        made = load("cifar10-test", run)
    assert len(made.images) == len(cifar.images["test"])


def test_the_users_packed_set_comes_first(cifar: SimpleNamespace, tmp_path: Path) -> None:
    pack(
        tmp_path / "data" / "packed" / "cifar10-test",
        [cifar.images["test"]],
        shape=cifar.images["test"].shape,
        labels=cifar.labels["test"],
        source="the user",
        transform="none",
    )
    made = load("cifar10-test", Run(tmp_path / "data", tmp_path / "runs"))
    assert made.meta["source"] == "the user" and not (tmp_path / "runs").exists()


def test_the_users_damaged_packed_set_is_an_error(run: Run) -> None:
    (run.data_root / "packed" / "cifar10-test").mkdir(parents=True)
    with pytest.raises(UserError, match=r"data/packed/cifar10-test cannot be used: .*meta\.json is missing"):
        load("cifar10-test", run)


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"must be one of cifar10-train.* packed before .*, got 'cifar10-trian'; did you"
    ):
        load("cifar10-trian", Run(tmp_path, tmp_path))
    (tmp_path / "packed" / "my-album-64").mkdir(parents=True)
    with pytest.raises(UserError, match="did you mean 'my-album-64'"):
        load("my-albun-64", Run(tmp_path, tmp_path))
    with pytest.raises(UserError, match=r"got 'anything'$"):
        load("anything", Run(tmp_path, tmp_path))


@pytest.mark.parametrize("name", ["celeba-64", "lsun-tower-64", "tiny-imagenet-64", "svhn-train", "imagenet32-val"])
def test_a_set_of_another_size_is_not_believed(tmp_path: Path, name: str) -> None:
    images = np.zeros((3, 28, 28, 3), np.uint8)
    pack(tmp_path / "data" / "packed" / name, [images], shape=images.shape, source="s", transform="t")
    with pytest.raises(UserError, match=r"images must be \[N, \d\d, \d\d, 3\], got \[3, 28, 28, 3\]"):
        load(name, Run(tmp_path / "data", tmp_path / "runs"))

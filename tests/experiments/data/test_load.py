"""Sets by name: the user's packed set, then ours, then the source; DATA_ROOT is never written."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.data import load as datasets
from experiments.data.load import load
from experiments.data.packed import pack
from experiments.run.context import Run
from experiments.run.errors import UserError


def _tree(root: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}


@pytest.fixture
def roots(cifar: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """DATA_ROOT with the official folder, RUNS_ROOT not yet there."""
    cifar.write_folder(tmp_path / "data")
    return SimpleNamespace(data_root=tmp_path / "data", runs_root=tmp_path / "runs")


def test_public_names() -> None:
    assert len(datasets.NAMES) == len(set(datasets.NAMES))
    assert datasets.__all__ == ["NAMES", "PackedSet", "Progress", "is_name", "is_packed", "load"]


def test_built_once_and_data_root_untouched(cifar: SimpleNamespace, roots: SimpleNamespace) -> None:
    before = _tree(roots.data_root)
    made = load("cifar10-test", Run(**vars(roots)))
    np.testing.assert_array_equal(made.images, cifar.images["test"])
    assert made.name == "cifar10-test"
    assert _tree(roots.data_root) == before
    built = _tree(roots.runs_root)
    (roots.data_root / "cifar-10-batches-py" / "test_batch").unlink()
    assert load("cifar10-test", Run(**vars(roots))).digest == made.digest
    assert _tree(roots.runs_root) == built


def test_a_damaged_set_of_ours_is_built_again_with_a_warning(cifar: SimpleNamespace, roots: SimpleNamespace) -> None:
    load("cifar10-test", Run(**vars(roots)))
    os.truncate(roots.runs_root / "packed" / "cifar10-test" / "images.u8", 5)
    with pytest.warns(UserWarning, match=r"building cifar10-test again: .*images\.u8 must hold 12,288 bytes, got 5"):
        made = load("cifar10-test", Run(**vars(roots)))
    np.testing.assert_array_equal(made.images, cifar.images["test"])
    assert os.listdir(roots.runs_root / "packed") == ["cifar10-test"]


def test_a_set_without_sidecar_is_built_again(cifar: SimpleNamespace, roots: SimpleNamespace) -> None:
    (roots.runs_root / "packed" / "cifar10-test").mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"meta\.json is missing"):
        made = load("cifar10-test", Run(**vars(roots)))
    np.testing.assert_array_equal(made.images, cifar.images["test"])
    assert (roots.runs_root / "packed" / "cifar10-test" / "meta.json").exists()


def test_another_set_under_the_name_is_not_believed(cifar: SimpleNamespace, roots: SimpleNamespace) -> None:
    images = np.zeros((3, 32, 32, 3), np.uint8)  # whole by its own digests, but no CIFAR-10
    pack(roots.runs_root / "packed" / "cifar10-test", [images], shape=images.shape, source="s", transform="t")
    with pytest.warns(UserWarning, match="SHA-256 of the test images must be"):
        made = load("cifar10-test", Run(**vars(roots)))
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


def test_the_users_damaged_packed_set_is_an_error(roots: SimpleNamespace) -> None:
    (roots.data_root / "packed" / "cifar10-test").mkdir(parents=True)
    with pytest.raises(UserError, match=r"data/packed/cifar10-test cannot be used: .*meta\.json is missing"):
        load("cifar10-test", Run(**vars(roots)))


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be one of cifar10-train.*, got 'cifar-10'"):
        load("cifar-10", Run(tmp_path, tmp_path))


@pytest.mark.parametrize("name", ["celeba-64", "lsun-tower-64", "tiny-imagenet-64", "svhn-train", "imagenet32-val"])
def test_a_set_of_another_size_is_not_believed(tmp_path: Path, name: str) -> None:
    images = np.zeros((3, 28, 28, 3), np.uint8)
    pack(tmp_path / "data" / "packed" / name, [images], shape=images.shape, source="s", transform="t")
    with pytest.raises(UserError, match=r"images must be \[N, \d\d, \d\d, 3\], got \[3, 28, 28, 3\]"):
        load(name, Run(tmp_path / "data", tmp_path / "runs"))

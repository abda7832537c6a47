"""Sets that are larger than the network: which images a run uses, what it records, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

import gan
from experiments.data.packed import PackedSet
from experiments.data.sets.tiny_imagenet import halve
from experiments.deduplication.spec import METHODS, DedupSpec
from experiments.run.errors import UserError
from experiments.training import images as images_module
from experiments.training.images import full_views, training_set
from experiments.training.recipe import Recipe
from tests.workplace import Workplace

RECIPE = Recipe(
    name="tiny",
    preset="imagenet32",
    dataset="tiny-imagenet-64",
    training=gan.TrainingConfig(images=64, decay_from=32, batch_size=8, seed=3),
    width=2,
    dedup=DedupSpec("phash"),
)


def photographs(n: int = 40, copies: int = 5) -> np.ndarray:
    """uint8 [n, 64, 64, 3]; the last are full of other noise than the first, but equal at half their size."""
    coarse = np.random.default_rng(0).integers(64, 192, (n, 32, 32, 3), dtype=np.uint8)
    coarse[n - copies :] = coarse[:copies]
    noise = np.random.default_rng(1).integers(-60, 61, (n, 32, 1, 32, 1, 3))
    fine = coarse[:, :, None, :, None] + np.concatenate([noise, -noise], axis=2) * [[[1], [-1]]]
    return fine.astype(np.uint8).reshape(n, 64, 64, 3)


@pytest.fixture
def packed(workplace: Workplace) -> tuple[PackedSet, PackedSet]:
    """The photographs and the same ones at half their size, with the same labels."""
    whole, labels = photographs(), np.arange(40)
    large = workplace.pack("tiny-imagenet-64", whole, labels)
    return large, workplace.pack("tiny-imagenet-32", halve(whole), labels)


def test_a_larger_set_has_the_near_duplicates_and_the_digest_of_the_same_photographs_at_the_networks_size(
    packed: tuple[PackedSet, PackedSet], workplace: Workplace
) -> None:
    large, small = packed
    of_large = training_set(RECIPE, workplace.run)
    of_small = training_set(dataclasses.replace(RECIPE, dataset="tiny-imagenet-32"), workplace.run)
    assert of_large.removed.tolist() == of_small.removed.tolist() == [[i, 35 + i] for i in range(5)]
    assert np.array_equal(of_large.images, large.images) and torch.equal(of_large.rows, of_small.rows)
    assert of_large.summary["at_network_size"] == small.digest != large.digest == of_large.summary["digest"]
    assert "at_network_size" not in of_small.summary and of_small.summary["digest"] == small.digest


@pytest.mark.parametrize("method", METHODS)
def test_no_pass_sees_another_size(method: str, packed: object, workplace: Workplace, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(images_module, "find_removed", lambda *given: seen.append(given) or np.empty((0, 2), np.int64))
    training_set(dataclasses.replace(RECIPE, dedup=DedupSpec(method)), workplace.run)
    ((views, spec, _),) = seen
    assert np.array_equal(views, halve(photographs())) and spec == DedupSpec(method)


def test_full_views_are_gathered_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, full_view = [], gan.full_view
    monkeypatch.setattr(images_module, "BLOCK", 16)
    monkeypatch.setattr(gan, "full_view", lambda images, size: sizes.append(len(images)) or full_view(images, size))
    whole, rows = torch.from_numpy(photographs()), torch.arange(39, -1, -1)
    views = full_views(whole, rows, 32)
    assert sizes == [16, 16, 8] and views.dtype == torch.uint8
    assert np.array_equal(views, halve(whole.numpy())[::-1])
    assert torch.equal(full_views(whole, rows, 64), whole.flip(0))


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((16, 16, 3), "mine holds images of 16x16 with 3 channels, but tiny needs squares of 32x32 or larger with 3;"),
        ((32, 64, 3), "holds images of 32x64"),
        ((64, 32, 3), "holds images of 64x32"),
        ((64, 64, 1), "holds images of 64x64 with 1 channels"),
    ],
)
def test_sets_that_do_not_fit_are_refused(shape: tuple[int, ...], text: str, workplace: Workplace) -> None:
    workplace.pack("mine", np.zeros((40, *shape), np.uint8))
    with pytest.raises(UserError, match=text):
        training_set(dataclasses.replace(RECIPE, dataset="mine"), workplace.run)

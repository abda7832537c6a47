"""Centroids are learned once. Their file is read if it is complete; otherwise they are learned again."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import evaluation
from experiments.networks.kmeans import learn_once
from experiments.networks.resolve import resolve
from experiments.run.context import Run
from experiments.run.errors import UserError
from tests.workplace import Workplace, learnable


def test_learned_once_and_again_where_damaged(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    calls = []

    def learn(images, k, *, seed, progress):
        calls.append((k, seed))
        return evaluation.learn_kmeans(images, k, seed=seed, patches=200, iterations=2)

    def one(k: int, seed: int, digest: str = "d") -> np.ndarray:
        packed = SimpleNamespace(images=images, digest=digest)
        return learn_once(k, seed, packed, Run(tmp_path, tmp_path), learn=learn).triangle.centroids.numpy()

    first = one(4, 0)
    np.testing.assert_array_equal(one(4, 0), first)
    assert calls == [(4, 0)]
    (file,) = (tmp_path / "kmeans").iterdir()
    whole = bytearray(file.read_bytes())
    for damage in (whole[:-9], bytes(whole[:-40]) + bytes([whole[-40] ^ 1]) + bytes(whole[-39:]), b""):
        file.write_bytes(damage)
        with pytest.warns(UserWarning, match="learning K-means again: .* is damaged"):
            np.testing.assert_array_equal(one(4, 0), first)
    assert calls == [(4, 0)] * 4 and file.read_bytes() == whole
    one(4, 1), one(4, 0, "other"), one(5, 0)
    assert calls[4:] == [(4, 1), (4, 0), (5, 0)]


def test_without_a_run_they_stand_unlearned() -> None:
    contender = resolve("kmeans:7")
    assert contender.name == "k-means 7, 1 layer" and contender.standardised
    for text in ("kmeans:", "kmeans:1", "kmeans:many"):
        with pytest.raises(UserError, match="write kmeans:K"):
            resolve(text)


@pytest.mark.slow
def test_learned_from_the_set_that_is_named(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """And kept by it: another set is asked for, and its centroids are others."""
    rng = np.random.default_rng(0)
    learned = []
    for name in ("cifar10-train", "mine"):
        workplace.pack(name, *learnable(20, rng))
        learned.append(resolve("kmeans:2", workplace.run, learn_from=name).weights)
    assert learned[0] == resolve("kmeans:2", workplace.run).weights
    assert len({*learned, resolve("kmeans:2").weights}) == 3
    assert len(list((workplace.run.runs_root / "kmeans").iterdir())) == 2

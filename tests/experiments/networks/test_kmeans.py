"""Centroids learned once: read again where they are whole, learned again where they are not."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import evaluation
from experiments.networks import kmeans as centroids
from experiments.networks.backbones import resolve
from experiments.run.errors import UserError


def test_learned_once_and_again_where_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    calls = []

    def learn(images, k, *, seed, progress=None):
        calls.append((k, seed))
        return evaluation.learn_kmeans(images, k, seed=seed, patches=200, iterations=2)

    monkeypatch.setattr(centroids, "evaluation", SimpleNamespace(**vars(evaluation) | {"learn_kmeans": learn}))

    def one(k: int, seed: int, digest: str = "d") -> np.ndarray:
        packed = SimpleNamespace(images=images, digest=digest)
        return centroids.learned(k, seed, images=lambda: packed, runs_root=tmp_path).triangle.centroids.numpy()

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


def test_a_kmeans_backbone() -> None:
    contender = resolve("kmeans:7")
    assert contender.name == "k-means 7, 1 layer" and contender.standardised
    for text in ("kmeans:", "kmeans:1", "kmeans:many"):
        with pytest.raises(UserError, match="write kmeans:K"):
            resolve(text)

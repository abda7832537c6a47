"""The planted experiment: methods of known recall score it, and the copies are what their names say."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dedup
from experiments.data.packed import pack
from experiments.data.sets.tiny_imagenet import halve
from experiments.run.context import Run
from experiments.studies import planted_copies


def photographs(n: int, seed: int = 0) -> np.ndarray:
    """uint8 [n, 64, 64, 3], smooth, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 9, 9, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((64, 64), Image.Resampling.BICUBIC)) for c in coarse])


def nothing(originals: np.ndarray, copies: np.ndarray) -> np.ndarray:
    return np.empty((0, 2), np.int64)


def own_and_next(originals: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """The first half's copies, and each of them with the following original as well."""
    i = np.arange(len(originals) // 2)
    return np.concatenate([np.stack([i, i], 1), np.stack([i + 1, i], 1)])


def test_methods_of_known_answers():
    table = pd.DataFrame(planted_copies.planted(photographs(20), {"none": nothing, "half": own_and_next}))
    assert list(table) == ["method", "transform", "found_percent", "false_pairs_per_1000_images", "n"]
    assert list(table["transform"].unique()) == list(planted_copies.TRANSFORMS)
    none, half = table[table["method"] == "none"], table[table["method"] == "half"]
    assert (none["found_percent"] == 0).all() and (none["false_pairs_per_1000_images"] == 0).all()
    assert (half["found_percent"] == 50).all() and (half["false_pairs_per_1000_images"] == 500).all()
    assert (table["n"] == 20).all()


@pytest.mark.parametrize("transform", planted_copies.TRANSFORMS)
def test_copies_are_altered_images_of_half_size(transform):
    images = photographs(6)
    copies, originals = halve(planted_copies.TRANSFORMS[transform](images)), halve(images)
    assert copies.dtype == np.uint8 and copies.shape == originals.shape
    difference = np.abs(copies.astype(int) - originals)
    assert difference.max() > 0
    if transform not in ("mirrored", "shifted by one pixel"):
        assert difference.mean() < 16


def test_what_each_copy_is():
    images = photographs(6)
    small, made = (
        halve(images),
        {name: halve(alter(images)).astype(int) for name, alter in planted_copies.TRANSFORMS.items()},
    )
    assert np.array_equal(made["mirrored"], small[:, :, ::-1])
    assert np.array_equal(made["shifted by one pixel"][:, :, 1:], small[:, :, :-1])
    assert np.abs(made["brightness -10 %"] - 0.9 * small).max() <= 1
    assert np.abs(made["brightness +10 %"] - np.minimum(255, 1.1 * small)).max() <= 10  # clipped before it is halved
    weaker, stronger = (np.abs(made[f"JPEG quality {q}"] - small).mean() for q in (75, 50))
    assert 0 < weaker < stronger


def test_pairs_of_the_methods():
    originals = np.concatenate([halve(photographs(5)), halve(photographs(1))])  # the last equals the first
    expected = [[0, 0], [0, 5], *([i, i] for i in range(1, 5)), [5, 0], [5, 5]]
    for method in (
        planted_copies.METHODS["phash, radius 4"],
        planted_copies.colliding(dedup.phash),
        planted_copies.colliding(two_words),
    ):
        assert method(originals, originals).tolist() == expected
    assert planted_copies.colliding(two_words)(originals[:2], originals[2:4]).tolist() == []


def two_words(images: np.ndarray) -> np.ndarray:
    return np.stack([dedup.phash(images), dedup.dhash(images)], axis=1)


def test_the_table_of_a_set(tmp_path, capsys):
    runs = tmp_path / "runs"
    images = photographs(80)
    for name, content in (("tiny-imagenet-64", images), ("tiny-imagenet-32", halve(images))):
        pack(runs / "packed" / name, [content], shape=content.shape, source="fabricated", transform="none")
    arguments = ["--data-root", str(tmp_path), "--runs-root", str(runs), "--n", "40", "--steps", "30"]
    planted_copies.main([*arguments, "--out", str(tmp_path / "a.csv")])
    assert "semantic, exact collision" in capsys.readouterr().out
    planted_copies.main([*arguments, "--out", str(tmp_path / "b.csv")])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    table = pd.read_csv(tmp_path / "a.csv")
    assert len(table) == len(planted_copies.TRANSFORMS) * (len(planted_copies.METHODS) + 1)
    assert (table["n"] == 40).all() and (table["set"] == "tiny-imagenet-64").all() and (table["seed"] == 0).all()
    recompressed = table[table["transform"] == "JPEG quality 75"].set_index("method")["found_percent"]
    assert recompressed["phash, radius 4"] > 90 > table[table["transform"] == "mirrored"]["found_percent"].max()
    with pytest.raises(ValueError, match=r"n must lie in \[1, 80\], the images of tiny-imagenet-64, got 81"):
        planted_copies.measure("tiny-imagenet-64", {}, Run(tmp_path, runs), n=81)

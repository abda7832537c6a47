"""What each method of the pass finds: copies of smooth pictures, and of nothing else."""

import io

import numpy as np
import pytest
from PIL import Image

import dedup
from experiments.deduplication import methods as duplicates
from experiments.deduplication.run_pass import removed
from experiments.deduplication.spec import METHODS, DedupSpec


def photographs(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """uint8 [n, side, side, 3], smooth, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


def recompressed(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=80)
    return np.asarray(Image.open(buffer))


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "SEMANTIC", dedup.SemanticConfig(steps=40))


@pytest.mark.parametrize("method", METHODS)
def test_copies_are_removed_for_the_first_of_them(method: str) -> None:
    images = photographs(60)
    images = np.concatenate([images, images[[7, 3]], images[[3]]])
    expected = [[3, 61], [3, 62], [7, 60]]
    assert removed(images, DedupSpec(method)).tolist() == expected
    assert removed(images, None).tolist() == []


@pytest.mark.parametrize("method", [m for m in METHODS if m != "semantic"])
def test_recompressed_copies_are_found(method: str) -> None:
    images = photographs(40)
    images = np.concatenate([images, [recompressed(images[5])]])
    assert removed(images, DedupSpec(method)).tolist() == [[5, 40]]


def test_apart_is_in_gray_levels_and_does_not_see_brightness() -> None:
    images = photographs(3).clip(0, 200)
    assert duplicates.apart(images, images + 30).tolist() == [0, 0, 0]
    other = images.astype(int)
    other[:, ::2] += 10  # half the rows: five gray levels each way from the mean
    assert duplicates.apart(images, other.astype(np.uint8)) == pytest.approx([5, 5, 5])
    large = photographs(3, side=64)
    assert duplicates.apart(large, large).tolist() == [0, 0, 0]


def test_groups_become_pairs() -> None:
    groups = np.array([0, 1, 0, 1, 4, 0])
    assert duplicates.staying_and_going(groups).tolist() == [[0, 2], [0, 5], [1, 3]]
    assert duplicates.staying_and_going(np.arange(3)).tolist() == []


def test_learning_the_code_is_followed() -> None:
    seen = []

    def progress(iterable, *, total, desc, unit):
        for item in iterable:
            yield item
            seen.append((total, desc))

    found = duplicates.find(DedupSpec("semantic"), _Pixels(photographs(40)), progress=progress)
    assert seen == [(40, "learning the semantic code")] * 40
    assert found.semantic is not None and found.unit == "gray levels"


class _Pixels:
    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def pixels(self) -> np.ndarray:
        return self.images

    def codes(self, name: str) -> np.ndarray:
        raise AssertionError("not asked for")

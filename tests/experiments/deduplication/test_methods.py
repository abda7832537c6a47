"""What each method of the pass finds: copies of smooth pictures, and of nothing else."""

import numpy as np
import pytest

import dedup
from experiments.deduplication.methods import Found, comparable, find, find_removed, mean_difference, removals
from experiments.deduplication.spec import METHODS, DedupSpec
from experiments.run.progress import Progress, silent
from tests.experiments.deduplication.made_up import photographs, recompressed


def found(method: str, images: np.ndarray, progress: Progress = silent) -> Found:
    """What the pass finds within the images, the semantic hash learnt in 40 steps."""
    spec, short = DedupSpec(method), dedup.SemanticConfig(steps=40)
    return find(spec, comparable(images, spec), progress=progress, semantic=short)


@pytest.mark.parametrize("method", METHODS)
def test_copies_are_removed_for_the_first_of_them(method: str) -> None:
    images = photographs(60)
    images = np.concatenate([images, images[[7, 3]], images[[3]]])
    assert found(method, images).pairs.tolist() == [[3, 61], [3, 62], [7, 60]]


@pytest.mark.parametrize("method", [m for m in METHODS if m != "semantic"])
def test_recompressed_copies_are_found(method: str) -> None:
    images = photographs(40)
    images = np.concatenate([images, [recompressed(images[5], 80)]])
    assert find_removed(images, DedupSpec(method)).tolist() == [[5, 40]]
    assert find_removed(images, None).tolist() == []


def test_the_difference_is_in_gray_levels_and_does_not_see_brightness() -> None:
    images = photographs(3).clip(0, 200)
    assert mean_difference(images, images + 30).tolist() == [0, 0, 0]
    other = images.astype(int)
    other[:, ::2] += 10  # half the rows: five gray levels each way from the mean
    assert mean_difference(images, other.astype(np.uint8)) == pytest.approx([5, 5, 5])
    large = photographs(3, side=64)
    assert mean_difference(large, large).tolist() == [0, 0, 0]


def test_removals_are_sorted_by_the_image_that_stays() -> None:
    representatives = np.array([0, 1, 0, 1, 4, 0])
    assert removals(representatives).tolist() == [[0, 2], [0, 5], [1, 3]]
    assert removals(np.arange(3)).tolist() == []


def test_learning_the_code_is_followed() -> None:
    seen = []

    def progress(iterable, *, total, desc, unit):
        for item in iterable:
            yield item
            seen.append((total, desc))

    learnt = found("semantic", photographs(40), progress=progress)
    assert seen == [(40, "learning the semantic code")] * 40
    assert learnt.semantic is not None and learnt.unit == "gray levels"

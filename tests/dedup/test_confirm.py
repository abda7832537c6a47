"""The calibrated pass: what it finds, and that a pair is a pair whatever else is in the sets."""

import io

import numpy as np
import pytest
from PIL import Image

import dedup
from dedup import confirm


def photographs(n: int, seed: int = 0, side: int = 32) -> np.ndarray:
    """uint8 [n, side, side, 3], smooth, none like another."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse])


def recompressed(images: np.ndarray, quality: int = 60) -> np.ndarray:
    copies = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        copies.append(np.asarray(Image.open(buffer)))
    return np.stack(copies)


def shifted(images: np.ndarray) -> np.ndarray:
    return np.concatenate([images[:, :, :1], images[:, :, :-1]], axis=2)


def darker(images: np.ndarray) -> np.ndarray:
    return (images * 0.8).astype(np.uint8)


@pytest.mark.parametrize("altered", [recompressed, shifted, darker], ids=lambda f: f.__name__)
def test_altered_copies_are_found_and_nothing_else(altered) -> None:
    originals = photographs(60)
    pairs = dedup.near_duplicates(originals, altered(originals))
    assert pairs.dtype == np.int64 and pairs.tolist() == [[i, i] for i in range(60)]


def test_within_a_set_equal_images_are_paired_with_the_first_alone() -> None:
    images = photographs(12)
    copies = recompressed(images[3:5])
    together = np.concatenate([images, images[5:6], copies, images[5:6], images[3:4]])
    assert dedup.near_duplicates(together).tolist() == [[3, 13], [3, 16], [4, 14], [5, 12], [5, 15]]


def test_equal_images_are_removed_for_the_same_one() -> None:
    """Image 13 equals 12, which is removed for 3: pairs name only (12, 13), so 13 must inherit."""
    images = photographs(12)
    copy = recompressed(images[3:4])
    together = np.concatenate([images, copy, copy, images[5:6]])
    assert dedup.near_duplicates(together).tolist() == [[3, 12], [5, 14], [12, 13]]
    found = dedup.near_duplicate_representatives(together)
    assert found.tolist() == [*range(12), 3, 3, 5]
    assert np.flatnonzero(~dedup.keep_mask(found)).tolist() == [12, 13, 14]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_removed_has_a_near_duplicate_that_stays_and_what_stays_has_none(seed: int) -> None:
    """Against the rule word by word, on fades between photographs, with repeats, in random order."""
    rng = np.random.default_rng(seed)
    a, b = photographs(4, seed=seed).astype(float), photographs(4, seed=seed + 9)
    fades = [a[k % 4] + (b[k % 4] - a[k % 4]) * rng.random() for k in range(60)]
    images = np.stack(fades).round().astype(np.uint8)[rng.integers(0, 60, 80)]
    near = np.zeros((80, 80), bool)
    i, j = dedup.near_duplicates(images, images).T
    near[i, j] = True
    kept: list[int] = []
    for i in range(80):
        if not near[i, kept].any():
            kept.append(i)
    found = dedup.near_duplicate_representatives(images)
    assert np.flatnonzero(dedup.keep_mask(found)).tolist() == kept and 4 < len(kept) < 60
    assert found.tolist() == [next((j for j in kept if j < i and near[i, j]), i) for i in range(80)]


def test_a_pair_does_not_depend_on_other_images_their_order_or_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a = photographs(40)
    b = np.concatenate([photographs(30, seed=1), shifted(a[:10])])
    pairs = dedup.near_duplicates(a, b)
    assert len(pairs) == 10
    order = np.random.default_rng(0).permutation(40)
    again = dedup.near_duplicates(a[order], b)
    assert sorted([order[i], j] for i, j in again) == pairs.tolist()
    assert sorted([i, j] for j, i in dedup.near_duplicates(b, a).tolist()) == pairs.tolist()
    assert dedup.near_duplicates(a[:5], b).tolist() == [pair for pair in pairs.tolist() if pair[0] < 5]
    within = dedup.near_duplicates(np.concatenate([a, b]))
    assert within.tolist() == [[i, 40 + j] for i, j in pairs.tolist()]
    monkeypatch.setattr(confirm, "_BLOCK", 7)
    monkeypatch.setattr(confirm, "_COLUMNS", 14)
    assert np.array_equal(dedup.near_duplicates(a, b), pairs)
    assert np.array_equal(dedup.near_duplicates(np.concatenate([a, b])), within)


def test_images_of_other_sizes_are_compared_too() -> None:
    large = photographs(20, side=96)
    half = np.stack([np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BOX)) for image in large])
    assert dedup.near_duplicates(large, half).tolist() == [[i, i] for i in range(20)]
    gray = large.mean(axis=3, keepdims=True).astype(np.uint8)
    assert dedup.near_duplicates(gray, recompressed(gray.repeat(3, axis=3))).tolist() == [[i, i] for i in range(20)]


def test_images_of_one_colour_are_duplicates_only_where_equal() -> None:
    flat = np.zeros((40, 32, 32, 3), np.uint8)
    flat[:] = np.arange(40, dtype=np.uint8)[:, None, None, None] // 2 * 12
    assert dedup.near_duplicates(flat).tolist() == [[i, i + 1] for i in range(0, 40, 2)]
    assert dedup.near_duplicates(flat[::2], flat[1::2]).tolist() == [[i, i] for i in range(20)]


def test_a_frame_around_nothing_is_found() -> None:
    framed = np.full((2, 32, 32, 3), 250, np.uint8)
    framed[0, :3] = framed[0, :, 29:] = 20
    framed[1, :3] = framed[1, 29:] = 20
    other = framed.copy()
    other[:, 0, 0] = 21
    assert dedup.near_duplicates(framed, other).tolist() == [[0, 0], [1, 1]]


def test_too_many_alike_are_refused_before_memory_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.repeat(photographs(1), 9, axis=0)
    images[:, 0, 0, 0] = np.arange(9)
    assert len(dedup.near_duplicates(images)) == 36
    monkeypatch.setattr(confirm, "_MOST", 35)
    with pytest.raises(
        ValueError, match="more than 35 pairs look alike: remove equal images first, or use a hash's groups"
    ):
        dedup.near_duplicates(images)


def test_progress_sees_every_block() -> None:
    seen: list[tuple[str, int, int]] = []

    def progress(blocks, *, total: int, desc: str, unit: str):
        blocks = list(blocks)
        seen.append((desc, total, len(blocks)))
        return blocks

    dedup.near_duplicates(photographs(600), photographs(5, seed=1), progress=progress)
    assert seen[:3] == [("describing", 2, 2), ("describing", 1, 1), ("comparing", 2, 2)]
    assert all(total == count for _, total, count in seen)


def test_nothing_and_what_is_no_image() -> None:
    nothing = np.empty((0, 32, 32, 3), np.uint8)
    assert dedup.near_duplicates(nothing).shape == dedup.near_duplicates(nothing, photographs(3)).shape == (0, 2)
    with pytest.raises(ValueError, match=r"images must be uint8 \[N, H, W, 1 or 3\], got float64 \[2, 32, 32, 3\]"):
        dedup.near_duplicates(np.zeros((2, 32, 32, 3)))

"""Turned and mirrored copies: the codes against imagehash of the turned images, the pairs against brute force."""

import io
import itertools

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import dedup
from dedup import lanczos, representatives
from tests.dedup.test_representatives import judged

HASHES = {"phash": imagehash.phash, "ahash": imagehash.average_hash, "dhash": imagehash.dhash}
TURNS = (  # in the order of the columns; Pillow turns counterclockwise
    *(None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180),
    *(Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE),
)
BACK = [0, 1, 2, 3, 4, 6, 5, 7]  # the column in which an image matches that was turned as by the column of that place


def turned(image, turn):
    return image if turn is None else image.transpose(turn)


def reference(image, name):
    return [int(str(HASHES[name](turned(image, turn))), 16) for turn in TURNS]


def smooth(n, height=32, width=32, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return [Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC) for image in coarse]


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("height, width", [(1, 1), (1, 40), (32, 32), (31, 33), (64, 64), (109, 89), (9, 8), (500, 5)])
def test_codes_are_those_of_the_turned_images(name, height, width):
    noise = np.random.default_rng(0).integers(0, 256, (4, height, width, 3), dtype=np.uint8)
    extreme, flat = noise // 128 * 255, np.full((1, height, width, 3), 99, np.uint8)
    images = [Image.fromarray(image) for image in (*noise, *extreme, *flat)] + smooth(4, height, width)
    expected = [reference(image, name) for image in images]
    assert dedup.turned_codes(np.stack([np.asarray(image) for image in images]), name).tolist() == expected
    assert dedup.turned_codes(iter(images), name).tolist() == expected
    assert dedup.turned_codes(images, name)[:, 0].tolist() == getattr(dedup, name)(images).tolist()


def test_images_of_many_sizes_and_modes():
    images = [image for height, width in ((40, 60), (60, 40), (300, 41)) for image in smooth(3, height, width)]
    images = [*images, images[0].convert("L"), images[1].convert("P"), images[2].convert("CMYK")]
    assert dedup.turned_codes(images).tolist() == [reference(image, "phash") for image in images]


def test_mirror_images_are_resized_themselves_where_coefficients_are_not_symmetric(monkeypatch):
    images = smooth(3, 45, 47)
    monkeypatch.setattr(lanczos, "_is_symmetric", lambda before, after: False)
    lanczos._mirrors.cache_clear()
    assert not lanczos._mirrors(47, 45, 32, 32)
    assert dedup.turned_codes(images).tolist() == [reference(image, "phash") for image in images]
    lanczos._mirrors.cache_clear()


def test_coefficients_are_symmetric_for_the_usual_sizes():
    assert all(lanczos._is_symmetric(n, side) for n in range(1, 300) for side in (8, 9, 32))


@pytest.mark.parametrize("name", HASHES)
def test_every_turn_of_a_photograph_is_found_in_its_column(name):
    images = smooth(30, 60, 44)
    copies = []
    for image, turn in itertools.zip_longest(images, TURNS, fillvalue=None):
        buffer = io.BytesIO()
        turned(image, turn).save(buffer, "JPEG", quality=85)
        copies.append(Image.open(buffer))
    codes, theirs = dedup.turned_codes(images, name), dedup.turned_codes(copies, name)
    assert dedup.turned_pairs(codes, theirs, radius=4).tolist() == [[i, i] for i in range(30)]
    nearest = np.bitwise_count(codes[:, :1] ^ theirs).argmin(axis=1)
    assert nearest[: len(BACK)].tolist() == BACK


def near(a, b, radius):
    """bool [n, m]: the definition."""
    return (np.bitwise_count(a[:, None, :1] ^ b[None]) <= radius).any(axis=2)


CODES = st.tuples(  # few bits: chains, repeats and hubs, in one orientation or in several
    arrays.arrays(np.uint64, st.tuples(st.integers(0, 40), st.just(8)), elements=st.integers(0, 2**14 - 1)),
    st.integers(0, 7),
)
LIMITS = [(1 << 12, 1 << 26), (1, 0), (3, 40)]


def coded(drawn):
    """Codes whose last columns are far from everything."""
    codes, plain = drawn
    codes[:, plain:] |= np.uint64(0b1111) << np.arange(20, 60, 5, dtype=np.uint64)[plain:]
    return codes


@settings(max_examples=60, deadline=None)
@given(CODES, CODES, st.integers(0, 4), st.sampled_from(LIMITS))
def test_pairs_and_removals_are_those_of_brute_force(drawn, other, radius, limits):
    codes, others = coded(drawn), coded(other)
    between = dedup.turned_pairs(codes, others, radius=radius)
    assert between.dtype == np.int64 and between.tolist() == np.argwhere(near(codes, others, radius)).tolist()
    each = np.triu(near(codes, codes, radius), 1)
    pairs = dedup.turned_pairs(codes, radius=radius)
    assert pairs.tolist() == np.argwhere(each).tolist()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("_BLOCK", "_FEW"), limits, strict=True):
            patch.setattr(representatives, name, value)
        found = dedup.turned_representatives(codes, radius)
    assert found.dtype == np.int64 and found.tolist() == judged(each | each.T)
    assert found.tolist() == dedup.pair_representatives(pairs, len(codes)).tolist()


def test_a_cross_fade_is_thinned_out_as_without_turns():
    """Frame k has its first k bits set; the other orientations are far from all."""
    codes = np.full((60, 8), 0x5555555555555555, np.uint64)
    codes[:, 0] = [(1 << k) - 1 for k in range(60)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(representatives, "_BLOCK", 4)
        assert dedup.turned_representatives(codes, 8).tolist() == dedup.radius_representatives(codes[:, 0], 8).tolist()


def test_equal_images_cost_nothing():
    codes = np.repeat(np.random.default_rng(0).integers(0, 2**63, (2, 8), np.uint64), 100_000, axis=0)
    assert np.unique(dedup.turned_representatives(codes, 4)).tolist() == [0, 100_000]
    with pytest.raises(ValueError, match="are more than max_pairs = 100000000"):
        dedup.turned_pairs(codes, radius=4)


@pytest.mark.parametrize("codes", [np.zeros(3, np.uint64), np.zeros((3, 2), np.uint64), np.zeros((3, 8), np.int64)])
def test_other_codes_are_refused(codes):
    for call in (lambda: dedup.turned_pairs(codes, radius=4), lambda: dedup.turned_representatives(codes, 4)):
        with pytest.raises(ValueError, match=r"^codes must be uint64 \[N, 8\], as turned_codes returns them, got"):
            call()


def test_other_hashes_and_radii_are_refused():
    with pytest.raises(ValueError, match="hash must be one of phash, ahash, dhash, got 'md5'"):
        dedup.turned_codes([], "md5")
    codes = dedup.turned_codes(smooth(2))
    for call in (lambda: dedup.turned_pairs(codes, radius=64), lambda: dedup.turned_representatives(codes, -1)):
        with pytest.raises(ValueError, match=r"^radius must lie in \[0, 63\]"):
            call()


def test_nothing_at_all():
    nothing = dedup.turned_codes([])
    assert nothing.shape == (0, 8) and dedup.turned_codes(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 8)
    assert dedup.hash_chunks(np.empty((0, 32, 32, 3), np.uint8), dedup.turned_codes).shape == (0, 8)
    assert dedup.turned_pairs(nothing, radius=4).shape == (0, 2)
    assert dedup.turned_representatives(nothing, 4).shape == (0,)


def test_files_and_chunks_give_the_same_codes(tmp_path):
    images = smooth(3, 40, 50)
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
    found = dedup.hash_files(sorted(tmp_path.iterdir()), hashes=["phash", "dhash"], turned=True, side=None)
    arrays_ = np.stack([np.asarray(image) for image in images])
    for name, codes in found.codes.items():
        assert codes.tolist() == [reference(image, name) for image in images]
    assert found.codes["phash"].tolist() == dedup.hash_chunks(arrays_, dedup.turned_codes).tolist()

"""Pairs and groups against brute force, and sizes at which brute force would never end."""

import math
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dedup
from dedup import search

RADII = [0, 1, 2, 4, 7, 12, 31, 63]


def brute_force_pairs(codes, radius):
    distance = np.bitwise_count(codes[:, None] ^ codes[None])
    return np.argwhere(np.triu(distance <= radius, 1))


def brute_force_between(a, b, radius):
    return np.argwhere(np.bitwise_count(a[:, None] ^ b[None]) <= radius)


def brute_force_groups(codes, radius):
    """Labels spread along pairs, lowest first, until nothing changes."""
    near = np.bitwise_count(codes[:, None] ^ codes[None]) <= radius
    label = np.arange(len(codes))
    for _ in codes:
        label = np.array([label[row].min() for row in near], np.int64)
    return label


@st.composite
def clustered_codes(draw):
    """Codes a few bits from one of a few centres, with repeats: what searches are about."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=8)
    made = draw(st.lists(st.tuples(st.sampled_from(centres), flips), max_size=30))
    return np.array([c ^ sum(1 << b for b in set(bits)) for c, bits in made], np.uint64)


@settings(max_examples=150, deadline=None)
@given(clustered_codes(), st.sampled_from(RADII))
def test_pairs_and_groups_equal_brute_force(codes, radius):
    pairs = dedup.radius_pairs(codes, radius)
    assert pairs.dtype == np.int64 and pairs.shape == (len(pairs), 2)
    assert pairs.tolist() == brute_force_pairs(codes, radius).tolist()
    groups = dedup.radius_groups(codes, radius)
    assert groups.dtype == np.int64
    assert groups.tolist() == brute_force_groups(codes, radius).tolist()


@settings(max_examples=100, deadline=None)
@given(clustered_codes(), st.integers(0, 30), st.sampled_from(RADII))
def test_pairs_between_equal_brute_force(codes, cut, radius):
    a, b = codes[:cut], codes[cut:]
    pairs = dedup.radius_pairs_between(a, b, radius)
    assert pairs.dtype == np.int64 and pairs.shape == (len(pairs), 2)
    assert pairs.tolist() == brute_force_between(a, b, radius).tolist()


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 4, 6, 8, 12, 16])
def test_every_plan_finds_all_pairs(monkeypatch, radius):
    """However many bands: on random codes with neighbours at every distance, and on codes that share most bits."""
    rng = np.random.default_rng(radius)
    base = rng.integers(0, 2**64, 12, np.uint64)
    near = base.copy()
    for _ in range(18):  # one more bit each time
        near = near ^ (np.uint64(1) << rng.integers(0, 64, 12, np.uint64))
        base = np.concatenate([base, near])
    adversarial = rng.integers(0, 2**16, 100, np.uint64) << np.uint64(24)  # one band holds every difference
    for codes in (base, adversarial):
        wanted = brute_force_pairs(codes, radius)
        for bands in range(1, radius + 2):
            cuts = search._cut(radius, bands)
            assert sum(t + 1 for _, _, t in cuts) == radius + 1 and sum(width for _, width, _ in cuts) == 64
            if sum(math.comb(width, t) for _, width, t in cuts) > 100:
                continue
            masks = [mask for cut in cuts for mask in search._masks(*cut)]
            monkeypatch.setattr(search, "plan", lambda *_, masks=masks: masks)
            assert np.array_equal(dedup.radius_pairs(codes, radius), wanted)
            assert np.array_equal(
                dedup.radius_pairs_between(codes[:99], codes[99:], radius),
                brute_force_between(codes[:99], codes[99:], radius),
            )


def test_the_plan_follows_the_codes():
    """Random codes are told apart by a few bands; codes that agree on most bits are not, whatever the band."""
    spread = np.random.default_rng(0).integers(0, 2**64, 50_000, np.uint64)
    assert search.plan(spread, spread, 4) != [0]
    assert search.plan(spread[:100], spread[:100], 4) == [0]  # nothing beats comparing so few
    crowded = spread & np.uint64(0xFFFF000000000000)
    assert search._cost(crowded[:-1] ^ crowded[1:], 0, 13, 0, 50_000, 1e9) > 1e9  # all agree on this band


@pytest.mark.parametrize("radius", RADII)
def test_every_bit_counts(radius):
    """One code against those that differ in exactly radius and radius + 1 bits, anywhere in the word."""
    rng = np.random.default_rng(radius)
    base = rng.integers(0, 2**64, dtype=np.uint64)
    flips = [rng.permutation(64)[: radius + i % 2] for i in range(200)]
    codes = np.array(
        [base, *(base ^ np.bitwise_or.reduce(np.uint64(1) << f.astype(np.uint64)) for f in flips)], np.uint64
    )
    partners = {int(j) for i, j in dedup.radius_pairs(codes, radius) if i == 0}
    assert partners == {i + 1 for i in range(200) if i % 2 == 0}


def test_results_do_not_depend_on_the_pieces(monkeypatch):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, 40, np.uint64)[rng.integers(0, 40, 300)] ^ (
        np.uint64(1) << rng.integers(0, 20, 300, np.uint64)
    )

    def results():
        return (
            dedup.radius_pairs(codes, 4),
            dedup.radius_pairs_between(codes[:90], codes, 4),
            dedup.radius_groups(codes, 4),
        )

    whole = results()
    assert len(whole[0]) > 300
    for name, value in {"_TILE": 8, "_WIDE": 4, "_PENDING": 5}.items():
        monkeypatch.setattr(search, name, value)
    for masks in ([0], [mask for cut in search._cut(4, 5) for mask in search._masks(*cut)]):
        monkeypatch.setattr(search, "plan", lambda *_, masks=masks: masks)
        assert all(np.array_equal(a, b) for a, b in zip(results(), whole, strict=True))


def test_results_do_not_depend_on_where_the_work_runs():
    codes = np.random.default_rng(2).integers(0, 2**64, 20_000, np.uint64)
    codes[-500:] = codes[:500] ^ np.uint64(0b1010001)
    assert len(search.plan(codes, codes, 4)) > 1
    with ProcessPoolExecutor(1) as processes:
        assert np.array_equal(dedup.radius_pairs(codes, 4, executor=processes), dedup.radius_pairs(codes, 4))
        assert np.array_equal(dedup.radius_groups(codes, 4, executor=processes), dedup.radius_groups(codes, 4))


def test_the_partition_does_not_depend_on_the_order():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2**64, 30, np.uint64)[rng.integers(0, 30, 200)] ^ rng.integers(0, 64, 200, np.uint64)
    order = rng.permutation(200)
    plain, shuffled = dedup.radius_groups(codes, 4), np.empty(200, np.int64)
    shuffled[order] = dedup.radius_groups(codes[order], 4)
    same = plain[:, None] == plain
    assert 200 < same.sum() < 200 * 200
    assert np.array_equal(same, shuffled[:, None] == shuffled)


def test_a_chain_is_one_group_though_its_ends_are_far_apart():
    codes = np.array([(1 << i) - 1 for i in range(64)], np.uint64)  # neighbours differ in one bit, the ends in 63
    assert dedup.radius_groups(codes, 1).tolist() == [0] * 64
    assert dedup.radius_groups(codes, 0).tolist() == list(range(64))
    assert dedup.radius_pairs(codes, 1).tolist() == [[i, i + 1] for i in range(63)]


def test_a_million_equal_codes_are_one_code():
    codes = np.full(1_000_000, 2**63 + 5, np.uint64)
    assert not dedup.radius_groups(codes, 12).any()
    codes[::2] ^= np.uint64(0b11111)  # five bits away
    assert not dedup.radius_groups(codes, 5).any()
    assert np.array_equal(dedup.radius_groups(codes, 4), np.arange(1_000_000) % 2)
    codes[::2] = codes[1]
    with pytest.raises(
        ValueError, match=r"^499999500000 pairs are more than max_pairs = 100000000; radius_groups groups"
    ):
        dedup.radius_pairs(codes, 4)


def test_max_pairs_counts_repeats_and_neighbours():
    codes = np.array([0, 0, 1, 1, 1, 2**40 - 1], np.uint64)  # 1 + 3 equal pairs, 2 x 3 between
    assert len(dedup.radius_pairs(codes, 1, max_pairs=10)) == 10
    with pytest.raises(
        ValueError, match=r"^10 pairs are more than max_pairs = 9; radius_groups groups without listing$"
    ):
        dedup.radius_pairs(codes, 1, max_pairs=9)


@pytest.mark.parametrize("function", [dedup.radius_pairs, dedup.radius_groups])
def test_what_is_no_code_or_no_radius_is_refused(function):
    for radius in (-1, 64):
        with pytest.raises(ValueError, match=rf"radius must lie in \[0, 63\], got {radius}"):
            function(np.zeros(3, np.uint64), radius)
    with pytest.raises(ValueError, match=r"codes must be uint64 \[N\], N < 2\*\*31, got int64 \[3\]"):
        function(np.zeros(3, np.int64), 4)


def test_no_codes_no_pairs():
    assert dedup.radius_pairs(np.empty(0, np.uint64), 4).shape == (0, 2)
    assert dedup.radius_groups(np.empty(0, np.uint64), 4).shape == (0,)

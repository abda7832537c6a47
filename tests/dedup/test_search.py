"""Pairs and groups against brute force, and sizes at which brute force would never end."""

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


def test_results_do_not_depend_on_the_chunk(monkeypatch):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, 40, np.uint64)[rng.integers(0, 40, 300)] ^ (
        np.uint64(1) << rng.integers(0, 20, 300, np.uint64)
    )
    whole = dedup.radius_pairs(codes, 4), dedup.radius_groups(codes, 4)
    assert len(whole[0]) > 300
    monkeypatch.setattr(search, "_CHUNK", 5)
    assert np.array_equal(dedup.radius_pairs(codes, 4), whole[0])
    assert np.array_equal(dedup.radius_groups(codes, 4), whole[1])


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
    with pytest.raises(ValueError, match=r"codes must be uint64 \[N\], got int64"):
        function(np.zeros(3, np.int64), 4)


def test_no_codes_no_pairs():
    assert dedup.radius_pairs(np.empty(0, np.uint64), 4).shape == (0, 2)
    assert dedup.radius_groups(np.empty(0, np.uint64), 4).shape == (0,)

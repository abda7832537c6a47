"""Pairs and groups against brute force, and sizes at which brute force would never end."""

import math
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dedup
from dedup import compare, join, search
from dedup.plan import BITS, Band, bands, masks

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
    while not np.array_equal(spread := np.where(near, label, len(codes)).min(1, initial=len(codes)), label):
        label = spread
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


def families():
    """name -> uint64 codes on which a search can go wrong, with neighbours at every distance from 0 to 20."""
    rng = np.random.default_rng(0)

    def chains(seed, flipped):
        """Each code and then one more bit (of `flipped`) changed each time, twenty times."""
        made = [seed]
        for _ in range(20):
            made.append(made[-1] ^ np.uint64(1) << rng.choice(np.array(flipped, np.uint64), len(seed)))
        return np.concatenate(made)

    seed = rng.integers(0, 2**64, 12, np.uint64)
    return {
        "random": chains(seed, range(64)),
        "one band holds every difference": chains(seed[:1].repeat(12), range(20, 36)),
        "most bands agree": chains(seed[:1].repeat(12), [0, 1, 2, 31, 32, 61, 62, 63]),
        "a subspace": np.bitwise_xor.reduce(
            np.where(rng.integers(0, 2, (300, 9), bool), seed[:9], np.uint64(0)), axis=1
        ),
        "every other bit is its neighbour": chains(seed, range(0, 64, 2))
        & np.uint64(0x5555555555555555) * np.uint64(3),
        "counting": np.arange(300, dtype=np.uint64),
        "extremes": np.array([0, 2**64 - 1, 2**63, 1, 2**63 - 1, 0, 2**64 - 2] * 20, np.uint64),
        "many equal": np.concatenate([seed[:2].repeat(100), chains(seed[:4], range(64))]),
    }


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize("family", families())
def test_every_plan_finds_all_pairs(monkeypatch, family, radius):
    """However the bits are cut, and however the work."""
    codes = families()[family]
    a, b = codes[:37], codes[30:]
    pairs, between, groups = (
        brute_force_pairs(codes, radius),
        brute_force_between(a, b, radius),
        brute_force_groups(codes, radius),
    )
    order = np.random.default_rng(radius).permutation(64).tolist()
    numbers = sorted({1, (radius + 3) // 3, (radius + 2) // 2, radius + 1})
    cuts = [[Band((), 0)], *(bands(radius, n, skew, order) for n in numbers for skew in (0, 3))]
    monkeypatch.setattr(search, "_LEAST", 50)
    monkeypatch.setattr(search, "_PIECES", 8)
    tried = 0
    with ThreadPoolExecutor(1) as executor:
        for cut in cuts:
            if cut is None or sum(math.comb(len(bits), t) for bits, t in cut) > 70:
                continue
            tried += 1
            monkeypatch.setattr(search, "plan", lambda *_, cut=cut: cut)
            assert np.array_equal(dedup.radius_pairs(codes, radius, executor=executor), pairs)
            assert np.array_equal(dedup.radius_pairs_between(a, b, radius), between)
            assert np.array_equal(dedup.radius_groups(codes, radius), groups)
    assert tried >= 2


@pytest.mark.parametrize("radius", [0, 1, 4, 8])
def test_the_pieces_report_each_pair_once(radius):
    """All pieces' pairs together are the distinct pairs, without a repeat: what travels, and what max_pairs counts."""
    codes = np.unique(families()["random"])
    for number in range(1, radius + 2):
        cut = bands(radius, number, 0, list(range(64)))
        if sum(math.comb(len(bits), t) for bits, t in cut) > 100:
            continue
        every = [mask for band in cut for mask in masks(band)]
        for wanted in (1, 7):
            work = search.pieces(every, 1 << 20, wanted)
            found = np.concatenate(
                [join.pairs_of(p, a=codes, b=None, bands=cut, radius=radius, limit=10**6) for p in work]
            )
            assert len(np.unique(np.sort(found, axis=1), axis=0)) == len(found)
            assert len(found) == len(brute_force_pairs(codes, radius)) >= 10 * radius


@pytest.mark.parametrize("wanted", [1, 8, 256])
@pytest.mark.parametrize("codes", [10, 1 << 20, 3 << 26])
def test_pieces_cover_every_mask_on_every_part(codes, wanted):
    for number in (2, 3, 5):
        every = [mask for band in bands(4, number, 0, list(range(64))) for mask in masks(band)]
        work = search.pieces(every, codes, wanted)
        parts = {piece.parts for piece in work}
        assert len(parts) == 1 and parts.pop() >= codes / (1 << 26)
        covered = sorted((k, p.part) for p in work for k in range(p.first, p.last))
        assert covered == [(k, part) for k in range(len(every)) for part in range(work[0].parts)]
        if work[0].parts > 1:  # parts of bits in common
            assert all(np.bitwise_and.reduce([*map(np.uint64, every[p.first : p.last])]) for p in work)


def test_bits_are_moved_and_distances_kept():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**64, 100, np.uint64)
    assert np.array_equal(join.moved(codes, range(63, -1, -1)), codes)
    order = rng.permutation(BITS).tolist()
    there = join.moved(codes, order)
    assert [int(there[0]) >> 63 - place & 1 for place in range(64)] == [int(codes[0]) >> bit & 1 for bit in order]
    assert np.array_equal(np.bitwise_count(there[:-1] ^ there[1:]), np.bitwise_count(codes[:-1] ^ codes[1:]))


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


def test_results_do_not_depend_on_the_tiles(monkeypatch):
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
    for name, value in {"TILE": 8, "_WIDE": 4, "ROWS": 3, "_COLUMNS": 5}.items():
        monkeypatch.setattr(compare, name, value)
    for name, value in {"TILE": 8, "ROWS": 3, "_BATCH": 5}.items():
        monkeypatch.setattr(join, name, value)
    monkeypatch.setattr(search, "_PENDING", 5)
    for cut in ([Band((), 0)], bands(4, 5, 0, list(range(64))), bands(4, 3, 2, list(range(64)))):
        monkeypatch.setattr(search, "plan", lambda *_, cut=cut: cut)
        assert all(np.array_equal(a, b) for a, b in zip(results(), whole, strict=True))


def test_workers_read_the_codes_from_the_shared_folder(tmp_path):
    """What a task carries is small however many codes there are, and nothing is left behind."""
    codes = np.random.default_rng(2).integers(0, 2**64, 20_000, np.uint64)
    codes[-500:] = codes[:500] ^ np.uint64(0b1010001)
    seen = []

    class Watching(ThreadPoolExecutor):
        def map(self, job, work):
            work = list(work)
            seen.append((len(pickle.dumps((job, work))), [path.name for path in tmp_path.rglob("*.npy")]))
            return super().map(job, work)

    with Watching(2) as executor:
        pairs = dedup.radius_pairs(codes, 4, executor=executor, shared=tmp_path)
    assert np.array_equal(pairs, dedup.radius_pairs(codes, 4))
    assert seen[0][0] < 20_000 and seen[0][1] == ["a.npy"]
    assert list(tmp_path.iterdir()) == []


def test_memory_is_that_of_the_codes_however_many_pairs():
    """20,000 codes, each three bits from one: listing their 28 million pairs within 4 would take 450 MB."""
    rng = np.random.default_rng(0)
    bits = np.uint64(1) << rng.integers(0, 64, (20_000, 3), np.uint64)
    codes = np.bitwise_xor.reduce(bits, axis=1)
    tracemalloc.start()
    try:
        groups = dedup.radius_groups(codes, 4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not groups.any()
    assert peak < 250 * 2**20


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
        ValueError, match=r"^10 pairs are more than max_pairs = 9; radius_groups groups without listing pairs$"
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

"""An image is removed if and only if a kept one before it is near it: against a brute-force judge."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dedup
from dedup import representatives


def judged(near) -> list[int]:
    """The rule, word by word. near: bool [n, n], symmetric."""
    chosen: list[int] = []
    for i in range(len(near)):
        kept = [j for j in range(i) if chosen[j] == j]
        chosen.append(next((j for j in kept if near[i][j]), i))
    return chosen


def near_codes(codes, radius):
    return np.bitwise_count(codes[:, None] ^ codes) <= radius


CODES = st.tuples(  # few bits, spread over the word: chains, repeats and hubs
    arrays.arrays(np.uint64, st.integers(0, 60), elements=st.integers(0, 2**10 - 1)),
    st.integers(1, 2**54).map(np.uint64),
)


@settings(max_examples=60, deadline=None)
@given(CODES, st.integers(0, 4), st.sampled_from([(32, 1 << 12, 1 << 26), (0, 1, 0), (1, 3, 40)]))
def test_codes_are_removed_as_the_rule_says(drawn, radius, limits):
    codes, odd = drawn
    codes = codes | codes << np.uint64(20) if odd & np.uint64(1) else codes ^ odd
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("_ROUNDS", "_BLOCK", "_FEW"), limits, strict=True):
            patch.setattr(representatives, name, value)
        found = dedup.radius_representatives(codes, radius)
    assert found.dtype == np.int64 and found.tolist() == judged(near_codes(codes, radius))
    assert found.tolist() == dedup.pair_representatives(dedup.radius_pairs(codes, radius), len(codes)).tolist()
    keep = dedup.keep_mask(found)
    assert np.array_equal(np.flatnonzero(keep), np.unique(found))
    assert len(dedup.radius_pairs(codes[keep], radius)) == 0
    again = dedup.radius_representatives(codes[keep], radius)
    assert again.tolist() == list(range(len(again)))  # a second pass removes nothing


@settings(deadline=None)
@given(st.data(), st.integers(1, 25))
def test_pairs_are_removed_as_the_rule_says(data, n):
    pairs = data.draw(
        arrays.arrays(np.int64, st.tuples(st.integers(0, 40), st.just(2)), elements=st.integers(0, n - 1))
    )
    near = np.zeros((n, n), bool)
    near[pairs[:, 0], pairs[:, 1]] = near[pairs[:, 1], pairs[:, 0]] = True
    assert dedup.pair_representatives(pairs, n).tolist() == judged(near)


def test_a_cross_fade_keeps_a_frame_near_every_other():
    """Frame k has its first k bits set: one group, whose ends are 60 bits apart."""
    codes = np.array([(1 << k) - 1 for k in range(60)], np.uint64)
    assert not dedup.radius_groups(codes, 8).any()
    found = dedup.radius_representatives(codes, 8)
    assert found.tolist() == [k // 9 * 9 for k in range(60)]
    assert np.bitwise_count(codes ^ codes[found]).max() <= 8


@pytest.mark.parametrize("pairs", [[[0, 3]], [[-1, 0]], [[0.0, 1.0]], [[0, 1, 2]]])
def test_other_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match=r"^pairs must"):
        dedup.pair_representatives(np.array(pairs), 3)


@pytest.mark.parametrize(("codes", "radius"), [(np.zeros(3, np.int64), 4), (np.zeros(3, np.uint64), 64)])
def test_other_codes_and_radii_are_refused(codes, radius):
    with pytest.raises(ValueError, match=r"^(codes|radius) must"):
        dedup.radius_representatives(codes, radius)


def test_nothing_at_all():
    assert dedup.radius_representatives(np.empty(0, np.uint64), 4).shape == (0,)
    assert dedup.pair_representatives(np.empty((0, 2), np.int64), 2).tolist() == [0, 1]


def walk(steps: int, rng: np.random.Generator) -> np.ndarray:
    """Codes that each differ from the one before in one bit."""
    return np.bitwise_xor.accumulate(np.uint64(1) << rng.integers(0, 64, steps, np.uint64))


def test_a_long_chain_is_compared_far_fewer_times_than_all_with_all(monkeypatch):
    codes, compared = walk(60_000, np.random.default_rng(0)), 0
    count = np.bitwise_count

    def counting(words):
        nonlocal compared
        compared += words.size
        return count(words)

    monkeypatch.setattr(np, "bitwise_count", counting)
    found = dedup.radius_representatives(codes, 4)
    monkeypatch.undo()
    kept = dedup.keep_mask(found)
    assert len(np.unique(dedup.radius_groups(codes, 4))) == 1 and kept.sum() > 8000
    assert count(codes ^ codes[found]).max() <= 4 and len(dedup.radius_pairs(codes[kept], 4)) == 0
    assert compared < len(codes) ** 2 / 12


def test_equal_codes_cost_nothing_and_memory_does_not_grow_with_pairs():
    """20,000 codes, each three bits from one, 28 million pairs within 4; then a million equal codes."""
    rng = np.random.default_rng(0)
    bits = np.uint64(1) << rng.integers(0, 64, (20_000, 3), np.uint64)
    codes = np.bitwise_xor.reduce(bits, axis=1)
    tracemalloc.start()
    try:
        found = dedup.radius_representatives(codes, 4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found[0] == 0 and np.bitwise_count(codes ^ codes[found]).max() <= 4
    assert peak < 250 * 2**20
    assert not dedup.radius_representatives(np.full(1_000_000, 7, np.uint64), 4).any()


def test_the_executor_gets_the_large_searches_only(monkeypatch, tmp_path):
    for name, value in {"_ROUNDS": 1, "_BLOCK": 50, "_FEW": 1000, "_MANY": 400}.items():
        monkeypatch.setattr(representatives, name, value)
    codes, jobs = walk(1500, np.random.default_rng(1)), []

    class Watching(ThreadPoolExecutor):
        def map(self, job, work):
            jobs.append(job.func.__name__)
            return super().map(job, work)

    with Watching(2) as executor:
        found = dedup.radius_representatives(codes, 2, executor=executor, shared=tmp_path)
    assert jobs[0] == "pairs_of" and set(jobs[1:]) == {"firsts_of"}
    assert found.tolist() == judged(near_codes(codes, 2))
    assert list(tmp_path.iterdir()) == []

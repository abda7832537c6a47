"""Which images stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dedup

labels = arrays.arrays(np.int64, st.integers(0, 40), elements=st.integers(-3, 6))


few = st.integers(0, 3)  # words of few values: collisions in each, and across them


@settings(deadline=None)
@given(arrays.arrays(np.uint64, st.tuples(st.integers(0, 40), st.integers(1, 3)), elements=few))
def test_equal_codes_are_one_group(codes):
    groups = dedup.collision_groups(codes)
    rows = codes.tolist()
    assert groups.dtype == np.int64
    assert groups.tolist() == [rows.index(row) for row in rows]
    assert dedup.collision_groups(codes[:, 0]).tolist() == dedup.radius_groups(codes[:, 0], 0).tolist()


def test_codes_are_any_integers():
    assert dedup.collision_groups(np.array([-1, 3, -1], np.int8)).tolist() == [0, 1, 0]
    large = np.array([[2**64 - 1, 0], [2**64 - 2, 0], [2**64 - 1, 0]], np.uint64)  # float64 cannot tell them apart
    assert dedup.collision_groups(large).tolist() == [0, 1, 0]


@pytest.mark.parametrize("codes", [np.zeros(3), np.zeros((3, 2, 2), int), np.zeros((3, 0), int), np.array(["a"])])
def test_other_codes_are_refused(codes):
    with pytest.raises(ValueError, match=r"codes must be integers \[N\] or \[N, W\], got"):
        dedup.collision_groups(codes)


@settings(deadline=None)
@given(labels)
def test_the_lowest_index_of_each_group_stays(groups):
    mask = dedup.keep_mask(groups)
    assert mask.dtype == bool and mask.shape == groups.shape
    assert mask.tolist() == [label not in groups[:i] for i, label in enumerate(groups)]
    assert dedup.keep_mask(groups[mask]).all()  # a second pass removes nothing


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.uint64, st.integers(0, 40), elements=st.integers(0, 255)), st.integers(0, 3))
def test_what_stays_is_free_of_near_duplicates(codes, radius):
    groups = dedup.radius_groups(codes, radius)
    mask = dedup.keep_mask(groups)
    assert np.array_equal(np.flatnonzero(mask), np.unique(groups))  # labels are the kept indices
    assert len(dedup.radius_pairs(codes[mask], radius)) == 0
    assert dedup.keep_mask(dedup.radius_groups(codes[mask], radius)).all()


@settings(deadline=None)
@given(st.data(), st.integers(1, 25))
def test_pairs_connect_as_brute_force_says(data, n):
    pairs = data.draw(
        arrays.arrays(np.int64, st.tuples(st.integers(0, 20), st.just(2)), elements=st.integers(0, n - 1))
    )
    expected = list(range(n))
    for _ in range(n):  # a label travels one pair a round
        for i, j in pairs.tolist():
            expected[i] = expected[j] = min(expected[i], expected[j])
    groups = dedup.pair_groups(pairs, n)
    assert groups.dtype == np.int64 and groups.tolist() == expected
    assert dedup.pair_groups(pairs[::-1, ::-1], n).tolist() == expected


def test_without_pairs_every_image_is_its_own_group():
    assert dedup.pair_groups(np.empty((0, 2), np.int64), 3).tolist() == [0, 1, 2]
    assert dedup.pair_groups(np.empty((0, 2), np.int64), 0).tolist() == []


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.uint64, st.integers(1, 40), elements=st.integers(0, 255)), st.integers(0, 3))
def test_pairs_and_groups_of_a_radius_agree(codes, radius):
    pairs = dedup.radius_pairs(codes, radius)
    assert dedup.pair_groups(pairs, len(codes)).tolist() == dedup.radius_groups(codes, radius).tolist()


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (np.zeros((2, 3), int), r"pairs must be integers \[M, 2\], got int64 \(2, 3\)"),
        (np.zeros((2, 2)), r"pairs must be integers \[M, 2\], got float64"),
        (np.array([[0, 3]]), r"pairs must lie in \[0, 3\), got 0 \.\. 3"),
        (np.array([[-1, 2]]), r"pairs must lie in \[0, 3\), got -1 \.\. 2"),
    ],
)
def test_other_pairs_are_refused(pairs, text):
    with pytest.raises(ValueError, match=text):
        dedup.pair_groups(pairs, 3)

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

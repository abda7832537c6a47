"""Which images stay."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dedup

labels = arrays.arrays(np.int64, st.integers(0, 40), elements=st.integers(-3, 6))


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

"""What a plan must be for the search to be exact, and that the cheapest one follows the codes."""

import itertools
import math

import numpy as np
import pytest

from dedup.plan import BITS, Band, bands, masks, plan


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 8, 12, 16, 31, 63])
@pytest.mark.parametrize("skew", [0, 2, 6])
def test_a_cut_holds_every_bit_once_and_thresholds_enough(radius, skew):
    order = np.random.default_rng(radius).permutation(BITS).tolist()
    cuts = [bands(radius, number, skew, order) for number in range(1, radius + 2)]
    for cut in filter(None, cuts):
        assert sorted(bit for band in cut for bit in band.bits) == list(range(BITS))
        assert sum(band.threshold + 1 for band in cut) == radius + 1
        assert all(0 <= band.threshold <= len(band.bits) for band in cut)
    assert skew or None not in cuts


def test_masks_leave_out_every_choice():
    band = Band((3, 9, 60, 61), 2)
    made = list(masks(band))
    assert len(set(made)) == len(made) == math.comb(4, 2)
    assert all(mask.bit_count() == 2 and mask & band.mask == mask for mask in made)
    assert list(masks(Band((), 0))) == [0]


def test_telling_bits_are_dealt_evenly():
    """Of 20 telling bits each of five bands has four, wherever in the word they lie."""
    cut = bands(4, 5, 0, list(range(BITS)))
    assert [sum(bit < 20 for bit in band.bits) for band in cut] == [4] * 5


def test_the_plan_follows_the_codes():
    spread = np.random.default_rng(0).integers(0, 2**64, 1_000_000, np.uint64)
    assert plan(spread[:100], spread[:100], 4) == [Band((), 0)]  # nothing beats comparing so few
    keys = {}
    for n in (100_000, 1_000_000):
        cut = plan(spread[:n], spread[:n], 4)
        keys[n] = min(len(band.bits) - band.threshold for band in cut)
    assert 8 < keys[100_000] <= keys[1_000_000]
    few = np.uint64(0x00FF_FF00_0000_0000)  # 16 bits tell: no band of five has more than four of them
    assert plan(spread & few, spread & few, 4) != plan(spread, spread, 4)


def test_every_pair_within_the_radius_agrees_on_a_mask():
    rng = np.random.default_rng(0)
    for radius, number, skew in itertools.product([2, 3, 4], [1, 2, 3], [0, 4]):
        cut = bands(radius, number, skew, rng.permutation(BITS).tolist())
        if cut is None or (radius == 4 and number == 1):  # the latter has 600,000 masks
            continue
        every = np.array([mask for band in cut for mask in masks(band)], np.uint64)
        for bits in (rng.choice(BITS, (200, radius))).astype(np.uint64):
            differing = np.bitwise_xor.reduce(np.uint64(1) << bits)
            assert (every & differing == 0).any()

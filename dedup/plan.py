"""Plan a search: choose the masks of bits on which codes within a radius must agree, at the least cost.

The general pigeonhole principle (Qin et al., GPH, ICDE 2018): cut the 64 bits into bands with thresholds t, so that the
sum of t + 1 is radius + 1. Two codes within the radius then differ in at most t bits of at least one band, and agree on
that band without some t of its bits. Every such choice of bits is a mask, and only codes that agree on a mask are
compared. A sample of the codes decides the number and the widths of the bands. Bits that often differ are dealt evenly
to the bands. A mask without bits compares everything with everything; it is chosen if that is cheapest.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]

BITS = 64
_SAMPLE = 700  # the pairs of so many sampled codes tell what a plan costs
_MASKS = 5000  # largest number of masks in a plan
_SKEWS = (0, 2, 4, 6)  # bits by which bands with the lower threshold are narrower than an even share
_SORT, _COMPARE, _FOUND = 60.0, 2.5, 60.0  # ns to sort a code, to compare a pair in a bucket, to report a pair
_COMPARE_ALL = 1.3  # ns to compare a pair if there is only one bucket


class Band(NamedTuple):
    """Bit positions, and the number of them in which two codes may differ."""

    bits: tuple[int, ...]
    threshold: int

    @property
    def mask(self) -> int:
        """All its bits as one number."""
        return sum(1 << bit for bit in self.bits)


def plan(a: Codes, b: Codes, radius: int) -> list[Band]:
    """Find the cheapest cut into bands for a search of pairs of `a` and `b` (uint64 [N], [M]) within `radius`."""
    rng = np.random.default_rng(0)
    x, y = (rng.choice(codes, min(len(codes), _SAMPLE), replace=False) for codes in (a, b))
    differing = (x[:, None] ^ y).ravel()
    differing = differing[differing != 0]  # leaves out pairs of a code with itself
    shares = np.array(
        [np.mean(differing >> np.uint64(bit) & np.uint64(1)) if len(differing) else 0 for bit in range(BITS)]
    )
    pairs = float(len(a)) * len(b) / (2 if a is b else 1)
    best, cheapest = [Band((), 0)], pairs * _COMPARE_ALL
    for number, skew in itertools.product(range(1, radius + 2), _SKEWS):
        cut = bands(radius, number, skew, np.argsort(shares).tolist()[::-1])
        if cut is None or sum(math.comb(len(bits), t) for bits, t in cut) > _MASKS:
            continue
        cost = sum(_cost(differing, shares, band, radius, len(a) + (0 if a is b else len(b)), pairs) for band in cut)
        if cost < cheapest:
            best, cheapest = cut, cost
    return best


def bands(radius: int, number: int, skew: int, order: list[int]) -> list[Band] | None:
    """Cut the 64 bits into bands; the bits in `order` (those that differ most often first) are dealt evenly among them.

    Returns None if there is no such cut: `skew` needs bands of two thresholds, and no band may become too narrow.
    """
    more, left = divmod(radius + 1, number)  # `left` bands have the threshold `more`, the others one less
    narrow = BITS // number - skew if left else BITS // number
    if (skew and not left) or narrow < more:
        return None
    thresholds = [more] * left + [more - 1] * (number - left)
    wide = left or number
    rest = BITS - narrow * (number - wide)
    widths = [rest // wide + (i < rest % wide) for i in range(wide)] + [narrow] * (number - wide)
    dealt = sorted(((i + 0.5) / width, band) for band, width in enumerate(widths) for i in range(width))
    bits: list[list[int]] = [[] for _ in widths]
    for bit, (_, band) in zip(order, dealt, strict=True):
        bits[band].append(bit)
    return [Band(tuple(b), t) for b, t in zip(bits, thresholds, strict=True)]


def masks(band: Band) -> Iterator[int]:
    """Yield the band's bits without `threshold` of them, for every choice of these."""
    for left_out in itertools.combinations(band.bits, band.threshold):
        yield band.mask & ~sum(1 << bit for bit in left_out)


def _cost(differing: Codes, shares: NDArray[np.float64], band: Band, radius: int, codes: int, pairs: float) -> float:
    """Estimate the nanoseconds that a band's masks take. Each sorts all codes and compares the pairs that agree on it.

    The number of compared pairs is estimated in two ways, and the larger estimate counts: from the sample, which sees
    only frequent agreement, and from how often each bit differs, as if bits were independent.
    """
    width, t = len(band.bits), band.threshold
    distance = np.bitwise_count(differing & np.uint64(band.mask))
    near = distance[np.bitwise_count(differing) <= radius]
    seen, found = (np.bincount(d, minlength=t + 1)[: t + 1] / max(1, len(differing)) for d in (distance, near))
    independent = np.ones(1)
    for share in shares[list(band.bits)]:
        independent = np.convolve(independent, [1 - share, share])[: t + 1]

    def met(share: NDArray[np.float64]) -> float:  # a pair that differs in d bits agrees on masks without these bits
        return sum(float(p) * math.comb(width - d, t - d) for d, p in enumerate(share))

    compared = max(met(seen), met(independent)) * _COMPARE + met(found) * _FOUND
    return math.comb(width, t) * codes * _SORT + compared * pairs

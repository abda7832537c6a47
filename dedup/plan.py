"""Which bits codes within a radius must agree on: the masks of a search, by the cheapest plan for the codes at hand.

General pigeonhole (Qin et al., GPH, ICDE 2018): cut the 64 bits into bands with thresholds t whose t + 1 add up to
radius + 1; two codes within the radius then differ in at most t bits of at least one band, and so agree on that band
less some t of its bits. Every such choice of bits is a mask: codes that agree on a mask are compared, others never.
How many bands and how wide, a sample of the codes decides; bits that tell codes apart are dealt evenly to the bands.
No bits at all, where that is cheapest, is comparison of everything with everything.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]

BITS = 64
_SAMPLE = 700  # codes whose pairs tell what a plan costs
_MASKS = 5000  # of a plan at most
_SKEWS = (0, 2, 4, 6)  # bits by which bands of the lower threshold are narrower than even
_SORT, _COMPARE, _FOUND = 60.0, 2.5, 60.0  # ns: a code put in order, a pair met in a bucket, a pair within the radius
_COMPARE_ALL = 1.3  # ns: a pair where there is one bucket


class Band(NamedTuple):
    """Bit positions, and how many of them two codes may differ in."""

    bits: tuple[int, ...]
    threshold: int

    @property
    def mask(self) -> int:
        """All its bits."""
        return sum(1 << bit for bit in self.bits)


def plan(a: Codes, b: Codes, radius: int) -> list[Band]:
    """The cheapest cut for finding the pairs of `a` and `b` (uint64 [N], [M]) within `radius`."""
    rng = np.random.default_rng(0)
    x, y = (rng.choice(codes, min(len(codes), _SAMPLE), replace=False) for codes in (a, b))
    differing = (x[:, None] ^ y).ravel()
    differing = differing[differing != 0]  # a code met with itself
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
    """The 64 bits cut into bands, `order` (all bits, the most telling first) dealt evenly among them.

    None where there is no such cut: a `skew` without bands of two thresholds, or one that leaves a band too narrow.
    """
    more, left = divmod(radius + 1, number)  # thresholds: `left` bands have `more`, the others one less
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
    """The bits of a band less every choice of `threshold` among them."""
    for left_out in itertools.combinations(band.bits, band.threshold):
        yield band.mask & ~sum(1 << bit for bit in left_out)


def _cost(differing: Codes, shares: NDArray[np.float64], band: Band, radius: int, codes: int, pairs: float) -> float:
    """Nanoseconds that a band's masks take: each orders all codes, and meets the pairs that agree on it.

    Of the pairs met, the sample tells those that are many, and how often each bit differs the rest.
    """
    width, t = len(band.bits), band.threshold
    distance = np.bitwise_count(differing & np.uint64(band.mask))
    near = distance[np.bitwise_count(differing) <= radius]
    seen, found = (np.bincount(d, minlength=t + 1)[: t + 1] / max(1, len(differing)) for d in (distance, near))
    independent = np.ones(1)
    for share in shares[list(band.bits)]:
        independent = np.convolve(independent, [1 - share, share])[: t + 1]

    def met(share: NDArray[np.float64]) -> float:  # a pair that differs in d bits, on each mask that leaves them out
        return sum(float(p) * math.comb(width - d, t - d) for d, p in enumerate(share))

    compared = max(met(seen), met(independent)) * _COMPARE + met(found) * _FOUND
    return math.comb(width, t) * codes * _SORT + compared * pairs

"""Two ways to do the same work, timed in turn, and the line that compares them.

If the machine's speed drifts, it drifts for both runs of a pair. So the ratio is computed for each pair, and its median
is reported. The ratio of processor times is given too, because other programs on the machine blur that of wall times.
"""

import resource
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.float64]
"""Seconds: [pairs, 2, 2]. The second axis is (theirs, ours), the third (wall time, processor time)."""


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall time and processor time of `work()`; the processes that it starts and waits for count too."""
    wall, processor = time.perf_counter(), _processor()
    work()
    return time.perf_counter() - wall, _processor() - processor


def alternate(theirs: Callable[[], object], ours: Callable[[], object], repeats: int) -> Pairs:
    """Time both in turn, `repeats` times, after one run of each that does not count."""
    return np.array([(seconds(theirs), seconds(ours)) for _ in range(repeats + 1)])[1:]


def compare(pairs: Pairs, count: int, other: str) -> str:
    """Return a line with our rate, the other's, and their ratio, all medians. count: number of things done in a run."""
    theirs, ours = count / np.median(pairs[:, :, 0], axis=0)
    wall, processor = np.median(pairs[:, 0] / pairs[:, 1], axis=0)
    return (
        f"{ours:,.0f}/s, {other} {theirs:,.0f}/s, ratio {wall:.3g} "
        f"({processor:.3g} in processor time; median of {len(pairs)} pairs)"
    )


def _processor() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime

"""Two ways to do the same work, timed in turn, and the line that compares them.

A machine whose speed drifts drifts for both of a pair, so the ratio is taken pair by pair and its median is told.
Processor time stands beside the ratio of wall time, which other programs on the machine blur.
"""

import resource
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.float64]
"""Seconds: [pairs, 2, 2]. The second axis is (theirs, ours), the third (wall time, processor time)."""


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of `work()`; the processes that it starts and waits for count too."""
    wall, processor = time.perf_counter(), _processor()
    work()
    return time.perf_counter() - wall, _processor() - processor


def alternate(theirs: Callable[[], object], ours: Callable[[], object], repeats: int) -> Pairs:
    """Times both in turn, `repeats` times, after one run of each that does not count."""
    return np.array([(seconds(theirs), seconds(ours)) for _ in range(repeats + 1)])[1:]


def compare(pairs: Pairs, count: int, other: str) -> str:
    """Our rate and the other's, in `count` things a run, and how many times as fast ours is; medians."""
    theirs, ours = count / np.median(pairs[:, :, 0], axis=0)
    wall, processor = np.median(pairs[:, 0] / pairs[:, 1], axis=0)
    return (
        f"{ours:,.0f}/s, {other} {theirs:,.0f}/s, ratio {wall:.3g} "
        f"({processor:.3g} in processor time; median of {len(pairs)} pairs)"
    )


def _processor() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime

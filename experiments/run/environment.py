"""What every record says about its run: the seconds that each stage took, versions, hardware."""

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

import results
from experiments.run.context import ROOT, in_clone
from experiments.run.torchrun import processes


def circumstances(device: torch.device | str, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Make the fields `versions`, `hardware` and `seconds` of a `results.Record`.

    The hardware is that of this process; `processes` is named if there are several.
    """
    several = {"processes": processes()} if processes() > 1 else {}
    commit = results.git_commit(ROOT) if in_clone() else None  # packages may be installed into somebody's repository
    return {
        "versions": {**results.versions(), "commit": commit},
        "hardware": results.hardware(str(device)) | {"peak_rss_gib": round(peak_rss() / 2**30, 2)} | several,
        "seconds": {stage: round(value, 1) for stage, value in seconds.items()},
    }


def peak_rss() -> int:
    """Return the peak resident memory of this process in bytes, mapped pages included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Set `seconds[stage]` to the wall-clock time of the block."""
    start = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - start

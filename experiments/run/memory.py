"""How much memory there is, and the C library's allocator, which is made to keep freed memory.

Every training step frees and allocates the same large maps. glibc returns them to the system, which zeroes them page
by page the next time. On a CPU that costs a quarter of a step.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.run.errors import UserError

if TYPE_CHECKING:
    import torch

MEMINFO, GROUPS, CGROUP = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Make this process keep the memory that it frees. Nothing happens if the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    # some versions accept at most 2**25
    _ = libc.mallopt(_M_MMAP_THRESHOLD, 2**30) or libc.mallopt(_M_MMAP_THRESHOLD, 2**25)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def check_memory(needed: int, purpose: str, fix: str, device: torch.device | None = None) -> None:
    """Raise UserError if `purpose` takes more than the free memory of the device (by default of the host).

    needed: bytes, a lower bound. Nothing is checked where the free memory is not known.
    """
    free = available(device)
    if free is not None and needed > free:
        where = f" on {device}" if device is not None and device.type == "cuda" else ""
        raise UserError(f"{purpose} takes at least {needed / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free{where}: {fix}")


def available(device: torch.device | None = None) -> int | None:
    """Return the bytes that are free on a GPU, or on the host within its control groups; None if that is not known."""
    if device is not None and device.type == "cuda":
        import torch  # imported here because it takes seconds

        return int(torch.cuda.mem_get_info(device)[0])
    try:
        (line,) = (line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
        free = 1024 * int(line.split()[1])
    except (OSError, ValueError):
        return None
    return min([free, *_free_in_groups()])


def _free_in_groups() -> Iterator[int]:
    """Yield what is free in each control group of this process that has a limit (version 2: containers, batch jobs)."""
    try:
        own = next((line[3:] for line in GROUPS.read_text().splitlines() if line.startswith("0::/")), "/")
    except (OSError, ValueError):  # there are no groups, or their names are no text
        return
    for group in (Path(own), *Path(own).parents):
        folder = CGROUP / group.relative_to("/")
        with suppress(OSError, ValueError, KeyError):  # there is no such group, or no limit
            limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield limit - used + int(kept["inactive_file"])

"""The C library's allocator, told to keep what is freed.

Every training step frees and asks for the same large maps. glibc gives such back to the system and has them zeroed
page by page the next time, which costs a quarter of a step on a CPU.
"""

import ctypes
import platform

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Has this process keep the memory that it frees; nothing happens where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    _ = libc.mallopt(_M_MMAP_THRESHOLD, 2**30) or libc.mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that some take
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)

"""The C library's allocator, told to keep what is freed.

Every training step frees and asks for the same large maps. glibc gives such back to the system and has them zeroed
page by page the next time, which costs a quarter of a step on a CPU.
"""

import ctypes
import platform

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Keeps freed memory in this process, whose peak stays the same; False where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, 2**30) and libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))

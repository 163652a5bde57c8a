"""Reuse of freed memory on glibc: fresh pages for every temporary cost more than the arithmetic on them."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


@cache
def keep_freed_memory() -> bool:
    """Ask glibc to keep freed blocks instead of handing them back to the system.

    Temporaries of a megabyte are otherwise mapped and unmapped at every operation, and each page is cleared by the system again: measured
    on a 2-core machine, drawing a dropout mask of half a million entries takes 0.9 ms so and 0.25 ms with this, and comparing 1,024 rows with 4,053 in each of
    7 networks that answer from similar rows 165 ms and 72 ms. It changes no result; the
    process's peak memory is the same, but it is held. ``TEMPERANCE_MALLOC=system`` leaves the allocator as it is. On other C libraries and on
    GPUs it does nothing.

    Returns:
        whether the settings were taken.
    """
    if not sys.platform.startswith("linux") or os.environ.get("TEMPERANCE_MALLOC", "") == "system":
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1) and libc.mallopt(_M_TOP_PAD, 64 << 20))
    except (OSError, AttributeError):
        return False

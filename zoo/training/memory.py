"""The C library's allocator, set for training on the CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1
_AHEAD = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees; whether the C library could be told.

    glibc maps and unmaps large buffers one by one. A training step frees every activation it
    made and makes it again in the next one, so each step would take its page faults anew:
    docs/log.md has what that costs. The price is that the process never shrinks.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False  # another C library
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _AHEAD))
    return all(mallopt(*setting) == 1 for setting in settings)

"""The C library's allocator, set for training on the CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER = 2**31 - 1
_AHEAD = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees. Return whether the C library agreed.

    glibc maps and unmaps large buffers one by one. A training step frees every activation and
    makes it again in the next step, so each step would have the same page faults again.
    docs/log.md says what that costs. The price is that the process never shrinks.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False  # another C library
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _AHEAD))
    return all(mallopt(*setting) == 1 for setting in settings)

"""Keep large buffers in the process.

glibc hands blocks above 128 KiB back to the system on every free and gets them back zeroed, page by page; a network
frees and asks for the same few hundred megabytes at every step. Raising two thresholds once keeps them.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_buffers"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt(3)
_LARGEST = 1 << 30
_done = False


def keep_buffers() -> bool:
    """Raise glibc's mmap and trim thresholds for this process, once; says whether it did so here or before.

    Does nothing where the C library is another one.
    """
    global _done
    if not _done and sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL("libc.so.6").mallopt
        except (OSError, AttributeError):
            return False
        _done = bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST))
    return _done

"""How the C library gives freed memory back: without this, a process keeps what large frames once took.

glibc raises the size from which on a block has pages of its own to that of the blocks it sees freed, up to 32 MB. From
then on planes of a large frame lie in its heaps, one heap per thread, and between those that live, what others have
left stays with the process: several times of what is in use. With a fixed size large blocks go back when they are
freed. Pages that come and go cost time, so this is asked for with large frames alone.
"""

import contextlib
import ctypes
import os
import sys
from functools import cache

LARGE_BLOCK = 2 << 20
"""Bytes from which on a block has pages of its own: below a plane of half a million pixels in single precision."""

_M_MMAP_THRESHOLD = -3
_VARIABLE = "MALLOC_MMAP_THRESHOLD_"


@cache
def give_large_blocks_back() -> bool:
    """Have large blocks given back to the system when they are freed, for the rest of the process.

    Returns:
        Whether that was set; not with a C library other than glibc, whose allocators do so anyway, nor where the
        environment says otherwise.
    """
    if not sys.platform.startswith("linux") or _VARIABLE in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK))
    except (OSError, AttributeError):
        return False


def give_small_blocks_back() -> None:
    """Give the free pages between the small blocks of all heaps back to the system; takes milliseconds.

    For after a piece of work on large frames: what it left behind counts when the next piece begins.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)

"""How the C library keeps and gives back the memory of large planes.

As it comes, glibc keeps freed planes in heaps, one for each thread, and between those that live, what others have left
stays with the process: several times of what is in use. Given back at once, every plane has its pages made and cleared
anew, which takes longer than most of what is done with it: half of the time of a 2K film. So with large frames all
threads share one heap, in which a freed plane serves the next, and what lies free there is given back whenever a piece
of work is done.
"""

import contextlib
import ctypes
import os
import sys
from functools import cache

_MOST_FREE_AT_END = 1 << 30
"""Bytes at the end of the heap that may lie free until a piece of work is done: about 80 planes of a 2K film."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX")


@cache
def share_one_heap() -> bool:
    """Have freed planes serve the next ones, whichever thread they are of, for the rest of the process.

    Call `give_blocks_back` after every piece of work from then on.

    Returns:
        Whether that was set; not with a C library other than glibc, nor where the environment says otherwise.
    """
    # No block has pages of its own, whatever its size.
    return _set((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _MOST_FREE_AT_END), (_M_ARENA_MAX, 1))


@cache
def keep_to_one_heap() -> bool:
    """Have all threads share one heap, and leave the rest as it is: for long work on frames of any size.

    A reel leaves more behind in the heaps of threads than it needs at any time.

    Returns:
        As `share_one_heap`.
    """
    return _set((_M_ARENA_MAX, 1))


def _set(*wanted: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return False
    try:
        library = ctypes.CDLL(None)
        done = [bool(library.mallopt(what, value)) for what, value in wanted]
    except (OSError, AttributeError):
        return False
    return all(done)


def give_blocks_back() -> None:
    """Give all free pages of the heaps back to the system; takes some hundredths of a second.

    For after a piece of work on large frames: what it left behind counts when the next piece begins.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)

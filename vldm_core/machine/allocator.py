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

_LEAST_OWN, _MOST_OWN = 128 << 10, 32 << 20
"""Bytes from which glibc gives blocks pages of their own as it comes, and from which it can be asked to."""

_FRAMES_OWN = 4
"""Frames from which a block has pages of its own: windows of frames do, single planes do not."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8
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


def part_windows_from_planes(width: int, height: int) -> bool:
    """Give blocks of several frames pages of their own, which go back to the system with them, from now on.

    As it comes, glibc does so only above the largest block that was ever given back, and takes the others from the
    heap: windows of frames then leave gaps there, in which planes settle.

    Args:
        width: Of the frames that are worked on, pixels.
        height: Likewise.

    Returns:
        As `share_one_heap`, which goes before this.
    """
    frame = width * height * 3 * 4
    return _set((_M_MMAP_THRESHOLD, min(max(_FRAMES_OWN * frame, _LEAST_OWN), _MOST_OWN)))


def _set(*wanted: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return False
    try:
        done = [bool(_library().mallopt(what, value)) for what, value in wanted]
    except (OSError, AttributeError):
        return False
    return all(done)


def give_blocks_back() -> None:
    """Give all free pages of the heaps back to the system; takes some hundredths of a second.

    For after a piece of work on large frames: what it left behind counts when the next piece begins.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            _library().malloc_trim(0)


@cache
def _library() -> ctypes.CDLL:
    # Each one brings classes of its own, which only a collection of garbage takes away.
    return ctypes.CDLL(None)

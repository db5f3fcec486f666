"""How many processes suit a machine, and which share of it each of them uses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import threadpool_limits

CORES_EACH = 2
"""Cores that one process keeps busy: its stages run side by side."""

_BYTES_EACH = 3 << 30
"""Bytes that a process takes with films of 2048×1556; smaller films take less."""


def cores() -> int:
    """Return how many cores this process may use, 1 or more."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def suitable_workers() -> int:
    """Return how many processes the cores and the free memory suffice for, 1 or more."""
    free = _free_bytes()
    by_memory = cores() if free is None else free // _BYTES_EACH
    return max(1, min(cores() // CORES_EACH, by_memory))


def share_of_cores(count: int, of: int | None = None) -> int:
    """Return the threads that each of some processes may use, 1 or more.

    Args:
        count: Processes, 1 or more.
        of: Cores that they share; None is those of this process.
    """
    return max(1, (cores() if of is None else of) // count)


def use_threads(threads: int) -> None:
    """Let the libraries of this process use so many threads for one operation.

    Args:
        threads: 1 or more.
    """
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _limit_linear_algebra()


@contextmanager
def same_sums() -> Iterator[None]:
    """Let NumPy and SciPy multiply and solve in one thread inside the block.

    With several, sums are parted by their number, and their last digits with it: a film would come out otherwise on
    another number of cores. The systems here are small, too, and threads that wait for each other take longer.
    """
    limits = _limit_linear_algebra()
    try:
        yield
    finally:
        limits.restore_original_limits()


def _limit_linear_algebra() -> "threadpool_limits":
    # It brings a library of its own, which is found only once it is loaded.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


def _free_bytes() -> int | None:
    """Bytes of memory that can be had; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) << 10
    return None

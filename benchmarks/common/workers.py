"""Processes that work side by side, one thread each: figures do not depend on how many there are."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import cv2
import torch

from vldm_core.errors import VLDMError

Job = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function of a module, and its arguments."""


class Lanes:
    """Processes that work on jobs side by side; make them with `lanes`."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def run(self, jobs: Iterable[Job], step: Callable[[int, int], None]) -> list[Any]:
        """Do all jobs and return their results in order.

        Args:
            jobs: What to do.
            step: Called with the number of jobs done and of all jobs after each; may raise to interrupt.

        Raises:
            VLDMError: A process was ended from outside, or whatever a job raised.
        """
        try:
            waiting: list[Future[Any]] = [self._pool.submit(function, *arguments) for function, arguments in jobs]
            for done, future in enumerate(as_completed(waiting), 1):
                future.result()
                step(done, len(waiting))
            return [future.result() for future in waiting]
        except BrokenProcessPool as error:
            raise VLDMError(
                "a process of the benchmark was ended from outside, perhaps for want of memory; run with fewer lanes"
            ) from error


@contextmanager
def lanes(count: int) -> Iterator[Lanes]:
    """Start processes of one thread each; jobs that have not begun when the block ends are dropped."""
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_begin_lane)
    try:
        yield Lanes(pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_lane() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, killed perhaps, and nobody else would."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

"""Processes that make chunks side by side."""

import logging
import multiprocessing
import os
import queue
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import cv2
import torch
from torch import Tensor

from ...errors import VLDMError
from ...progress import Pulse, silent
from .chunks import ReelChunk, runs_of
from .maker import ChunkMaker, Orders
from .work_folder import KeptChunk

logger = logging.getLogger(__name__)

_POLL_S = 0.2
_STOP_S = 5.0
_TRIES = 3
"""Times that a chunk is given to a worker: one that ends its process twice more is no accident."""

_ROUNDS = 4
"""Runs that each worker is given at least where there are so many, so that all end at about the same time."""

_LEAST_FRAMES = 240
"""Frames of a run at least, in a long shot: at both its ends neighbours are looked at twice."""


class WorkerError(VLDMError):
    """A worker failed, and the chunk that it was at fails again."""


@dataclass(eq=False)
class _Worker:
    """A process, and the run that it is at."""

    process: BaseProcess
    tasks: Any
    run: tuple[ReelChunk, ...] = ()
    made: int = 0


def made_by_workers(
    orders: Orders, chunks: Sequence[ReelChunk], count: int, pulse: Pulse, take: Callable[[KeptChunk], None]
) -> None:
    """Make chunks in several processes.

    The same frames come out whatever their number, and whichever of them ends early: a chunk that its worker did not
    finish is given to another one.

    Args:
        orders: What to make.
        chunks: The chunks, in order.
        count: Processes.
        pulse: Gives signs of life, and counts frames.
        take: Takes every chunk when it is kept, in no order.

    Raises:
        WorkerError: A chunk ended its worker several times.
        VLDMError: What the maker of chunks raises.
    """
    frames = sum(chunk.frames for chunk in chunks)
    longest = max(_LEAST_FRAMES, frames // (count * _ROUNDS))
    pool = _Pool(orders, runs_of(chunks, longest=longest), count)
    try:
        pool.start()
        while pool.busy:
            pulse.beat()
            found = pool.result()
            if found is None:
                pool.replace_ended()
                continue
            kind, value = found
            if kind == "frame":
                pulse.step()
            elif kind == "chunk":
                take(value)
            else:
                raise value
    finally:
        pool.stop()


class _Pool:
    """Workers, and the runs that wait for one."""

    def __init__(self, orders: Orders, runs: Iterable[tuple[ReelChunk, ...]], count: int) -> None:
        self._orders, self._waiting, self._count = orders, deque(runs), count
        self._context = multiprocessing.get_context("spawn")
        self._results = self._context.Queue()
        self._workers: list[_Worker] = []
        self._tries: dict[int, int] = {}

    @property
    def busy(self) -> bool:
        """Whether a worker is at a run."""
        return any(worker.run for worker in self._workers)

    def start(self) -> None:
        """Start as many workers as there is something to do for."""
        for _ in range(min(self._count, len(self._waiting))):
            self._start()

    def _start(self) -> None:
        tasks, number = self._context.Queue(), len(self._workers)
        process = self._context.Process(
            target=_work,
            args=(number, self._orders, self._count, tasks, self._results),
            name=f"vldm-worker-{number}",
            daemon=True,
        )
        process.start()
        worker = _Worker(process, tasks)
        self._workers.append(worker)
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        worker.run, worker.made = (self._waiting.popleft() if self._waiting else ()), 0
        if worker.run:
            worker.tasks.put(worker.run)

    def result(self) -> tuple[str, Any] | None:
        """Return what a worker has to say: "frame", "chunk" or "error", and a value; None where none says anything."""
        try:
            number, kind, value = self._results.get(timeout=_POLL_S)
        except queue.Empty:
            return None
        if kind == "chunk":
            worker = self._workers[number]
            worker.made += 1
            if worker.made == len(worker.run):
                self._give(worker)
        return kind, value

    def replace_ended(self) -> None:
        """Start new workers in the place of those that ended at their work.

        Raises:
            WorkerError: One and the same chunk has ended several.
        """
        for worker in [worker for worker in self._workers if worker.run and worker.process.exitcode is not None]:
            left, worker.run = worker.run[worker.made :], ()
            first = left[0].first
            self._tries[first] = self._tries.get(first, 0) + 1
            reason = f"a worker ended by itself (code {worker.process.exitcode}) at frames from {first} on"
            if self._tries[first] >= _TRIES:
                raise WorkerError(f"{reason}, {_TRIES} times; where memory is short, try fewer workers")
            logger.warning("%s; they are given to another", reason)
            self._waiting.appendleft(left)
            self._start()

    def stop(self) -> None:
        """End all workers; those that are at work at once."""
        for worker in self._workers:
            if worker.process.is_alive():
                worker.tasks.put(None)
                if worker.run:
                    worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_STOP_S)
            if worker.process.is_alive():
                worker.process.kill()


class _Reporting(Pulse):
    """Tells the parent of every frame, and ends the process where there is no parent any more."""

    def __init__(self, number: int, results: Any) -> None:
        super().__init__(silent, "restore", None)
        self._number, self._results = number, results
        self._parent = multiprocessing.parent_process()

    def step(self, preview: Tensor | None = None) -> None:
        super().step(preview)
        self._results.put((self._number, "frame", None))

    def beat(self, phase: str = "", done: int = 0, total: int | None = None, preview: Tensor | None = None) -> None:
        if self._parent is not None and not self._parent.is_alive():
            # Nobody waits for it; what is finished is kept.
            raise SystemExit(1)


def _work(number: int, orders: Orders, count: int, tasks: Any, results: Any) -> None:
    """Make what comes through a queue, until None comes."""
    # The parent decides what an interrupt from the keyboard ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threads = max(1, (os.cpu_count() or 1) // count)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    parent = multiprocessing.parent_process()
    try:
        with ChunkMaker(orders) as maker:
            while True:
                try:
                    run = tasks.get(timeout=_STOP_S)
                except queue.Empty:
                    if parent is not None and not parent.is_alive():
                        return
                    continue
                if run is None:
                    return
                for chunk in maker.make(run, _Reporting(number, results)):
                    results.put((number, "chunk", chunk))
    except VLDMError as error:
        results.put((number, "error", error))
    except Exception as error:  # noqa: BLE001 - it has to reach the parent, which raises it
        results.put((number, "error", WorkerError(f"a worker failed: {type(error).__name__}: {error}")))

"""Processes of this computer that do tasks side by side."""

import logging
import multiprocessing
import os
import queue
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import cv2
import torch
from torch import Tensor

from ....errors import VLDMError
from ....progress import Pulse, silent
from .job import Job, Take, Task, WorkerError

logger = logging.getLogger(__name__)

_POLL_S = 0.2
_STOP_S = 5.0

TRIES = 3
"""Workers that a task may end: one that ends three is no accident."""


@dataclass(eq=False)
class _Worker:
    """A process, and the task that it is at."""

    process: BaseProcess
    tasks: Any
    task: Task = ()
    made: int = 0


def over_processes(job: Job, tasks: Sequence[Task], count: int, pulse: Pulse, take: Take) -> None:
    """Do tasks in several processes.

    The same results come whatever their number, and whichever of them ends early: what a worker did not finish is given
    to another one.

    Args:
        job: What does them.
        tasks: In an order in which each process reads films forward.
        count: Processes.
        pulse: Gives signs of life, and counts frames.
        take: Takes every result.

    Raises:
        WorkerError: A task ended several workers.
        VLDMError: What the job raises.
    """
    pool = _Pool(job, tasks, count)
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
            elif kind == "result":
                take(value)
            else:
                raise value
    finally:
        pool.stop()


class _Pool:
    """Workers, and the tasks that wait for one."""

    def __init__(self, job: Job, tasks: Sequence[Task], count: int) -> None:
        self._job, self._waiting, self._count = job, deque(tasks), count
        self._context = multiprocessing.get_context("spawn")
        self._results = self._context.Queue()
        self._workers: list[_Worker] = []
        self._tries: dict[Any, int] = {}

    @property
    def busy(self) -> bool:
        """Whether a worker is at a task."""
        return any(worker.task for worker in self._workers)

    def start(self) -> None:
        """Start as many workers as there is something to do for."""
        for _ in range(min(self._count, len(self._waiting))):
            self._start()

    def _start(self) -> None:
        tasks, number = self._context.Queue(), len(self._workers)
        process = self._context.Process(
            target=_work,
            args=(number, self._job, self._count, tasks, self._results),
            name=f"vldm-worker-{number}",
            daemon=True,
        )
        process.start()
        worker = _Worker(process, tasks)
        self._workers.append(worker)
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        worker.task, worker.made = (self._waiting.popleft() if self._waiting else ()), 0
        if worker.task:
            worker.tasks.put(worker.task)

    def result(self) -> tuple[str, Any] | None:
        """Return what a worker has to say: "frame", "result" or "error", and a value; None where none says anything."""
        try:
            number, kind, value = self._results.get(timeout=_POLL_S)
        except queue.Empty:
            return None
        if kind == "result":
            worker = self._workers[number]
            worker.made += 1
            if worker.made == len(worker.task):
                self._give(worker)
        return kind, value

    def replace_ended(self) -> None:
        """Start new workers in the place of those that ended at their work.

        Raises:
            WorkerError: One and the same piece of work has ended several.
        """
        for worker in [worker for worker in self._workers if worker.task and worker.process.exitcode is not None]:
            left, worker.task = worker.task[worker.made :], ()
            self._tries[left[0]] = self._tries.get(left[0], 0) + 1
            reason = f"a worker ended by itself (code {worker.process.exitcode}) at {left[0]}"
            if self._tries[left[0]] >= TRIES:
                raise WorkerError(f"{reason}, {TRIES} times; where memory is short, try fewer workers")
            logger.warning("%s; another one is given its work", reason)
            self._waiting.appendleft(left)
            self._start()

    def stop(self) -> None:
        """End all workers; those that are at work at once."""
        for worker in self._workers:
            if worker.process.is_alive():
                worker.tasks.put(None)
                if worker.task:
                    worker.process.terminate()
        for worker in self._workers:
            worker.process.join(_STOP_S)
            if worker.process.is_alive():
                worker.process.kill()


class _Reporting(Pulse):
    """Tells the parent of every frame, and ends the process where there is no parent any more."""

    def __init__(self, number: int, results: Any) -> None:
        super().__init__(silent, "work", None)
        self._number, self._results = number, results
        self._parent = multiprocessing.parent_process()

    def step(self, preview: Tensor | None = None) -> None:
        super().step(preview)
        self._results.put((self._number, "frame", None))

    def beat(self, phase: str = "", done: int = 0, total: int | None = None, preview: Tensor | None = None) -> None:
        if self._parent is not None and not self._parent.is_alive():
            # Nobody waits for it; what is finished is kept.
            raise SystemExit(1)


def share_of_cores(count: int) -> None:
    """Let the libraries of this process use its share of the cores among so many processes."""
    threads = max(1, (os.cpu_count() or 1) // count)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _work(number: int, job: Job, count: int, tasks: Any, results: Any) -> None:
    """Do what comes through a queue, until None comes."""
    # The parent decides what an interrupt from the keyboard ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share_of_cores(count)
    parent = multiprocessing.parent_process()
    try:
        with job.open() as do:
            while True:
                try:
                    task = tasks.get(timeout=_STOP_S)
                except queue.Empty:
                    if parent is not None and not parent.is_alive():
                        return
                    continue
                if task is None:
                    return
                for result in do(task, _Reporting(number, results)):
                    results.put((number, "result", result))
    except VLDMError as error:
        results.put((number, "error", error))
    except Exception as error:  # noqa: BLE001 - it has to reach the parent, which raises it
        results.put((number, "error", WorkerError(f"a worker failed: {type(error).__name__}: {error}")))

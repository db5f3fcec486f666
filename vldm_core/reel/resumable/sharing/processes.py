"""Processes of this computer that do tasks side by side, over all passes of a run.

Each has a pipe of its own: one that is killed, whatever it was doing, holds no lock that another one waits for, and the
end of its pipe tells at once that it is gone.
"""

import logging
import multiprocessing
import signal
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from torch import Tensor

from ....errors import VLDMError
from ....machine.allocator import keep_to_one_heap
from ....machine.workers import share_of_cores, use_threads
from ....progress import Pulse, silent
from .job import NEEDED, Alone, Do, Job, Retries, Take, Task, WorkerError

logger = logging.getLogger(__name__)

_POLL_S = 0.2
_STOP_S = 5.0


def _context() -> BaseContext:
    """How processes are started: without what this one has open.

    On Linux by a process that has loaded the libraries once for all of them, and does nothing else. Elsewhere libraries
    do not bear that, and every worker loads them.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([NEEDED])
    return context


@dataclass(eq=False)
class _Worker:
    """A process, the job that it has open, and the task that it is at."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None
    task: Task = ()
    made: int = 0


class Processes:
    """Several processes that do tasks.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count, self._context = count, _context()
        self._workers: list[_Worker] = []
        self._waiting: deque[Task] = deque()
        self._retries = Retries()

    def begin(self) -> None:
        """See `Crew`."""
        while len(self._workers) < self._count:
            self._start()

    def do(self, job: Job, tasks: Sequence[Task], pulse: Pulse, take: Take) -> None:
        """See `Crew`. A single task is done here, where it has all cores."""
        if len(tasks) <= 1:
            Alone().do(job, tasks, pulse, take)
            return
        self._waiting.extend(tasks)
        while len(self._workers) < min(self._count, len(tasks)):
            self._start()
        for worker in list(self._workers):
            self._give(worker, job)
        while busy := {worker.pipe: worker for worker in self._workers if worker.task}:
            pulse.beat()
            for pipe in wait(list(busy), _POLL_S):
                worker = busy[pipe]  # type: ignore[index]
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, OSError):
                    self._replace(worker, job)
                    continue
                if kind == "frame":
                    pulse.step()
                elif kind == "result":
                    worker.made += 1
                    if worker.made == len(worker.task):
                        # Before the result is kept, so that nobody waits meanwhile.
                        self._give(worker, job)
                    take(value)
                else:
                    raise value

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]
            target=_work, args=(theirs, share_of_cores(self._count)), name="vldm-worker", daemon=True
        )
        process.start()
        # The end of the pipe is told when the worker alone has held the other side.
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker, job: Job) -> None:
        worker.task, worker.made = (self._waiting.popleft() if self._waiting else ()), 0
        if not worker.task:
            return
        # Where it is gone, that is found when its answer is waited for.
        with suppress(OSError):
            if worker.job is not job:
                worker.pipe.send(("job", job))
                worker.job = job
            worker.pipe.send(("task", worker.task))

    def _replace(self, worker: _Worker, job: Job) -> None:
        """Start a new worker in the place of one that ended at its work."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(_STOP_S)
        left = worker.task[worker.made :]
        logger.warning("%s", self._retries.again(left, f"code {worker.process.exitcode}"))
        self._waiting.appendleft(left)
        self._give(self._start(), job)

    def stop(self) -> None:
        """See `Crew`."""
        workers, self._workers = self._workers, []
        self._waiting.clear()
        for worker in workers:
            # An end of its pipe ends a worker that waits for work.
            worker.pipe.close()
            if worker.task:
                worker.process.terminate()
        for worker in workers:
            worker.process.join(_STOP_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


class _Reporting(Pulse):
    """Tells the parent of every frame, and ends the process where there is no parent any more."""

    def __init__(self, pipe: Connection, telling: threading.Lock) -> None:
        super().__init__(silent, "work", None)
        self._pipe, self._telling = pipe, telling
        self._parent = multiprocessing.parent_process()

    def step(self, preview: Tensor | None = None) -> None:
        super().step(preview)
        with self._telling:
            self._pipe.send(("frame", None))

    def beat(self, phase: str = "", done: int = 0, total: int | None = None, preview: Tensor | None = None) -> None:
        if self._parent is not None and not self._parent.is_alive():
            # Nobody waits for it; what is finished is kept.
            raise SystemExit(1)


def _work(pipe: Connection, threads: int) -> None:
    """Do what comes through a pipe, until its other end is closed."""
    # The parent decides what an interrupt from the keyboard ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_to_one_heap()
    use_threads(threads)
    telling = threading.Lock()

    def tell(kind: str, value: Any) -> None:
        with telling:
            pipe.send((kind, value))

    pulse = _Reporting(pipe, telling)
    # The parent may be gone at any time.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), ExitStack() as opened:
        try:
            do: Do | None = None
            while True:
                kind, value = pipe.recv()
                if kind == "job":
                    opened.close()
                    do = opened.enter_context(value.open())
                elif do is not None:
                    for result in do(value, pulse):
                        tell("result", result)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except VLDMError as error:
            tell("error", error)
        except Exception as error:  # noqa: BLE001 - it has to reach the parent, which raises it
            tell("error", WorkerError(f"a worker failed: {type(error).__name__}: {error}"))

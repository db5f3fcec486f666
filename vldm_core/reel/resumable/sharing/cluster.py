"""A Ray cluster that does tasks: one actor for each accelerator, or for two cores where there is none.

Ray (https://docs.ray.io) starts workers, moves tasks and tells when a node is lost; it is an optional dependency. All
nodes have to see the film and the folder of the run under the same paths, in a folder that they share: finished chunks
go there, and only what is said of them comes back through Ray.
"""

import importlib
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....errors import SettingsError, VLDMError
from ....machine.allocator import keep_to_one_heap
from ....machine.workers import CORES_EACH, cores, share_of_cores, use_threads
from ....progress import Pulse, silent
from .job import NEEDED, Do, Job, Retries, Take, Task, WorkerError

if TYPE_CHECKING:
    from types import ModuleType

logger = logging.getLogger(__name__)

_POLL_S = 0.5


def _ray() -> "ModuleType":
    try:
        import ray
    except ImportError as error:
        raise SettingsError("Ray is not installed; pip install 'vldm[ray]', or give a number of workers") from error
    return ray


@dataclass(eq=False)
class _Member:
    """An actor, the job that it has open, and the task that it is at."""

    actor: Any
    job: Any = None
    task: Task = ()
    made: int = 0


class Cluster:
    """Actors of a Ray cluster that do tasks.

    Args:
        address: Of the cluster, such as ``ray://head:10001`` or ``auto``; None starts one on this computer.
        count: Actors; None is one for each accelerator of the cluster, or for two cores where it has none.
    """

    def __init__(self, address: str | None = None, count: int | None = None) -> None:
        self._address, self._count = address, count
        self._ray: Any = None
        self._kind: Any = None
        self._threads = 1
        self._started = False
        self._members: list[_Member] = []
        self._ready: Future[None] | None = None
        self._starter: ThreadPoolExecutor | None = None
        self._retries = Retries()

    def begin(self) -> None:
        """See `Crew`. A cluster that is started here, and all actors, get ready meanwhile."""
        if self._ready is not None:
            return
        self._ray = _ray()
        if self._address is not None:
            # What cannot be reached is told at once.
            self._connect()
        # On Linux a cluster that is started here ends with the thread that started it.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="vldm-ray")
        self._ready = self._starter.submit(self._gather)

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        try:
            self._ray.init(
                address=self._address, num_cpus=self._cpus, log_to_driver=False, include_dashboard=False,
                configure_logging=False,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"there is no Ray cluster at {self._address} ({error}); start one, or leave it out"
            ) from error
        self._started = True

    @property
    def _cpus(self) -> int | None:
        """Cores that a cluster of this computer counts: one for each actor at least; None as many as there are."""
        if self._address is not None or self._count is None:
            return None
        return max(self._count, cores())

    def _gather(self) -> None:
        self._connect()
        resources = self._ray.cluster_resources()
        cards, found = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = self._count or max(1, cards or found // CORES_EACH)
        self._threads = share_of_cores(count, found)
        self._kind = self._ray.remote(num_cpus=self._threads, num_gpus=1 if cards else 0, max_restarts=0)(_Actor)
        for _ in range(count):
            self._hire()

    def _hire(self) -> _Member:
        member = _Member(self._kind.remote(self._threads))
        self._members.append(member)
        return member

    def do(self, job: Job, tasks: Sequence[Task], pulse: Pulse, take: Take) -> None:
        """See `Crew`."""
        if not tasks:
            return
        self.begin()
        assert self._ready is not None
        while not self._ready.done():
            pulse.beat()
            with suppress(TimeoutError):
                self._ready.result(timeout=_POLL_S)
        self._ready.result()
        packed, waiting = self._ray.put(job), deque(tasks)
        working: dict[Any, _Member] = {}

        def give(member: _Member) -> None:
            if waiting:
                member.task, member.made = waiting.popleft(), 0
                if member.job is not packed:
                    member.actor.open.remote(packed)
                    member.job = packed
                working[member.actor.do.options(num_returns="streaming").remote(member.task)] = member

        for member in list(self._members):
            give(member)
        while working:
            ready, _ = self._ray.wait(list(working), timeout=_POLL_S)
            pulse.beat()
            for stream in ready:
                member = working[stream]
                try:
                    result, frames = self._ray.get(next(stream))
                except StopIteration:
                    del working[stream]
                    give(member)
                    continue
                except self._ray.exceptions.RayTaskError as error:
                    raise _cause(error) from error
                except self._ray.exceptions.RayError as error:
                    del working[stream]
                    self._members.remove(member)
                    # What was finished is kept: only the rest is done again.
                    left = member.task[member.made :]
                    logger.warning("%s", self._retries.again(left, type(error).__name__))
                    waiting.appendleft(left)
                    give(self._hire())
                    continue
                member.made += 1
                take(result)
                for _ in range(frames):
                    pulse.step()

    def stop(self) -> None:
        """See `Crew`. Others get the cores and accelerators of all actors."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.exception()
        members, self._members = self._members, []
        for member in members:
            self._ray.kill(member.actor)
        if self._started:
            self._ray.shutdown()
            self._started = False
        if self._starter is not None:
            self._starter.shutdown()


def _cause(error: Any) -> VLDMError:
    """What an actor raised, as its caller shall see it."""
    cause = error.cause
    return cause if isinstance(cause, VLDMError) else WorkerError(f"a worker failed: {type(cause).__name__}: {cause}")


class _Actor:
    """Does tasks in a process of the cluster; holds films and models between them.

    Args:
        threads: Those that its libraries use.
    """

    def __init__(self, threads: int) -> None:
        keep_to_one_heap()
        use_threads(threads)
        self._opened = ExitStack()
        self._do: Do | None = None
        self._failed: Exception | None = None
        # What every job needs is loaded while others are still reading the film.
        importlib.import_module(NEEDED)

    def open(self, job: Job) -> None:
        """Open a job, in the place of the one before."""
        self._opened.close()
        self._do = self._failed = None
        try:
            self._do = self._opened.enter_context(job.open())
        except Exception as error:  # noqa: BLE001 - its first task raises it, whose result is waited for
            self._failed = error

    def do(self, task: Task) -> Iterator[tuple[Any, int]]:
        """Do one task; give its results, each with how many frames were finished for it."""
        if self._failed is not None:
            raise self._failed
        assert self._do is not None, "a job is opened first"
        pulse = Pulse(silent, "work", None)
        told = 0
        for result in self._do(task, pulse):
            yield result, pulse.done - told
            told = pulse.done

"""A Ray cluster that does tasks: one actor for each accelerator, or for two cores where there is none.

Ray (https://docs.ray.io) starts workers, moves tasks and tells when a node is lost; it is an optional dependency. All
nodes have to see the film and the folder of the run under the same paths, on shared storage.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ....errors import SettingsError, VLDMError
from ....progress import Pulse, silent
from .job import Job, Take, Task, WorkerError
from .processes import TRIES

if TYPE_CHECKING:
    from types import ModuleType

logger = logging.getLogger(__name__)

_POLL_S = 0.5
_CORES_EACH = 2
"""Cores that an actor without an accelerator keeps busy."""


def over_ray(
    job: Job, tasks: Sequence[Task], address: str | None, pulse: Pulse, take: Take, *, count: int | None = None
) -> None:
    """Do tasks on a Ray cluster.

    A lost node or actor costs the tasks that it was at; another one does them again.

    Args:
        job: What does them.
        tasks: The tasks.
        address: Of the cluster, such as ``ray://head:10001`` or ``auto``; None starts one on this computer.
        pulse: Gives signs of life, and counts frames when their task is done.
        take: Takes every result.
        count: Actors; None is one for each accelerator of the cluster, or for two cores where it has none.

    Raises:
        SettingsError: Ray is not installed, or there is no such cluster.
        WorkerError: A task ended several actors.
        VLDMError: What the job raises.
    """
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False, configure_logging=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"there is no Ray cluster at {address} ({error}); start one, or leave it out"
            ) from error
    cluster = _Cluster(ray, job, count)
    try:
        cluster.run(tasks, pulse, take)
    finally:
        cluster.stop()
        if started:
            ray.shutdown()


def _ray() -> "ModuleType":
    try:
        import ray
    except ImportError as error:
        raise SettingsError("Ray is not installed; pip install 'vldm[ray]', or give a number of workers") from error
    return ray


class _Cluster:
    """Actors, and the tasks that each of them is at."""

    def __init__(self, ray: Any, job: Job, count: int | None) -> None:
        self._ray, self._job = ray, ray.put(job)
        resources = ray.cluster_resources()
        cards, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self._count = count or max(1, cards or cores // _CORES_EACH)
        cores_each = max(1, cores // self._count)
        self._kind = ray.remote(num_cpus=cores_each, num_gpus=1 if cards else 0, max_restarts=0)(_Actor)
        self._threads = cores_each
        self._actors: list[Any] = []

    def run(self, tasks: Sequence[Task], pulse: Pulse, take: Take) -> None:
        """Do all tasks."""
        waiting = deque((task, 1) for task in tasks)
        working: dict[Any, tuple[Any, Task, int]] = {}
        idle = [self._actor() for _ in range(min(self._count, len(waiting)))]
        while waiting or working:
            while waiting and idle:
                actor, (task, tries) = idle.pop(), waiting.popleft()
                working[actor.do.remote(task)] = (actor, task, tries)
            done, _ = self._ray.wait(list(working), timeout=_POLL_S)
            pulse.beat()
            for reference in done:
                actor, task, tries = working.pop(reference)
                try:
                    results, frames = self._ray.get(reference)
                except self._ray.exceptions.RayTaskError as error:
                    cause = error.cause
                    if isinstance(cause, VLDMError):
                        raise cause from error
                    raise WorkerError(f"a worker failed: {type(cause).__name__}: {cause}") from error
                except self._ray.exceptions.RayError as error:
                    if tries >= TRIES:
                        raise WorkerError(f"a worker ended by itself at {task[0]}, {TRIES} times") from error
                    logger.warning("a worker ended by itself at %s; another one is given its work", task[0])
                    waiting.appendleft((task, tries + 1))
                    idle.append(self._actor())
                    continue
                idle.append(actor)
                for result in results:
                    take(result)
                for _ in range(frames):
                    pulse.step()

    def stop(self) -> None:
        """End all actors, so that the next ones get their cores and accelerators."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors.clear()

    def _actor(self) -> Any:
        actor = self._kind.remote(self._job, self._threads)
        self._actors.append(actor)
        return actor


class _Actor:
    """Does tasks in a process of the cluster; holds films and models between them."""

    def __init__(self, job: Job, threads: int) -> None:
        import cv2
        import torch

        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self._context = job.open()
        self._do = self._context.__enter__()

    def do(self, task: Task) -> tuple[list[Any], int]:
        """Do one task; return its results, and how many frames were finished."""
        pulse = Pulse(silent, "work", None)
        results = list(self._do(task, pulse))
        return results, pulse.done

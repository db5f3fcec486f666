"""What is shared out: tasks of a few pieces each, done one after the other by whoever opens the job."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ....errors import VLDMError
from ....progress import Pulse

Task = tuple[Any, ...]
"""Pieces of work that are done in one go, in order; each gives one result."""

Do = Callable[[Task, Pulse], Iterator[Any]]
"""Does the pieces of a task; takes a step of the pulse for every frame that is finished."""

Take = Callable[[Any], None]
"""Takes a result, in no order."""


class Job(Protocol):
    """Work that can be sent to another process and done there."""

    def open(self) -> AbstractContextManager[Do]:
        """Open the films that it needs, and give what does its tasks."""
        ...


class WorkerError(VLDMError):
    """A worker failed, and the task that it was at fails again."""


def in_turn(job: Job, tasks: Sequence[Task], pulse: Pulse, take: Take) -> None:
    """Do tasks here, one after the other."""
    if tasks:
        with job.open() as do:
            for task in tasks:
                for result in do(task, pulse):
                    take(result)

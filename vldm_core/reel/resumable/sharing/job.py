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

NEEDED = __name__.rpartition(".sharing")[0] + ".run"
"""Module that does the jobs, with all that it imports: that takes seconds, best while nobody waits for it."""

TRIES = 3
"""Workers that a task may end: one that ends three is no accident."""


class Job(Protocol):
    """Work that can be sent to another process and done there."""

    def open(self) -> AbstractContextManager[Do]:
        """Open the films that it needs, and give what does its tasks."""
        ...


class Crew(Protocol):
    """Whoever does tasks: the same over all passes of a run, so that each of them starts once."""

    def begin(self) -> None:
        """Start them without waiting until they are there: what follows is done meanwhile.

        Raises:
            SettingsError: They cannot be had.
        """
        ...

    def do(self, job: Job, tasks: Sequence[Task], pulse: Pulse, take: Take) -> None:
        """Do all tasks of a job; the results do not depend on who does them, nor on who is lost meanwhile.

        Args:
            job: What does them.
            tasks: In an order in which films are read forward.
            pulse: Gives signs of life, and counts frames.
            take: Takes every result, in no order.

        Raises:
            SettingsError: Those who are to do it cannot be had.
            WorkerError: A task ended several of them.
            VLDMError: What the job raises.
        """
        ...

    def stop(self) -> None:
        """Let go of all; those that are at work are ended at once."""
        ...


class WorkerError(VLDMError):
    """A worker failed, and the task that it was at fails again."""


class Alone:
    """Does all tasks in this process, one after the other."""

    def begin(self) -> None:
        """Do nothing: it is here."""

    def do(self, job: Job, tasks: Sequence[Task], pulse: Pulse, take: Take) -> None:
        """See `Crew`."""
        if tasks:
            with job.open() as do:
                for task in tasks:
                    for result in do(task, pulse):
                        take(result)

    def stop(self) -> None:
        """Do nothing."""


class Retries:
    """Counts how often work has ended whoever did it."""

    def __init__(self) -> None:
        self._ended: dict[Any, int] = {}

    def again(self, left: Task, how: str) -> str:
        """Say that somebody was lost at a piece of work, which is to be done again.

        Args:
            left: What of the task was not finished.
            how: How the worker ended.

        Returns:
            A sentence that tells of it.

        Raises:
            WorkerError: It has happened too often.
        """
        self._ended[left[0]] = self._ended.get(left[0], 0) + 1
        reason = f"a worker ended by itself ({how}) at {left[0]}"
        if self._ended[left[0]] >= TRIES:
            raise WorkerError(f"{reason}, {TRIES} times; where memory is short, try fewer workers")
        return f"{reason}; another one is given its work"

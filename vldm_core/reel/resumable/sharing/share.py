"""Who does tasks: this process, several, or a Ray cluster."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from ....errors import SettingsError
from .cluster import Cluster
from .job import Alone, Crew
from .processes import Processes

Workers = int | str
"""How many processes; or ``ray`` for a Ray cluster that is started here, or ``ray=ADDRESS`` for one that runs, either
with a number of workers: ``ray:4``, ``ray:4=ADDRESS``."""

_RAY = re.compile(r"ray(?::([1-9]\d*))?(?:=(\S+))?")

_RAY_WORKERS = 8
"""Workers of a cluster that work is parted for, before it is known how many there are."""

_Item = TypeVar("_Item")


def check_workers(workers: Workers) -> None:
    """Check what was said of workers.

    Raises:
        SettingsError: It is no number of 1 or more, and names no Ray cluster.
    """
    if _RAY.fullmatch(workers) if isinstance(workers, str) else workers >= 1:
        return
    raise SettingsError(
        f"run workers is {workers}; use 1 or more, ray, ray:N for N workers of it, or ray=ADDRESS such as "
        "ray=ray://head:10001"
    )


def workers_from(text: str) -> Workers:
    """Read what was typed: a number, or what names a Ray cluster.

    Raises:
        SettingsError: It is neither.
    """
    workers: Workers = int(text) if text.strip().lstrip("+-").isdigit() else text.strip()
    check_workers(workers)
    return workers


def alone(workers: Workers) -> bool:
    """Whether nothing is shared out."""
    return workers == 1


def number_of(workers: Workers) -> int:
    """How many workers work is parted for."""
    if isinstance(workers, int):
        return workers
    found = _RAY.fullmatch(workers)
    return int(found[1]) if found and found[1] else _RAY_WORKERS


def _crew(workers: Workers) -> Crew:
    check_workers(workers)
    if isinstance(workers, int):
        return Alone() if alone(workers) else Processes(workers)
    found = _RAY.fullmatch(workers)
    assert found is not None
    return Cluster(found[2], None if found[1] is None else int(found[1]))


@contextmanager
def hired(workers: Workers) -> Iterator[Crew]:
    """Give those who do tasks; they are let go with the block."""
    crew = _crew(workers)
    try:
        yield crew
    finally:
        crew.stop()


def in_good_order(tasks: Sequence[_Item], frames: Sequence[int], workers: Workers) -> tuple[_Item, ...]:
    """Put tasks into the order in which they are given out: the longest first, the others as the film is read.

    A long task that comes last keeps one worker busy while the others wait. To go back to an earlier one a film is read
    from its start, so only those come first that are more than half of what a worker will do: two for each at most.

    Args:
        tasks: In the order of the film.
        frames: Frames of each.
        workers: Who does them.
    """
    count = number_of(workers)
    if count == 1:
        return tuple(tasks)
    long = sum(frames) / (2 * count)
    numbers = range(len(tasks))
    first = sorted((number for number in numbers if frames[number] > long), key=lambda number: -frames[number])
    return tuple(tasks[number] for number in (*first, *(number for number in numbers if number not in set(first))))

"""Who does tasks: this process, several, or a Ray cluster."""

from collections.abc import Sequence

from ....errors import SettingsError
from ....progress import Pulse
from .cluster import over_ray
from .job import Job, Take, Task, in_turn
from .processes import over_processes

Workers = int | str
"""How many processes, or ``ray`` for a Ray cluster that is started here, or ``ray=ADDRESS`` for one that runs."""

RAY = "ray"


def check_workers(workers: Workers) -> None:
    """Check what was said of workers.

    Raises:
        SettingsError: It is no number of 1 or more, and names no Ray cluster.
    """
    if isinstance(workers, str):
        name, equals, address = workers.partition("=")
        if name == RAY and bool(equals) == bool(address):
            return
    elif workers >= 1:
        return
    raise SettingsError(f"run workers is {workers}; use 1 or more, ray, or ray=ADDRESS such as ray=ray://head:10001")


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


def share(job: Job, tasks: Sequence[Task], workers: Workers, pulse: Pulse, take: Take) -> None:
    """Do tasks, by whoever is to do them; the results do not depend on who does.

    Args:
        job: What does them.
        tasks: In an order in which films are read forward.
        workers: See `Workers`.
        pulse: Gives signs of life, and counts frames.
        take: Takes every result, in no order where work is shared out.

    Raises:
        SettingsError: There is no Ray, or no such cluster.
        VLDMError: What the job raises, or a worker that ends again and again.
    """
    if isinstance(workers, str) and tasks:
        address = workers.partition("=")[2] or None
        over_ray(job, tasks, address, pulse, take)
    elif isinstance(workers, int) and workers > 1 and len(tasks) > 1:
        over_processes(job, tasks, workers, pulse, take)
    else:
        in_turn(job, tasks, pulse, take)

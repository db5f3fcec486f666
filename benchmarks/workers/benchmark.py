"""What workers are worth: one process on one core beside two workers on two cores, by turns, on the same film."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vldm_core.errors import VLDMError
from vldm_core.progress import Progress, silent

from ..common.own_process import REPOSITORY, last_lines
from ..common.settings import check_chosen, check_least
from ..common.table import NONE, ReportTable, cell, plain_tables
from .family import FamilyTime
from .film import write_long_film

ALONE = "one process"
WAYS: dict[str, tuple[str, int]] = {ALONE: ("1", 1), "two workers": ("2", 2), "Ray, two workers": ("ray:2", 2)}
"""Ways of restoring, by name: who works, as the command line takes it, and on how many cores; a thread each."""

TARGET = 1.7
"""Times the throughput of one process on one core that two workers on two cores are to have."""


@dataclass(frozen=True, kw_only=True)
class WorkersSettings:
    """What is measured.

    Attributes:
        width: Of the film, pixels.
        height: Of the film, pixels.
        frames: Of the film, 60 or more.
        ways: Keys of `WAYS`, beside `ALONE`, which is always measured.
        quality: Level of effort: fast, normal or best.
        repeats: How often each way is measured, by turns.
    """

    width: int = 320
    height: int = 240
    frames: int = 471
    ways: tuple[str, ...] = tuple(WAYS)[1:]
    quality: str = "normal"
    repeats: int = 1

    def __post_init__(self) -> None:
        check_chosen("ways", self.ways, tuple(WAYS)[1:])
        check_least(self, frames=60, repeats=1, width=64, height=64)


@dataclass(frozen=True, kw_only=True)
class WayCost:
    """What one way took, each time.

    Attributes:
        way: Key of `WAYS`.
        seconds: Wall time of the restoration, the start of the workers included, that of this process not.
        cpu_seconds: Time of all processes together, their start included.
        parent_seconds: Of these, what the process took that gives out the work and puts the film together.
        film: Digest of the restored frames.
    """

    way: str
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    parent_seconds: tuple[float, ...]
    film: str


@dataclass(frozen=True, kw_only=True)
class WorkersReport:
    """Figures of all ways.

    Attributes:
        figures: Those of `ALONE` first.
        frames: Of the film.
        shots: That were found in it.
    """

    figures: tuple[WayCost, ...]
    frames: int
    shots: int

    def gain(self, number: int) -> float:
        """Times the throughput of one process that a way has: the median over pairs of turns."""
        pairs = zip(self.figures[0].seconds, self.figures[number].seconds, strict=True)
        return statistics.median(alone / own for alone, own in pairs)

    def expense(self, number: int) -> float:
        """Times the time of processors of one process that a way takes, likewise."""
        pairs = zip(self.figures[0].cpu_seconds, self.figures[number].cpu_seconds, strict=True)
        return statistics.median(own / alone for alone, own in pairs)


def run_workers_benchmark(
    data: Path, *, settings: WorkersSettings | None = None, progress: Progress = silent
) -> WorkersReport:
    """Restore one film in every way, by turns.

    Args:
        data: Folder with film/.
        settings: Defaults to `WorkersSettings()`.
        progress: Called after every restoration.

    Raises:
        FilmFileError: The folder holds no film.
        VLDMError: There are too few cores, a process failed, or the frames of two ways differ.
    """
    settings = settings or WorkersSettings()
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        raise VLDMError("this is measured on two cores, on a system that can hold processes to cores")
    names = (ALONE, *settings.ways)
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="vldm-workers-") as folder:
        film, target = Path(folder) / "film.mkv", Path(folder) / "restored.mkv"
        size = {"width": settings.width, "height": settings.height}
        write_long_film(film, data, **size, frames=settings.frames)
        for _ in range(settings.repeats):
            for name in names:
                answers[name].append(_restored(film, target, name, settings.quality))
                target.unlink()
                progress("measure workers", sum(map(len, answers.values())), settings.repeats * len(names))
    first = answers[ALONE][0]
    for name, found in answers.items():
        if any(each["film"] != first["film"] for each in found):
            raise VLDMError(f"{name}: the frames are others than those of {ALONE}")
    figures = tuple(
        WayCost(
            way=name,
            film=first["film"],
            seconds=tuple(each["seconds"] for each in found),
            cpu_seconds=tuple(each["cpu"] for each in found),
            parent_seconds=tuple(each["parent"] for each in found),
        )
        for name, found in answers.items()
    )
    return WorkersReport(figures=figures, frames=first["frames"], shots=first["shots"])


def _restored(film: Path, target: Path, way: str, quality: str) -> dict[str, Any]:
    workers, cores = WAYS[way]
    path = os.pathsep.join(part for part in (str(REPOSITORY), os.environ.get("PYTHONPATH")) if part)
    command = [sys.executable, "-m", f"{__package__}.run", str(film), str(target), workers, str(cores), quality]
    # Ray's workers give way to other programs, so that on a busy machine they alone would wait.
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        family = FamilyTime(process.pid)
        said, logged = process.communicate()
        spent, parent = family.end()
    if process.returncode:
        raise VLDMError(f"{way} ended with code {process.returncode}:\n{last_lines(logged)}")
    return {**json.loads(said.splitlines()[-1]), "cpu": spent, "parent": parent}


def workers_table(report: WorkersReport) -> ReportTable:
    """Lay the figures out as a table."""
    rows = []
    for number, one in enumerate(report.figures):
        seconds, cpu, parent = map(statistics.median, (one.seconds, one.cpu_seconds, one.parent_seconds))
        ratios = (cell(report.gain(number), "two"), cell(report.expense(number), "two")) if number else (NONE, NONE)
        rows.append((one.way, cell(seconds, "one"), cell(cpu, "one"), cell(parent, "one"), *ratios))
    return ReportTable(
        section="Workers",
        title=f"{report.frames} frames in {report.shots} shots; a thread for each worker; aimed at ≥ {TARGET}",
        headings=("way", "wall s", "CPU s", "of the parent", "throughput ×", "CPU ×"),
        rows=tuple(rows),
    )


def format_workers(report: WorkersReport) -> str:
    """Lay the figures out as plain text."""
    return plain_tables([workers_table(report)], notes=["The frames are the same in all ways."])


def chosen_ways(names: Sequence[str]) -> tuple[str, ...]:
    """Return the ways that are named by who works: "2", "ray:2".

    Raises:
        SettingsError: There is no such way.
    """
    by_workers = {workers: name for name, (workers, _) in WAYS.items() if name != ALONE}
    check_chosen("ways", names, by_workers)
    return tuple(by_workers[name] for name in names)

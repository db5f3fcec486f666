"""What restoring a reel takes of memory, by the size and length of the film: each film in a process of its own.

The films are made from nothing (`grainy_film`), so that any size and length can be measured. Peak memory is the
high-water mark of the whole process, interpreter and libraries included.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vldm_core.errors import SettingsError
from vldm_core.film.standing.detection import StandingSettings
from vldm_core.film.temporal.averaging import AveragingSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.notices import Notices
from vldm_core.progress import Progress, silent
from vldm_core.reel.delivery.run_report import report_facts, write_report
from vldm_core.reel.record.file import record_path
from vldm_core.reel.restore import ReelReport, ReelSettings, restore_film
from vldm_core.reel.resumable.run import restore_reel

from ..common.own_process import answer, answer_of, peak_memory_mb
from ..common.settings import check_chosen
from ..common.table import ReportTable, cell, plain_tables
from .grainy_film import write_grainy_film
from .old_reel import write_old_reel

REEL, FAST_REEL = "reel", "fast reel"
"""Names of what a whole reel goes through: every stage, kept in chunks, with record, report and review copy."""


def _whole(settings: ReelSettings) -> ReelSettings:
    average = AveragingSettings(keep_grain=0.3)
    return replace(settings, standing=StandingSettings(), average=average, stabilise=StabiliseSettings())


STAGES: dict[str, Callable[[ReelSettings], ReelSettings]] = {
    "repair": lambda settings: replace(settings, flicker=None, average=None),
    "default": lambda settings: settings,
    "all": lambda settings: replace(settings, stabilise=StabiliseSettings()),
    REEL: _whole,
    FAST_REEL: lambda _: _whole(ReelSettings.of_quality("fast")),
}
"""Which stages are measured, by name: each changes the default settings."""


_EVERY = 100
"""Frames between two looks at the memory of a pass."""


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """What restoring one film took.

    Attributes:
        width: Of the film, pixels.
        height: Of the film, pixels.
        frames: Of the film.
        stages: Key of `STAGES`.
        peak_mb: High-water mark of the process, MB of 10^6 bytes; None where the system does not tell.
        loaded_mb: The same before the film was opened.
        seconds_per_frame: Wall time.
        cpu_seconds_per_frame: Time of all threads together.
    """

    width: int
    height: int
    frames: int
    stages: str
    peak_mb: float | None
    loaded_mb: float | None
    seconds_per_frame: float
    cpu_seconds_per_frame: float


def read_sizes(texts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Read frame sizes such as "2048x1556".

    Raises:
        SettingsError: One is no such size.
    """
    sizes = []
    for text in texts:
        width, found, height = text.strip().lower().partition("x")
        if not (found and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            raise SettingsError(f"a frame size is {text!r}; give WIDTHxHEIGHT in pixels, for example 2048x1556")
        sizes.append((int(width), int(height)))
    return tuple(sizes)


def run_memory_benchmark(
    sizes: Sequence[tuple[int, int]],
    frames: Sequence[int],
    *,
    stages: Sequence[str] = ("default",),
    pix_fmt: str = "yuv420p",
    suffix: str = ".mkv",
    progress: Progress = silent,
) -> tuple[MemoryUse, ...]:
    """Restore a film of every size and length in a process of its own.

    Args:
        sizes: Width and height, pixels.
        frames: Lengths.
        stages: Keys of `STAGES`.
        pix_fmt: Pixel format of the films, FFmpeg's name.
        suffix: Of the restored film: ".mkv" is FFV1, ".mp4" H.264.
        progress: Called after every film.

    Raises:
        SettingsError: A length or the name of the stages is not known.
        VLDMError: A process failed; the message ends with what it said.
    """
    check_chosen("stages", stages, STAGES)
    if not sizes or not frames or min(frames) < 1:
        raise SettingsError(f"memory is measured on at least one size and length ≥ 1; got {sizes} and {frames}")
    made: list[MemoryUse] = []
    total = len(sizes) * len(frames) * len(stages)
    with tempfile.TemporaryDirectory(prefix="vldm-memory-") as folder:
        for width, height in sizes:
            for count in frames:
                source, target = Path(folder) / "film.mkv", Path(folder) / f"restored{suffix}"
                for name in stages:
                    make = write_old_reel if name in (REEL, FAST_REEL) else write_grainy_film
                    make(source, width, height, count, pix_fmt=pix_fmt)
                    figures = answer_of(__name__, source, target, name, what=f"a restoration of {source.name}")
                    made.append(MemoryUse(width=width, height=height, frames=count, stages=name, **figures))
                    for file in Path(folder).iterdir():
                        file.unlink()
                    progress("measure memory", len(made), total)
    return tuple(made)


def memory_table(figures: Sequence[MemoryUse]) -> ReportTable:
    """Lay the figures out as a table."""
    return ReportTable(
        section="Memory",
        title="peak of the whole process, MB of 10^6 bytes",
        headings=("film", "frames", "stages", "peak MB", "without film MB", "s per frame", "CPU s per frame"),
        rows=tuple(
            (
                f"{one.width}x{one.height}",
                str(one.frames),
                one.stages,
                cell(one.peak_mb, "whole"),
                cell(one.loaded_mb, "whole"),
                cell(one.seconds_per_frame, "two"),
                cell(one.cpu_seconds_per_frame, "two"),
            )
            for one in figures
        ),
    )


def format_memory(figures: Sequence[MemoryUse]) -> str:
    """Lay the figures out as plain text."""
    return plain_tables([memory_table(figures)])


def _restore(source: str, target: str, stages: str) -> dict[str, float | None]:
    loaded = peak_memory_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    settings = STAGES[stages](ReelSettings())
    if stages in (REEL, FAST_REEL):
        report = _restore_reel(Path(source), Path(target), settings)
    else:
        report = restore_film(source, target, settings)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "peak_mb": peak_memory_mb(),
        "loaded_mb": loaded,
        "seconds_per_frame": wall / report.frames,
        "cpu_seconds_per_frame": cpu / report.frames,
    }


def _restore_reel(source: Path, target: Path, settings: ReelSettings) -> ReelReport:
    """Do what `restore` does with a whole reel; tell on standard error what memory each pass has come to."""
    settings = replace(settings, record=record_path(target), review=target.with_suffix(".review.mp4"))
    notices = Notices()
    passes: dict[str, float | None] = {}

    def note(phase: str, done: int, total: int | None, preview: object = None) -> None:  # noqa: ARG001 - the name is Progress's
        if done % _EVERY == 0 or done == total:
            passes[phase] = peak_memory_mb()

    report = restore_reel(source, target, settings, note, notices=notices)
    write_report(target.with_suffix(".json"), report_facts(report, settings, source, target, notices=notices))
    sys.stderr.write(f"peak after each pass: {json.dumps(passes)}\n")
    return report


if __name__ == "__main__":
    answer(_restore(*sys.argv[1:4]))

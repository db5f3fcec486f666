"""The detection benchmark: our detection and repair beside the textbook methods, on the same aged clips, in one run.

Clips are prepared and methods run by several processes side by side (`tasks`). What a method costs is measured in
between, alone, in a process of its own (`cost`). Prepared clips wait in a temporary folder, about 65 MB each
at the default size.
"""

import logging
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vldm_core.progress import Progress, silent

from ..common.material import find_real_films
from ..common.own_process import MethodCost
from ..common.report import machine_facts
from ..common.workers import Job, Lanes, lanes
from .cost import measure_cost
from .methods import KNOWN_MASK_REPAIRS, KNOWN_MASK_STRATA, METHODS, distinct
from .report import DetectionBenchmarkReport, make_report
from .settings import DetectionBenchmarkSettings
from .sources.real_film import RealFilmResult, measure_real_film
from .sources.shots import find_sources
from .sources.strata import Stratum
from .tables import format_report
from .tasks import (
    ClipResult,
    FalseAlarms,
    prepare_aged,
    prepare_clean,
    run_aged,
    run_clean,
    run_known,
)

__all__ = ["DetectionBenchmarkReport", "DetectionBenchmarkSettings", "format_report", "run_detection_benchmark"]

_log = logging.getLogger(__name__)

_AgedFiles = Sequence[tuple[Path, Stratum]]


def run_detection_benchmark(
    data: Path,
    *,
    json_path: Path | None = None,
    settings: DetectionBenchmarkSettings | None = None,
    progress: Progress = silent,
) -> DetectionBenchmarkReport:
    """Run the detection benchmark.

    Args:
        data: Folder with `clips/`, and optionally `photos/` and `film/`.
        json_path: File to write the report to, or None.
        settings: Defaults to the full benchmark.
        progress: Called per piece of work; may raise to interrupt.

    Returns:
        All figures.

    Raises:
        FilmFileError: The folder holds no material, or a file in it cannot be read.
        VLDMError: A method failed.
    """
    settings = settings or DetectionBenchmarkSettings()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="vldm-benchmark-") as folder, lanes(settings.lanes) as workers:
        aged, clean, references = _prepare(data, settings, Path(folder), workers, progress)
        costs = _measure_costs(aged, settings, progress)
        found = _run_methods(aged, clean, find_real_films(data, settings.real_films), settings, workers, progress)
    report = make_report(
        results=[*references, *found[0]],
        alarms=found[1],
        real=found[2],
        costs=costs,
        settings=settings,
        machine=machine_facts() | {"minutes": (time.perf_counter() - start) / 60},
    )
    if json_path is not None:
        report.write_json(json_path)
        _log.info("detection benchmark written to %s", json_path)
    return report


def _prepare(
    data: Path, settings: DetectionBenchmarkSettings, folder: Path, workers: Lanes, progress: Progress
) -> tuple[_AgedFiles, Sequence[Path], list[ClipResult]]:
    """Age every source, and score the films that no method touched."""
    aged: list[tuple[Path, Stratum]] = []
    clean: list[Path] = []
    jobs: list[Job] = []
    for source in find_sources(data, settings):
        for stratum in source.strata:
            aged.append((folder / f"aged-{len(aged)}.npz", stratum))
            jobs.append((prepare_aged, (source, stratum, settings, aged[-1][0])))
    ageing = len(jobs)
    for source in find_sources(data, settings):
        for look in source.looks:
            # Grain breaks up what is upright in the scene, which then looks more like scratches.
            for grain in (False, True) if source.is_upright(look) else (False,):
                clean.append(folder / f"clean-{len(clean)}.pt")
                jobs.append((prepare_clean, (source, look, grain, settings, clean[-1])))
    made = workers.run(jobs, partial(progress, "age clips"))
    return aged, clean, [result for results in made[:ageing] for result in results]


def _measure_costs(aged: _AgedFiles, settings: DetectionBenchmarkSettings, progress: Progress) -> dict[str, MethodCost]:
    """Measure every method on one clip with lines, with nothing else running."""
    if not aged:
        return {}
    clip = next((path for path, stratum in reversed(aged) if stratum == "persistent"), aged[0][0])
    stands_for = distinct(settings.methods)
    costs: dict[str, MethodCost] = {}
    for number, (name, first) in enumerate(stands_for.items(), 1):
        costs[name] = costs[first] if first in costs else measure_cost(name, clip, settings.cost_frames)
        progress("measure cost", number, len(stands_for))
    return costs


def _run_methods(
    aged: _AgedFiles,
    clean: Sequence[Path],
    real_films: Sequence[Path],
    settings: DetectionBenchmarkSettings,
    workers: Lanes,
    progress: Progress,
) -> tuple[list[ClipResult], list[FalseAlarms], list[RealFilmResult]]:
    """Run every method that is not another one by name on every clip."""
    names = [name for name, first in distinct(settings.methods).items() if name == first]
    repairers = {owner for owner in KNOWN_MASK_REPAIRS.values() if METHODS[owner].detectors is None}
    # The repair is the same for all of our own methods: the first of them stands for it, and for the real films.
    own = [name for name in names if METHODS[name].detectors is not None]
    jobs: list[Job] = [(measure_real_film, (name, path)) for name in own[:1] for path in real_films]
    for name in names:
        method = METHODS[name]
        for path, stratum in aged:
            if stratum not in method.strata:
                continue
            jobs.append((run_aged, (name, path, name not in own[1:] or stratum in KNOWN_MASK_STRATA)))
            if stratum in KNOWN_MASK_STRATA and (name in repairers or name in own[:1]):
                jobs.append((run_known, (name, path)))
        if method.detect is not None and not method.borrowed:
            jobs += [(run_clean, (name, path)) for path in clean]
    made = workers.run(jobs, partial(progress, "run methods"))
    return (
        [result for result in made if isinstance(result, ClipResult)],
        [result for result in made if isinstance(result, FalseAlarms)],
        [result for result in made if isinstance(result, RealFilmResult)],
    )

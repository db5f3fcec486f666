"""The pre-restoration benchmark: the network beside repair alone, OpenCV's denoiser and itself without time.

Clips are aged with whole presets of the simulation and repaired, and their flicker is taken out. Then every method runs
on the same frames, by several processes side by side. What a stage costs is measured in between, alone, in a process of
its own. Prepared clips wait in a temporary folder, about 60 MB each at the default size.
"""

import logging
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vldm_core.prerestore.shipped import SHIPPED
from vldm_core.progress import Progress, silent

from ..common.material import find_real_films
from ..common.own_process import MethodCost
from ..common.report import machine_facts
from ..common.workers import Job, Lanes, lanes
from .cost import MEASURED, measure_cost
from .material import find_aged_sources
from .methods import NETWORK
from .report import PreRestoreReport, grouped
from .settings import PreRestoreBenchmarkSettings
from .tasks import (
    MethodResult,
    RealFilmFigures,
    network_of,
    prepare,
    run_network,
    run_non_local_means,
    run_per_frame,
    run_real_film,
    run_with_flicker,
)

_log = logging.getLogger(__name__)


def run_prerestore_benchmark(
    data: Path,
    *,
    weights: Path | None = None,
    json_path: Path | None = None,
    pictures: Path | None = None,
    settings: PreRestoreBenchmarkSettings | None = None,
    progress: Progress = silent,
) -> PreRestoreReport:
    """Run the pre-restoration benchmark.

    Args:
        data: Folder with `clips/` and `photos/`, and for pictures of real films `film/`.
        weights: File of a network; None is the one that ships.
        json_path: File to write the report to, or None.
        pictures: Folder for pictures of every clip and of the real films, or None, which leaves the real films out.
        settings: Defaults to the full benchmark.
        progress: Called per piece of work; may raise to interrupt.

    Returns:
        All figures.

    Raises:
        FilmFileError: The folder holds no material, or a file in it cannot be read.
        WeightFileError: The network cannot be used.
        VLDMError: A method failed.
    """
    settings, weights = settings or PreRestoreBenchmarkSettings(), weights or SHIPPED
    start = time.perf_counter()
    parameters = sum(parameter.numel() for parameter in network_of(weights).parameters())
    sources = find_aged_sources(data, settings)
    with tempfile.TemporaryDirectory(prefix="vldm-benchmark-") as folder, lanes(settings.lanes) as workers:
        paths = [Path(folder) / f"clip-{number}.npz" for number in range(len(sources))]
        jobs: list[Job] = [(prepare, (source, settings, path)) for source, path in zip(sources, paths, strict=True)]
        prepared = workers.run(jobs, partial(progress, "age and repair"))
        costs, peaks = _measure(paths[0], weights, settings, progress) if settings.costs else ({}, {})
        made, real = _run_methods(
            paths, weights, find_real_films(data, settings.real_films), pictures, settings, workers, progress
        )
    results = [*(row for rows in prepared for row in rows), *made]
    report = PreRestoreReport(
        figures=grouped(results, settings.presets),
        clips=results,
        costs=costs,
        peaks=peaks,
        real=real,
        network={"file": weights.name, "parameters": parameters},
        settings=settings,
        machine=machine_facts() | {"minutes": (time.perf_counter() - start) / 60},
    )
    if json_path is not None:
        report.write_json(json_path)
        _log.info("pre-restoration benchmark written to %s", json_path)
    return report


def _measure(
    clip: Path, weights: Path, settings: PreRestoreBenchmarkSettings, progress: Progress
) -> tuple[dict[str, MethodCost], dict[int, float | None]]:
    """Measure time and memory with nothing else running; the network on two lengths."""
    costs: dict[str, MethodCost] = {}
    peaks: dict[int, float | None] = {}
    runs = [(name, settings.cost_frames) for name in MEASURED if name != NETWORK]
    runs += [(NETWORK, length) for length in settings.lengths]
    for number, (name, frames) in enumerate(runs, 1):
        cost = measure_cost(name, clip, weights, frames)
        costs[name] = cost
        if name == NETWORK:
            peaks[frames] = cost.peak_mb
        progress("measure cost", number, len(runs))
    return costs, peaks


def _run_methods(
    paths: Sequence[Path],
    weights: Path,
    films: Sequence[Path],
    pictures: Path | None,
    settings: PreRestoreBenchmarkSettings,
    workers: Lanes,
    progress: Progress,
) -> tuple[list[MethodResult], list[RealFilmFigures]]:
    """Run every method on every clip, and the network on the real films where pictures are wanted."""
    jobs: list[Job] = []
    if pictures is not None:
        # The longest jobs first, so that no lane is left with one at the end.
        jobs += [(run_real_film, (film, weights, pictures, settings.real_frames)) for film in films]
    jobs += [(run_non_local_means, (path,)) for path in paths]
    for path in paths:
        jobs.append((run_network, (path, weights, pictures)))
        jobs.append((run_with_flicker, (path, weights)))
        jobs.append((run_per_frame, (path, weights)))
    made = workers.run(jobs, partial(progress, "run methods"))
    real = [result for result in made if isinstance(result, RealFilmFigures)]
    return [row for rows in made if isinstance(rows, list) for row in rows], real

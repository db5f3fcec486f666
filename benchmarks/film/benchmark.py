"""The film benchmark: whole restorations beside the programs that restorers run, in one run, one after the other.

Every method gets the same film file and is run as a process with nothing else running, so that its time is its own.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vldm_core.errors import VLDMError
from vldm_core.metrics.fidelity import texture
from vldm_core.progress import Progress, silent

from ..common.material import find_real_films
from ..common.measured_run import Spent
from ..common.peers import Peers
from ..common.report import machine_facts
from ..detection.sources.real_film import LINE_COLUMNS, LINE_ROWS, SAN_FRANCISCO, LineRemoval, measure_line
from .clips import Film, FilmClip, aged_clips, clean_clips, sources
from .methods import Method, methods_of
from .perceptual import has_st_lpips, has_xpsnr, st_lpips, xpsnr
from .report import INPUT, CleanFigures, ClipFigures, Cost, FilmBenchmarkReport, RealFigures, Recorded
from .running import Known, Pictures, RestoredFilm, read_grey, run_method
from .scores import Fidelity, Motion, detection, fidelity, gain_fitted, motion_of_truth
from .settings import FilmBenchmarkSettings

__all__ = ["FilmBenchmarkReport", "FilmBenchmarkSettings", "run_film_benchmark"]

_log = logging.getLogger(__name__)

REAL_FILMS = (SAN_FRANCISCO, "great_train_robbery_1903", "market_street_1906")

_BESIDE = (4, 16)
"""Nearest and farthest distance, in columns, of the texture beside the known line."""

Watcher = Callable[[str, Film, Mapping[str, Pictures]], object]
"""Called with the name of a film, the film, and what the methods made of it."""


def run_film_benchmark(
    data: Path,
    *,
    peers: Peers | None = None,
    without_peers: str | None = None,
    recorded: Recorded | None = None,
    json_path: Path | None = None,
    settings: FilmBenchmarkSettings | None = None,
    watch: Watcher | None = None,
    progress: Progress = silent,
) -> FilmBenchmarkReport:
    """Run the film benchmark.

    Args:
        data: Folder with `clips/`, `photos/`, `textures/`, and `film/` for the real films.
        peers: Where the peers are run; None leaves them out.
        without_peers: Why they are left out, for the report.
        recorded: Figures of other versions on the same clips from an earlier run, to stand beside.
        json_path: File to write the report to, or None.
        settings: Defaults to the full benchmark.
        watch: Looks at the films that were made, for pictures of them.
        progress: Called after every film that a method made; may raise to interrupt.

    Raises:
        FilmFileError: The folder holds no material, or a file in it cannot be read.
        VLDMError: A method failed.
    """
    settings = settings or FilmBenchmarkSettings()
    started = time.perf_counter()
    run = _Run(data, settings, methods_of(settings, peers), watch, progress)
    # The time for a frame first: the machine is as it will be.
    costs = run.costs() if "cost" in settings.parts else {}
    aged = run.aged() if "aged" in settings.parts else []
    clean = run.clean() if "clean" in settings.parts else []
    real = run.real()
    methods = {method.name: {"group": method.group, "what": method.description} for method in run.methods}
    if recorded is not None:
        aged += recorded.of_clips(aged)
        clean += [row for row in recorded.clean if row.clip in {one.clip for one in clean}]
        real += [row for row in recorded.real if row.film in {one.film for one in real}]
        costs |= recorded.costs if costs else {}
        methods |= {name: {**facts, "what": f"{facts['what']}, recorded"} for name, facts in recorded.methods.items()}
    report = FilmBenchmarkReport(
        aged=aged,
        clean=clean,
        real=real,
        costs=costs,
        methods=methods,
        missing=[*_missing(settings, without_peers), *run.failures],
        settings=settings,
        machine=machine_facts() | {"minutes": (time.perf_counter() - started) / 60},
    )
    if json_path is not None:
        report.write_json(json_path)
        _log.info("film benchmark written to %s", json_path)
    return report


def _missing(settings: FilmBenchmarkSettings, without_peers: str | None) -> list[str]:
    missing = [] if without_peers is None else [f"The peers are left out: {without_peers}"]
    if not has_xpsnr():
        missing.append("XPSNR is left out: the FFmpeg of this PyAV has no filter of that name.")
    if settings.perceptual and not has_st_lpips():
        missing.append("ST-LPIPS is left out: install the extra `perceptual`, and torchvision that fits torch.")
    return missing


class _Run:
    """The parts of one run."""

    def __init__(
        self,
        data: Path,
        settings: FilmBenchmarkSettings,
        methods: Sequence[Method],
        watch: Watcher | None,
        progress: Progress,
    ) -> None:
        self._data, self._settings, self.methods = data, settings, methods
        self._watch, self._progress = watch, progress
        self._done: Counter[str] = Counter()
        self.failures: list[str] = []

    def costs(self) -> dict[str, Cost]:
        """Measure every method on a short and on a long film."""
        short, long = self._settings.cost_frames
        first = next(aged_clips(self._data, replace(self._settings, models=("second",), clips=1)))
        film = _to_and_fro(first.aged, long)
        costs = {}
        for number, method in enumerate(self.methods, 1):
            try:
                # The short one twice: first to warm the files and caches of the system.
                spent = [run_method(method, film[:count], masks=False).spent for count in (short, short, long)]
                costs[method.name] = _cost(spent[-2], spent[-1], short, long)
            except VLDMError as error:
                self.failures.append(_told(method.name, "the films for time", error))
            self._progress("measure cost", number, len(self.methods))
        return costs

    def aged(self) -> list[ClipFigures]:
        """Run every method on every aged clip."""
        total = len(self._settings.models) * len(sources(self._data, self._settings)) * len(self.methods)
        rows: list[ClipFigures] = []
        for clip in aged_clips(self._data, self._settings):
            assert clip.model is not None
            name = f"{clip.name}, {clip.model}"
            motion = motion_of_truth(clip)
            rows.append(self._figures(clip, motion, INPUT, clip.aged.astype(np.float32), None))
            for method, made in self._made(name, clip.aged, "aged clips", total):
                rows.append(self._figures(clip, motion, method.name, made.film, made))
        return rows

    def clean(self) -> list[CleanFigures]:
        """Run every method on every clean clip."""
        total = len(sources(self._data, self._settings)) * len(self.methods)
        rows = []
        for clip in clean_clips(self._data, self._settings):
            came = fidelity(clip, clip.aged.astype(np.float32))
            for method, made in self._made(clip.name, clip.aged, "clean clips", total):
                figures = fidelity(clip, made.film)
                rows.append(
                    CleanFigures(
                        clip=clip.name,
                        fast=clip.fast,
                        method=method.name,
                        dirt=made.dirt_share,
                        lines=made.line_share,
                        gain=figures.whole - came.whole,
                        worst_frame=figures.worst_frame,
                    )
                )
        return rows

    def real(self) -> list[RealFigures]:
        """Run every method on every real film, and on those of the user."""
        rows = []
        paths = find_real_films(self._data, REAL_FILMS) if "real" in self._settings.parts else ()
        if "films" in self._settings.parts:
            paths = (*paths, *self._settings.films)
        for path in paths:
            film = np.clip(np.rint(read_grey(path)), 0, 255).astype(np.uint8)
            for method, made in self._made(path.stem, film, "real films", len(paths) * len(self.methods)):
                line = left = None
                if path.stem == SAN_FRANCISCO:
                    line, left = _known_line(film, made)
                rows.append(
                    RealFigures(
                        film=path.stem,
                        method=method.name,
                        line=line,
                        texture=left,
                        dirt=made.dirt_share,
                        lines=made.line_share,
                    )
                )
        return rows

    def _made(self, name: str, film: Film, what: str, total: int) -> Iterator[tuple[Method, RestoredFilm]]:
        films: dict[str, Pictures] = {}
        known: Known = {}
        for method in self.methods:
            try:
                made = run_method(method, film, known=known)
            except VLDMError as error:
                # The others' hours shall not be lost with it.
                self.failures.append(_told(method.name, name, error))
                continue
            finally:
                self._done[what] += 1
                self._progress(what, self._done[what], total)
            films[method.name] = made.film
            yield method, made
        if self._watch is not None:
            self._watch(name, film, films)

    def _figures(
        self, clip: FilmClip, motion: Motion, method: str, output: Pictures, made: RestoredFilm | None
    ) -> ClipFigures:
        assert clip.model is not None
        figures = fidelity(clip, output, motion=motion)
        found = None if made is None or made.marks is None else detection(clip, made.marks)
        return ClipFigures(
            clip=clip.name,
            model=clip.model,
            method=method,
            fidelity=self._seen(clip, output, figures),
            found=found,
        )

    def _seen(self, clip: FilmClip, output: Pictures, figures: Fidelity) -> Fidelity:
        fitted = np.clip(np.rint(gain_fitted(output, clip)), 0, 255).astype(np.uint8)
        distance = st_lpips(fitted, clip.clean) if self._settings.perceptual else None
        return replace(figures, xpsnr=xpsnr(fitted, clip.clean), st_lpips=distance)


def _cost(few: Spent, many: Spent, short: int, long: int) -> Cost:
    seconds, cpu = (many.seconds - few.seconds) / (long - short), None
    if many.cpu_seconds is not None and few.cpu_seconds is not None:
        cpu = (many.cpu_seconds - few.cpu_seconds) / (long - short)
    return Cost(seconds=seconds, cpu_seconds=cpu, start=many.seconds - long * seconds, peak_mb=many.peak_mb)


def _told(method: str, film: str, error: VLDMError) -> str:
    return f"{method} failed on {film}: {str(error).splitlines()[-1]}"


def _to_and_fro(film: Film, count: int) -> Film:
    """Lengthen a film by playing it to and fro."""
    there = np.arange(len(film))
    order = np.concatenate([there, there[-2:0:-1]])
    return film[np.resize(order, count)]


def _known_line(film: Film, made: RestoredFilm) -> tuple[LineRemoval, float | None]:
    """Measure what became of the known line, and which share of the texture on both sides of it is left."""
    before, after = _rgb(film.astype(np.float32)), _rgb(made.film)
    lines = np.zeros(film.shape, bool) if made.marks is None else made.marks.lines
    line = measure_line(before, after, torch.from_numpy(lines).float())
    (first, last), (near, far) = LINE_COLUMNS, _BESIDE
    sides = [slice(first - far, first - near), slice(last + near, last + far)]
    details = [
        texture(after[..., slice(*LINE_ROWS), side], before[..., slice(*LINE_ROWS), side]).detail for side in sides
    ]
    known = [detail for detail in details if detail is not None]
    return line, sum(known) / len(known) if known else None


def _rgb(pictures: Pictures) -> Tensor:
    return (torch.from_numpy(np.ascontiguousarray(pictures))[:, None] / 255).expand(-1, 3, -1, -1)

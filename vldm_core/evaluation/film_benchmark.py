"""The film benchmark: our detection and repair beside the textbook methods, on the same aged clips, in one run.

Every method runs in a process of its own, one clip at a time, while this process waits; so its time and its peak
memory are its own (see `method_worker`). Ageing, optical flow for the temporal figures and scoring happen here.
Prepared clips wait in a temporary folder, about 45 MB each at the default size.
"""

import logging
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch

from ..progress import Progress, silent
from .film_material import AgedClip, CleanClip, age, clean_clips, find_sources, strata_of
from .film_methods import DETECTORS, KNOWN_MASK_REPAIRS, METHODS, OURS, Masks
from .film_report import ClipRow, DeflickerRow, FalseAlarms, FilmBenchmarkReport, format_report
from .film_scores import (
    RepairScores,
    Scores,
    finite,
    mean_of,
    mean_repair,
    mean_scores,
    score_repair,
    score_restoration,
    score_undamaged,
    score_untouched,
)
from .film_settings import FilmBenchmarkSettings
from .method_worker import MethodRun, MethodWorker, method_worker
from .metrics import flicker_index, psnr
from .real_film import RealFilmResult, find_real_films, measure_real_film

__all__ = ["FilmBenchmarkReport", "FilmBenchmarkSettings", "format_report", "run_film_benchmark"]

_log = logging.getLogger(__name__)

UNTOUCHED = "untouched"
UNDAMAGED = "undamaged"

_KNOWN_MASK_STRATUM = "fixed"


@dataclass(kw_only=True)
class _Material:
    """Prepared clips, by file."""

    aged: list[Path] = field(default_factory=list)
    clean: list[Path] = field(default_factory=list)


@dataclass(kw_only=True)
class _Findings:
    """What accumulates while the methods run."""

    rows: list[ClipRow] = field(default_factory=list)
    known: dict[str, list[RepairScores]] = field(default_factory=dict)
    alarms: list[FalseAlarms] = field(default_factory=list)
    deflicker: list[DeflickerRow] = field(default_factory=list)
    real: list[RealFilmResult] = field(default_factory=list)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)


def run_film_benchmark(
    data: Path,
    *,
    json_path: Path | None = None,
    settings: FilmBenchmarkSettings | None = None,
    progress: Progress = silent,
) -> FilmBenchmarkReport:
    """Run the film benchmark.

    Args:
        data: Folder with `clips/`, and optionally `photos/` and `film/`.
        json_path: File to write the report to, or None.
        settings: Defaults to the full benchmark.
        progress: Called per clip prepared and per clip and method run; may raise to interrupt.

    Returns:
        All figures.

    Raises:
        FilmFileError: The folder holds no material, or a file in it cannot be read.
        VLDMError: A method failed.
    """
    settings = settings or FilmBenchmarkSettings()
    found = _Findings()
    with tempfile.TemporaryDirectory(prefix="vldm-benchmark-") as folder:
        material = _prepare(data, settings, Path(folder), found, progress)
        real_films = find_real_films(data, settings)
        for number, name in enumerate(settings.methods):
            phase = f"{name} ({number + 1}/{len(settings.methods)})"
            _run_method(name, material, real_films if name == OURS else (), found, phase, progress)
    report = _report(found, settings)
    if json_path is not None:
        report.write_json(json_path)
        _log.info("film benchmark written to %s", json_path)
    return report


def _prepare(
    data: Path, settings: FilmBenchmarkSettings, folder: Path, found: _Findings, progress: Progress
) -> _Material:
    """Age every source, and score the films that no method touched."""
    material = _Material()
    total = len(find_sources(data, settings))
    for number, clean in enumerate(clean_clips(data, settings)):
        material.clean.append(folder / f"clean-{number}.pt")
        torch.save({"name": clean.name, "frames": clean.frames}, material.clean[-1])
        for stratum in strata_of(number):
            clip = age(clean, stratum, settings)
            material.aged.append(folder / f"aged-{len(material.aged)}.npz")
            clip.save(material.aged[-1])
            clip = AgedClip.load(material.aged[-1])
            for method, scores in ((UNTOUCHED, score_untouched(clip)), (UNDAMAGED, score_undamaged(clip))):
                found.rows.append(ClipRow(clip=clip.name, stratum=stratum, method=method, scores=scores))
            if stratum == _KNOWN_MASK_STRATUM:
                found.known.setdefault(UNTOUCHED, []).append(score_repair(clip, clip.aged))
        progress("age clips", number + 1, total)
    return material


def _run_method(
    name: str,
    material: _Material,
    real_films: Sequence[Path],
    found: _Findings,
    phase: str,
    progress: Progress,
) -> None:
    """Run one method over everything that it applies to."""
    method = METHODS[name]
    clean = material.clean if name in DETECTORS else []
    total, done = len(material.aged) + len(clean) + len(real_films), 0
    known = [label for label, owner in KNOWN_MASK_REPAIRS.items() if owner == name]
    with method_worker(name) as worker:
        found.methods[name] = {"description": method.description, "loaded_mb": worker.loaded_mb}
        # Libraries set themselves up on first use; that belongs to no clip.
        worker.run(AgedClip.load(material.aged[0]).aged[:3], "restore", deflicker=method.deflicker is not None)
        for path in material.aged:
            clip = AgedClip.load(path)
            run = worker.run(clip.aged, "restore", deflicker=clip.stratum == "flicker")
            scores = score_restoration(clip, run)
            found.rows.append(ClipRow(clip=clip.name, stratum=clip.stratum, method=name, scores=scores))
            if run.even is not None:
                found.deflicker.append(_score_deflicker(clip, run))
            if known and clip.stratum == _KNOWN_MASK_STRATUM:
                _repair_known(clip, worker, known, found)
            done += 1
            progress(phase, done, total)
        for path in clean:
            found.alarms.append(_false_alarms(name, path, worker))
            done += 1
            progress(phase, done, total)
        for path in real_films:
            found.real.append(measure_real_film(path, worker))
            done += 1
            progress(phase, done, total)


def _repair_known(clip: AgedClip, worker: MethodWorker, labels: Sequence[str], found: _Findings) -> None:
    truth = Masks(dirt=clip.dirt.float(), lines=(clip.lines > 0).float())
    output = worker.run(clip.aged, "repair", truth).output
    assert output is not None
    for label in labels:
        found.known.setdefault(label, []).append(score_repair(clip, output))


def _false_alarms(name: str, path: Path, worker: MethodWorker) -> FalseAlarms:
    stored = torch.load(path, weights_only=True)
    clean = CleanClip(name=stored["name"], frames=stored["frames"])
    masks = worker.run(clean.frames, "detect").masks
    return FalseAlarms(
        clip=clean.name,
        method=name,
        dirt=None if masks.dirt is None else float(masks.dirt.mean()),
        lines=None if masks.lines is None else float(masks.lines.mean()),
    )


def _score_deflicker(clip: AgedClip, run: MethodRun) -> DeflickerRow:
    assert run.output is not None and run.even is not None
    before, after = (flicker_index(frames, clip.flow, clip.visible) for frames in (run.output, run.even))
    return DeflickerRow(
        clip=clip.name,
        flicker_before=before.overall,
        flicker_after=after.overall,
        local_before=before.local,
        local_after=after.local,
        psnr_before=finite(psnr(run.output, clip.steady)) or 0.0,
        psnr_after=finite(psnr(run.even, clip.steady)) or 0.0,
        seconds_per_frame=run.deflicker_seconds / len(clip.aged),
    )


def _report(found: _Findings, settings: FilmBenchmarkSettings) -> FilmBenchmarkReport:
    names = [*settings.methods, UNTOUCHED, UNDAMAGED]
    strata = list(dict.fromkeys(row.stratum for row in found.rows))

    def means(rows: Sequence[ClipRow]) -> Mapping[str, Scores]:
        return {name: mean_scores(row.scores for row in rows if row.method == name) for name in names}

    # The report lists the clips one after the other, each with all its methods.
    order = {clip: number for number, clip in enumerate(dict.fromkeys(row.clip for row in found.rows))}
    rows = sorted(found.rows, key=lambda row: (order[row.clip], names.index(row.method)))
    return FilmBenchmarkReport(
        summary=means(rows),
        strata={stratum: means([row for row in rows if row.stratum == stratum]) for stratum in strata},
        clips=rows,
        repair_known_mask={
            label: mean_repair(found.known[label]) for label in (*KNOWN_MASK_REPAIRS, UNTOUCHED) if label in found.known
        },
        clean_false_alarms=[*found.alarms, *_mean_alarms(found.alarms)],
        deflicker=found.deflicker,
        real=found.real,
        methods=found.methods,
        settings=settings,
        machine={
            "cpu_count": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            "opencv": cv2.__version__,
        },
    )


def _mean_alarms(alarms: Sequence[FalseAlarms]) -> list[FalseAlarms]:
    return [
        FalseAlarms(
            clip="mean",
            method=name,
            dirt=mean_of(row.dirt for row in alarms if row.method == name),
            lines=mean_of(row.lines for row in alarms if row.method == name),
        )
        for name in dict.fromkeys(row.method for row in alarms)
    ]

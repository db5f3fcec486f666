"""What the detection benchmark reports: its figures, put together from the results of the clips, and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vldm_core.metrics.detection_curve import TOLERANCES

from ..common.own_process import MethodCost
from ..common.report import BenchmarkReport
from .methods import KNOWN_MASK_REPAIRS, METHODS, distinct
from .scores import DetectionFigures, DetectionTally, RepairFigures, detection_figures, mean_of, mean_repair, pooled
from .settings import DetectionBenchmarkSettings
from .sources.real_film import RealFilmResult
from .sources.strata import DIRT_KINDS, LINE_KINDS, STRATA
from .tasks import REFERENCES, UNDAMAGED, UNTOUCHED, ClipResult, DeflickerRow, FalseAlarms

ALL = "all clips"
MOVING = "scene moves against the film"
LOCKED = "locked-off scene"

MEAN = "mean"


@dataclass(frozen=True, kw_only=True, eq=False)
class PrecisionRecallCurve:
    """A precision-recall curve, by rising threshold.

    Attributes:
        thresholds: (K,).
        recall: (tolerances, K).
        precision: (tolerances, K), NaN where nothing is marked.
        operating: Recall and precision of the method's own mask for each tolerance.
    """

    thresholds: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    operating: tuple[tuple[float, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists; None for what is not defined."""

        def plain(values: np.ndarray) -> list[float | None]:
            return [None if np.isnan(value) else round(float(value), 5) for value in values]

        return {
            "thresholds": plain(self.thresholds),
            "recall": [plain(row) for row in self.recall],
            "precision": [plain(row) for row in self.precision],
            "operating": [plain(np.array(point)) for point in self.operating],
        }


Detections = Mapping[str, Mapping[str, DetectionFigures]]
"""Group of clips → method → figures."""

Repairs = Mapping[str, Mapping[str, RepairFigures]]
"""Stratum → method, repair or reference → figures."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionBenchmarkReport(BenchmarkReport):
    """All figures of one run. Shares are fractions, PSNR in dB, changes in grey levels, time in s, memory in MB.

    Attributes:
        dirt: Transient damage found, over all clips and per stratum.
        lines: Lines found, over all clips with lines, per stratum, and apart for scenes that move against the film and
            those that do not.
        repair_own: Films that the methods made with their own masks; references beside them.
        repair_known: Films that the repairs made with the true masks; references beside them.
        clips: Every method on every clip.
        clean_false_alarms: Detectors on unaged clips; the means of each group of clips come last.
        deflicker: Our deflicker stage, per clip.
        real: Our restoration of the real films.
        costs: Method → what it costs.
        methods: Method → what it is, and which other method it is the same as.
        settings: What the benchmark ran on.
        machine: Processor count and versions.
        dirt_curves: Group → method → curve of transient damage.
        line_curves: Group → method → curve of lines.
    """

    dirt: Detections
    lines: Detections
    repair_own: Repairs
    repair_known: Repairs
    clips: Sequence[Mapping[str, Any]]
    clean_false_alarms: Sequence[FalseAlarms]
    deflicker: Sequence[DeflickerRow]
    real: Sequence[RealFilmResult]
    costs: Mapping[str, MethodCost]
    methods: Mapping[str, Mapping[str, Any]]
    settings: DetectionBenchmarkSettings
    machine: Mapping[str, Any]
    dirt_curves: Mapping[str, Mapping[str, PrecisionRecallCurve]]
    line_curves: Mapping[str, Mapping[str, PrecisionRecallCurve]]


def make_report(
    *,
    results: Sequence[ClipResult],
    alarms: Sequence[FalseAlarms],
    real: Sequence[RealFilmResult],
    costs: Mapping[str, MethodCost],
    settings: DetectionBenchmarkSettings,
    machine: Mapping[str, Any],
) -> DetectionBenchmarkReport:
    """Put the report together.

    Args:
        results: Every method, and every reference, on every clip.
        alarms: Detectors on clean clips.
        real: Real films.
        costs: Method → cost.
        settings: What the benchmark ran on.
        machine: Facts about it.
    """
    stands_for = distinct(settings.methods)
    groups = _groups(results)
    line_groups = {
        **groups,
        MOVING: [row for row in results if not row.locked],
        LOCKED: [row for row in results if row.locked],
    }

    def tallies(chosen: Mapping[str, Sequence[ClipResult]], kind: str) -> dict[str, dict[str, DetectionTally]]:
        made: dict[str, dict[str, DetectionTally]] = {}
        for group, rows in chosen.items():
            for name, first in stands_for.items():
                tally = pooled(getattr(row, kind) for row in rows if row.method == first)
                if tally is not None:
                    made.setdefault(group, {})[name] = tally
        return made

    dirt, lines = tallies(groups, "dirt"), tallies(line_groups, "lines")
    return DetectionBenchmarkReport(
        dirt=_figures(dirt, DIRT_KINDS),
        lines=_figures(lines, LINE_KINDS),
        dirt_curves=_curves(dirt, (ALL,)),
        line_curves=_curves(lines, (ALL, MOVING, LOCKED)),
        repair_own=_repair_own(results, stands_for),
        repair_known=_repair_known(results),
        clips=_clip_rows(results, [UNTOUCHED, *settings.methods, UNDAMAGED]),
        clean_false_alarms=_named(_with_means(alarms), stands_for),
        deflicker=_named([row.deflicker for row in results if row.deflicker is not None], stands_for),
        real=_named(real, stands_for),
        costs=costs,
        methods={
            name: {"description": METHODS[name].description, "same_as": None if name == first else first}
            for name, first in stands_for.items()
        },
        settings=settings,
        machine=machine,
    )


def _groups(results: Sequence[ClipResult]) -> dict[str, Sequence[ClipResult]]:
    strata = {stratum: [row for row in results if row.stratum == stratum] for stratum in STRATA}
    return {ALL: results, **{stratum: rows for stratum, rows in strata.items() if rows}}


def _figures(tallies: Mapping[str, Mapping[str, DetectionTally]], kinds: Sequence[str]) -> Detections:
    return {
        group: {name: detection_figures(tally, kinds) for name, tally in rows.items()}
        for group, rows in tallies.items()
    }


def _curves(
    tallies: Mapping[str, Mapping[str, DetectionTally]], wanted: Sequence[str]
) -> dict[str, dict[str, PrecisionRecallCurve]]:
    return {
        group: {name: _curve(tally) for name, tally in tallies[group].items() if tally.soft is not None}
        for group in wanted
        if group in tallies
    }


def _curve(tally: DetectionTally) -> PrecisionRecallCurve:
    assert tally.soft is not None
    return PrecisionRecallCurve(
        thresholds=tally.soft.thresholds.astype(np.float64),
        recall=np.stack([tally.soft.recall(tolerance) for tolerance in TOLERANCES]),
        precision=np.stack([tally.soft.precision(tolerance) for tolerance in TOLERANCES]),
        operating=tuple(
            (float(tally.mask.recall(tolerance)[0]), float(tally.mask.precision(tolerance)[0]))
            for tolerance in TOLERANCES
        ),
    )


def _repair_own(results: Sequence[ClipResult], stands_for: Mapping[str, str]) -> Repairs:
    made: dict[str, dict[str, RepairFigures]] = {}
    names = {UNTOUCHED: UNTOUCHED, **stands_for, UNDAMAGED: UNDAMAGED}
    for group, rows in _groups(results).items():
        # Not over all clips: some methods run on some strata only, and their means would not compare.
        if group == ALL:
            continue
        for name, first in names.items():
            figures = [row.repair for row in rows if row.method == first and row.repair is not None]
            if figures:
                made.setdefault(group, {})[name] = mean_repair(figures)
    return made


def _repair_known(results: Sequence[ClipResult]) -> Repairs:
    made: dict[str, dict[str, RepairFigures]] = {}
    for group, rows in _groups(results).items():
        if group == ALL:
            continue
        for name in (UNTOUCHED, *KNOWN_MASK_REPAIRS, *(name for name in REFERENCES if name != UNTOUCHED)):
            figures = [row.known[name] for row in rows if name in row.known]
            if figures:
                made.setdefault(group, {})[name] = mean_repair(figures)
    return made


def _clip_rows(results: Sequence[ClipResult], names: Sequence[str]) -> list[dict[str, Any]]:
    """Every method on every clip, the clips one after the other."""
    order = {clip: number for number, clip in enumerate(dict.fromkeys(row.clip for row in results))}
    rows = sorted(
        (row for row in results if row.method in names),
        key=lambda row: (order[row.clip], names.index(row.method)),
    )
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        entry = merged.setdefault(
            (row.clip, row.method),
            {"clip": row.clip, "stratum": row.stratum, "locked": row.locked, "method": row.method},
        )
        if row.dirt is not None:
            entry["dirt"] = asdict(detection_figures(row.dirt, DIRT_KINDS))
        if row.lines is not None:
            entry["lines"] = asdict(detection_figures(row.lines, LINE_KINDS))
        if row.repair is not None:
            entry["repair"] = asdict(row.repair)
        if row.known:
            entry["repair_known"] = {name: asdict(figures) for name, figures in row.known.items()}
    return list(merged.values())


def _with_means(alarms: Sequence[FalseAlarms]) -> list[FalseAlarms]:
    """Append the mean over all clips of a group, for each group and method."""
    means = []
    for group in dict.fromkeys(row.group for row in alarms):
        for name in dict.fromkeys(row.method for row in alarms):
            rows = [row for row in alarms if (row.group, row.method) == (group, name)]
            means.append(
                FalseAlarms(
                    clip=MEAN,
                    group=group,
                    method=name,
                    dirt=mean_of(row.dirt for row in rows),
                    lines=mean_of(row.lines for row in rows),
                )
            )
    return [*alarms, *means]


def _named(rows: Iterable[Any], stands_for: Mapping[str, str]) -> list[Any]:
    """Repeat the rows of a method under every name that it stands for."""
    rows = list(rows)
    return [
        type(row)(**{**vars(row), "method": name})
        for name, first in stands_for.items()
        for row in rows
        if row.method == first
    ]

"""What detection and repair aim at, and what a run of the detection benchmark reached of it."""

from collections.abc import Callable

from vldm_core.metrics.detection_curve import TOLERANCES

from ..common.target import Figures, Target
from .methods import METHODS, OURS
from .report import ALL, LOCKED, MEAN, MOVING, DetectionBenchmarkReport
from .scores import ALLOWED_ALARM, TOLERANCE
from .tasks import REFERENCES

_AT_ONE = TOLERANCES.index(TOLERANCE)


def _lines(name: str, group: str) -> Target[DetectionBenchmarkReport]:
    def read(attribute: str) -> Callable[[DetectionBenchmarkReport], Figures]:
        return lambda report: {
            method: getattr(figures, attribute)[_AT_ONE] for method, figures in report.lines.get(group, {}).items()
        }

    return Target(
        what=f"scratches, {name}: recall (false alarm at most 0.1 %)",
        bound=0.90,
        sign="≥",
        unit="",
        digits=3,
        measure=read("recall"),
        alarm=read("false_alarm"),
        largest_alarm=ALLOWED_ALARM,
    )


def _dirt_f1(report: DetectionBenchmarkReport) -> Figures:
    return {method: figures.f1[_AT_ONE] for method, figures in report.dirt.get(ALL, {}).items()}


def _fast_motion_alarm(report: DetectionBenchmarkReport) -> Figures:
    rows = [row for row in report.clean_false_alarms if (row.clip, row.group) == (MEAN, "fast motion")]
    return {row.method: row.dirt for row in rows if row.dirt is not None}


def _real_line(report: DetectionBenchmarkReport) -> Figures:
    return {row.method: float(row.line.frames_detected) for row in report.real if row.line is not None}


def _known(stratum: str, kind: str) -> Callable[[DetectionBenchmarkReport], Figures]:
    def measure(report: DetectionBenchmarkReport) -> Figures:
        rows = report.repair_known.get(stratum, {})
        return {name: figures.psnr.get(kind) for name, figures in rows.items()}

    return measure


def _outside(report: DetectionBenchmarkReport) -> Figures:
    largest: dict[str, float | None] = {}
    for rows in report.repair_own.values():
        for name, figures in rows.items():
            if figures.outside_max is not None:
                largest[name] = max(largest.get(name) or 0.0, figures.outside_max)
    return largest


def _seconds(report: DetectionBenchmarkReport) -> Figures:
    """Only of methods that do both."""
    both = [name for name in report.costs if METHODS[name].detect is not None and METHODS[name].repair is not None]
    return {name: report.costs[name].seconds_per_frame for name in both}


TARGETS: tuple[Target[DetectionBenchmarkReport], ...] = (
    Target(what="dirt, hair, blotches: F1", bound=0.80, sign="≥", unit="", digits=3, measure=_dirt_f1),
    Target(
        what="dirt: false alarm on clean fast motion",
        bound=0.001,
        sign="≤",
        unit="%",
        digits=2,
        measure=_fast_motion_alarm,
    ),
    _lines("scene moves", MOVING),
    _lines("drifting", "drifting"),
    _lines("gate weave", "weave"),
    _lines("upright structure", "upright"),
    _lines("locked-off scene", LOCKED),
    Target(
        what="frames of san_francisco_1906 in which its scratch is found, of 49",
        bound=45,
        sign="≥",
        unit="",
        digits=0,
        measure=_real_line,
    ),
    Target(
        what="repair inside transient damage, true masks",
        bound=32,
        sign="≥",
        unit="dB",
        digits=1,
        measure=_known("transient", "all"),
    ),
    Target(
        what="repair of the scratch of depth 10, true masks",
        bound=37,
        sign="≥",
        unit="dB",
        digits=1,
        measure=_known("persistent", "line 10"),
    ),
    Target(
        what="largest change outside the masks",
        bound=0,
        sign="≤",
        unit="grey levels",
        digits=1,
        measure=_outside,
    ),
    Target(
        what="detection and repair, a frame",
        bound=0.15,
        sign="≤",
        unit="s",
        digits=3,
        measure=_seconds,
    ),
)
"""The aims, all at 1 px tolerance where there is one."""


def own_methods(report: DetectionBenchmarkReport) -> tuple[str, ...]:
    """Names of our own methods in a report."""
    return tuple(name for name in report.methods if METHODS[name].detectors is not None)


def other_methods(report: DetectionBenchmarkReport) -> tuple[str, ...]:
    """Names of the textbook methods in a report, and of repairs with the true masks that are theirs."""
    ours = {OURS, *own_methods(report)}
    names = (*report.methods, *(name for rows in report.repair_known.values() for name in rows))
    # Films that no method made are no competitors.
    return tuple(name for name in dict.fromkeys(names) if name not in ours and name not in REFERENCES)

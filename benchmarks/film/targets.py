"""What detection and repair aim at, and what a run of the film benchmark reached of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vldm_core.metrics.detection_curve import TOLERANCES

from .methods import METHODS, OURS
from .report import ALL, LOCKED, MEAN, MOVING, FilmBenchmarkReport
from .scores import ALLOWED_ALARM, TOLERANCE
from .tasks import REFERENCES

_AT_ONE = TOLERANCES.index(TOLERANCE)

_Figures = Mapping[str, float | None]
"""Method, or repair, → figure."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One aim.

    Attributes:
        what: What is measured.
        bound: What it should reach.
        at_least: Whether larger is better.
        unit: Written behind the figures; "%" multiplies them by 100.
        digits: Digits behind the point.
        measure: Reads the figures of all methods from a report.
        alarm: Reads the false alarms that they come with and that must not exceed 0.1 %; None where there are none.
    """

    what: str
    bound: float
    at_least: bool
    unit: str
    digits: int
    measure: Callable[[FilmBenchmarkReport], _Figures]
    alarm: Callable[[FilmBenchmarkReport], _Figures] | None = None

    def reached(self, name: str, report: FilmBenchmarkReport) -> str:
        """Write what a method reached, and whether that misses the target."""
        value = self.measure(report).get(name)
        if value is None:
            return self.show(None)
        met = value >= self.bound if self.at_least else value <= self.bound
        alarm = None if self.alarm is None else self.alarm(report).get(name)
        beside = "" if alarm is None else f" ({100 * alarm:.2f} %)"
        return self.show(value) + beside + ("" if met and (alarm or 0.0) <= ALLOWED_ALARM else " missed")

    def show(self, value: float | None) -> str:
        """Write a figure with its unit."""
        if value is None:
            return "–"
        number = f"{value * (100 if self.unit == '%' else 1):.{self.digits}f}"
        return f"{number} {self.unit}".rstrip()

    def show_bound(self) -> str:
        """Write the bound with its unit."""
        return ("≥ " if self.at_least else "≤ ") + self.show(self.bound)


def _lines(name: str, group: str) -> Target:
    def read(attribute: str) -> Callable[[FilmBenchmarkReport], _Figures]:
        return lambda report: {
            method: getattr(figures, attribute)[_AT_ONE] for method, figures in report.lines.get(group, {}).items()
        }

    return Target(
        what=f"lines, {name}: recall (false alarm at most 0.1 %)",
        bound=0.90,
        at_least=True,
        unit="",
        digits=3,
        measure=read("recall"),
        alarm=read("false_alarm"),
    )


def _dirt_f1(report: FilmBenchmarkReport) -> _Figures:
    return {method: figures.f1[_AT_ONE] for method, figures in report.dirt.get(ALL, {}).items()}


def _fast_motion_alarm(report: FilmBenchmarkReport) -> _Figures:
    rows = [row for row in report.clean_false_alarms if (row.clip, row.group) == (MEAN, "fast motion")]
    return {row.method: row.dirt for row in rows if row.dirt is not None}


def _real_line(report: FilmBenchmarkReport) -> _Figures:
    return {row.method: float(row.line.frames_detected) for row in report.real if row.line is not None}


def _known(stratum: str, kind: str) -> Callable[[FilmBenchmarkReport], _Figures]:
    def measure(report: FilmBenchmarkReport) -> _Figures:
        rows = report.repair_known.get(stratum, {})
        return {name: figures.psnr.get(kind) for name, figures in rows.items()}

    return measure


def _outside(report: FilmBenchmarkReport) -> _Figures:
    largest: dict[str, float | None] = {}
    for rows in report.repair_own.values():
        for name, figures in rows.items():
            if figures.outside_max is not None:
                largest[name] = max(largest.get(name) or 0.0, figures.outside_max)
    return largest


def _seconds(report: FilmBenchmarkReport) -> _Figures:
    """Only of methods that do both."""
    both = [name for name in report.costs if METHODS[name].detect is not None and METHODS[name].repair is not None]
    return {name: report.costs[name].seconds_per_frame for name in both}


TARGETS: tuple[Target, ...] = (
    Target(what="dirt, hair, blotches: F1", bound=0.80, at_least=True, unit="", digits=3, measure=_dirt_f1),
    Target(
        what="dirt: false alarm on clean fast motion",
        bound=0.001,
        at_least=False,
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
        what="frames of san_francisco_1906 in which its line is found, of 49",
        bound=45,
        at_least=True,
        unit="",
        digits=0,
        measure=_real_line,
    ),
    Target(
        what="repair inside transient damage, true masks",
        bound=32,
        at_least=True,
        unit="dB",
        digits=1,
        measure=_known("transient", "all"),
    ),
    Target(
        what="repair of the line of depth 10, true masks",
        bound=37,
        at_least=True,
        unit="dB",
        digits=1,
        measure=_known("persistent", "line 10"),
    ),
    Target(
        what="largest change outside the masks",
        bound=0,
        at_least=False,
        unit="grey levels",
        digits=1,
        measure=_outside,
    ),
    Target(
        what="detection and repair, a frame",
        bound=0.15,
        at_least=False,
        unit="s",
        digits=3,
        measure=_seconds,
    ),
)
"""The aims, all at 1 px tolerance where there is one."""


def own_methods(report: FilmBenchmarkReport) -> tuple[str, ...]:
    """Names of our own methods in a report."""
    return tuple(name for name in report.methods if METHODS[name].detectors is not None)


def best_other(target: Target, report: FilmBenchmarkReport) -> str:
    """Write what the best of the textbook methods reached, by the figure itself, and its name."""
    ours = {OURS, *own_methods(report)}
    others = {
        name: value
        for name, value in target.measure(report).items()
        # Films that no method made are no competitors.
        if value is not None and name not in ours and name not in REFERENCES
    }
    if not others:
        return target.show(None)
    name = (max if target.at_least else min)(others, key=lambda name: others[name])
    return f"{name}: {target.reached(name, report).removesuffix(' missed')}"

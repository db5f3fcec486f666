"""What the cost benchmark reports: its figures, its tables, and their JSON form."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.report import BenchmarkReport
from ..common.table import NONE, ReportTable, cell
from ..common.target import Figures, Target, target_table
from .settings import AGAINST, HERE, REPAIR, RESTORE, CostSettings


@dataclass(frozen=True, kw_only=True)
class CheckoutCost:
    """What one part costs on one film in one checkout.

    Attributes:
        checkout: `settings.HERE` or `settings.AGAINST`.
        part: Key of `settings.PARTS`.
        width: Of the film, pixels.
        height: Of the film, pixels.
        frames: Of the film.
        seconds_per_frame: Wall time of every run.
        cpu_seconds_per_frame: Time of all threads together, of every run.
        flows_per_pair: Dense optical flows that were estimated, by pairs of neighbouring frames.
        flow_frames_per_pair: The pixels that they were estimated on, in frames of the film, likewise.
        peak_mb: High-water mark of the process so far, MB of 10^6 bytes, or None where the system does not tell.
    """

    checkout: str
    part: str
    width: int
    height: int
    frames: int
    seconds_per_frame: tuple[float, ...]
    cpu_seconds_per_frame: tuple[float, ...]
    flows_per_pair: float
    flow_frames_per_pair: float
    peak_mb: float | None

    @property
    def place(self) -> tuple[int, int, str]:
        """What the figures of both checkouts have in common."""
        return self.width, self.height, self.part


@dataclass(frozen=True, kw_only=True)
class CostReport(BenchmarkReport):
    """All figures of one run.

    Attributes:
        figures: By film, part and checkout.
        settings: What was measured.
        machine: Processor count, threads, versions, and what the films show.
    """

    figures: Sequence[CheckoutCost]
    settings: CostSettings
    machine: Mapping[str, Any]


_SMALL, _LARGE = (480, 368), (2048, 1556)


def _least(report: CostReport, size: tuple[int, int], part: str) -> dict[str, float]:
    """Least seconds a frame of every checkout."""
    return {row.checkout: min(row.seconds_per_frame) for row in report.figures if row.place == (*size, part)}


def _seconds(part: str) -> Callable[[CostReport], Figures]:
    return lambda report: _least(report, _SMALL, part)


def _times_as_much(part: str) -> Callable[[CostReport], Figures]:
    def measure(report: CostReport) -> Figures:
        small, large = _least(report, _SMALL, part), _least(report, _LARGE, part)
        return {name: large[name] / small[name] for name in small if name in large}

    return measure


TARGETS: tuple[Target[CostReport], ...] = (
    Target(what="detection and repair at 480×368, a frame", sign="≤", bound=0.15, unit="s", measure=_seconds(REPAIR)),
    Target(what="restore with defaults at 480×368, a frame", sign="≤", bound=0.45, unit="s", measure=_seconds(RESTORE)),
    Target(
        what="detection and repair at 2048×1556 over 480×368",
        sign="≤",
        bound=14,
        digits=1,
        measure=_times_as_much(REPAIR),
    ),
    Target(
        what="restore with defaults at 2048×1556 over 480×368",
        sign="≤",
        bound=14,
        digits=1,
        measure=_times_as_much(RESTORE),
    ),
)
"""The aims on two processors, by the least of the runs: 18 times the pixels in no more than 14 times the time."""


def cost_tables(report: CostReport) -> tuple[ReportTable, ...]:
    """Lay the figures out: what is aimed at, time by film and part, checkouts compared, growth with the frame."""
    measured = [target for target in TARGETS if target.measure(report)]
    names = list(dict.fromkeys(row.checkout for row in report.figures))
    tables = [target_table(measured, report, names), _times(report)]
    if report.settings.against is not None:
        tables.append(_ratios(report))
    if len(report.settings.sizes) > 1:
        tables.append(_growth(report))
    return tuple(table for table in tables if table.rows)


def _times(report: CostReport) -> ReportTable:
    return ReportTable(
        section="Cost",
        title="s per frame in a warm process, the least and the median of the runs",
        headings=(
            "film",
            "part",
            "checkout",
            "frames",
            "wall least",
            "median",
            "CPU least",
            "median",
            "flows a pair",
            "in frames",
            "peak MB",
        ),
        rows=tuple(
            (
                f"{row.width}x{row.height}",
                row.part,
                row.checkout,
                str(row.frames),
                *(
                    cell(of(times), "share")
                    for times in (row.seconds_per_frame, row.cpu_seconds_per_frame)
                    for of in (min, statistics.median)
                ),
                cell(row.flows_per_pair, "two"),
                cell(row.flow_frames_per_pair, "two"),
                cell(row.peak_mb, "whole"),
            )
            for row in report.figures
        ),
    )


def _ratios(report: CostReport) -> ReportTable:
    others = {row.place: row for row in report.figures if row.checkout == AGAINST}
    rows = []
    for row in report.figures:
        if row.checkout == HERE:
            other = others[row.place]
            rows.append(
                (
                    f"{row.width}x{row.height}",
                    row.part,
                    *(
                        _over(of(mine), of(theirs))
                        for mine, theirs in (
                            (row.seconds_per_frame, other.seconds_per_frame),
                            (row.cpu_seconds_per_frame, other.cpu_seconds_per_frame),
                        )
                        for of in (min, statistics.median)
                    ),
                    _over(row.flows_per_pair, other.flows_per_pair),
                )
            )
    return ReportTable(
        section="Cost",
        title=f"this checkout over {report.settings.against}",
        headings=("film", "part", "wall least", "median", "CPU least", "median", "flows a pair"),
        rows=tuple(rows),
    )


def _growth(report: CostReport) -> ReportTable:
    width, height = report.settings.sizes[0]
    first = {(row.part, row.checkout): row for row in report.figures if row.place[:2] == (width, height)}
    rows = []
    for row in report.figures:
        if row.place[:2] != (width, height):
            small = first[row.part, row.checkout]
            rows.append(
                (
                    f"{row.width}x{row.height}",
                    row.part,
                    row.checkout,
                    _over(row.width * row.height, width * height),
                    _over(min(row.seconds_per_frame), min(small.seconds_per_frame)),
                    _over(min(row.cpu_seconds_per_frame), min(small.cpu_seconds_per_frame)),
                )
            )
    return ReportTable(
        section="Cost",
        title=f"times as much as at {width}x{height}, by the least",
        headings=("film", "part", "checkout", "pixels", "wall", "CPU"),
        rows=tuple(rows),
    )


def _over(value: float, beside: float) -> str:
    return cell(value / beside, "two") if beside else NONE

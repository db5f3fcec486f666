"""The tables of the detection benchmark, as text: for the terminal here, for a page in `page`."""

from collections.abc import Mapping, Sequence

from ..common.table import NONE, ReportTable, cell, plain_tables
from ..common.target import target_table
from .report import ALL, LOCKED, MEAN, MOVING, DetectionBenchmarkReport, Detections
from .scores import DetectionFigures, RepairFigures
from .sources.strata import DIRT_KINDS, LINE_KINDS, SHOWN_KINDS
from .targets import TARGETS, other_methods, own_methods
from .tasks import FalseAlarms

_AT_ONE = 1
"""Index of the tolerance of 1 px."""


def format_report(report: DetectionBenchmarkReport) -> str:
    """Lay the report out as plain text tables."""
    return plain_tables(report_tables(report), notes=real_line_sentences(report))


def report_tables(report: DetectionBenchmarkReport) -> tuple[ReportTable, ...]:
    """Return all tables, in order, without those that would be empty."""
    tables = [
        target_table(TARGETS, report, own_methods(report), others=("best textbook method", other_methods(report))),
        _glance(report),
        _dirt(report),
        _per_stratum("Dirt, hair and blotches", report.dirt, "F1 (recall / precision), 1 px"),
        *(_lines(report, group) for group in (MOVING, LOCKED)),
        _per_stratum("Scratches", report.lines, "recall (false alarms, % of pixels), 1 px"),
        _alarms(report.clean_false_alarms),
        *(_repair("Repair with the true masks", group, rows) for group, rows in report.repair_known.items()),
        *(
            _repair("Repair with own masks", group, rows, essential=group in ("transient", "persistent"))
            for group, rows in report.repair_own.items()
        ),
        _deflicker(report),
        _real(report),
        _cost(report),
    ]
    return tuple(table for table in tables if table.rows)


def real_line_sentences(report: DetectionBenchmarkReport) -> list[str]:
    """Say what became of the known scratch of a real film, per method."""
    return [
        f"{row.film}, {row.method}: scratch at x = 287 … 288 found in {row.line.frames_detected} of {row.line.frames} "
        f"frames; depth {row.line.depth_before:.2f} → {row.line.depth_after:.2f} grey levels; the scratch mask covers "
        f"{row.line.mask_share:.2%} of the picture."
        for row in report.real
        if row.line is not None
    ]


def _glance(report: DetectionBenchmarkReport) -> ReportTable:
    rows = []
    stratum = next(iter(report.repair_own), None)
    own = {} if stratum is None else report.repair_own[stratum]
    for name in ("untouched", *report.methods):
        dirt, lines = report.dirt.get(ALL, {}).get(name), report.lines.get(MOVING, {}).get(name)
        repair, cost = own.get(name), report.costs.get(name)
        rows.append(
            (
                name,
                _triple(dirt),
                _average_precision(dirt),
                _one(lines, "recall", "share"),
                _one(lines, "false_alarm", "percent"),
                _average_precision(lines),
                NONE if repair is None else cell(repair.psnr.get("all"), "one"),
                NONE if repair is None else cell(repair.outside_max, "one"),
                NONE if repair is None else cell(repair.flicker, "percent"),
                NONE if repair is None else cell(repair.warp_error, "two"),
                NONE if cost is None else cell(cost.seconds_per_frame, "share"),
                NONE if cost is None else cell(cost.peak_mb, "whole"),
            )
        )
    return ReportTable(
        section="At a glance",
        title="dirt over all clips, scratches where the scene moves against the film, repair with own masks"
        + (f" in the stratum {stratum}" if stratum else ""),
        headings=(
            "method",
            "dirt F1 (recall / precision)",
            "AP",
            "scratch recall",
            "false alarm %",
            "AP",
            "dB in damage",
            "largest change outside",
            "flicker %",
            "warp error",
            "s per frame",
            "peak MB",
        ),
        rows=tuple(rows),
    )


def _dirt(report: DetectionBenchmarkReport) -> ReportTable:
    return ReportTable(
        section="Dirt, hair and blotches",
        title=f"{ALL}",
        headings=("method", *_DETECTION_HEADINGS, *(f"recall {SHOWN_KINDS[kind]}" for kind in DIRT_KINDS)),
        rows=tuple(
            (name, *_detection_cells(figures), *(cell(figures.recall_by_kind[kind], "two") for kind in DIRT_KINDS))
            for name, figures in report.dirt.get(ALL, {}).items()
        ),
    )


def _lines(report: DetectionBenchmarkReport, group: str) -> ReportTable:
    return ReportTable(
        section="Scratches",
        title=group,
        headings=(
            "method",
            *_DETECTION_HEADINGS,
            "away from scratches %",
            *(f"recall {SHOWN_KINDS[kind]}" for kind in LINE_KINDS),
        ),
        rows=tuple(
            (
                name,
                *_detection_cells(figures),
                cell(figures.false_alarm_far, "percent"),
                *(cell(figures.recall_by_kind[kind], "two") for kind in LINE_KINDS),
            )
            for name, figures in report.lines.get(group, {}).items()
        ),
    )


_DETECTION_HEADINGS = (
    "F1 0 / 1 / 2 px",
    "recall",
    "precision",
    "false alarm %",
    "AP 0 / 1 / 2 px",
    "best F1",
    "recall at 0.1 % false alarm",
)


def _detection_cells(figures: DetectionFigures) -> tuple[str, ...]:
    areas = figures.average_precision
    return (
        " / ".join(cell(value, "two") for value in figures.f1),
        cell(figures.recall[_AT_ONE], "share"),
        cell(figures.precision[_AT_ONE], "share"),
        cell(figures.false_alarm[_AT_ONE], "percent"),
        NONE if areas is None else " / ".join(cell(value, "two") for value in areas),
        cell(figures.best_f1, "two"),
        cell(figures.recall_at_alarm, "share"),
    )


def _per_stratum(section: str, groups: Detections, title: str) -> ReportTable:
    strata = [group for group in groups if group not in (ALL, MOVING, LOCKED)]
    names = dict.fromkeys(name for stratum in strata for name in groups[stratum])
    show = _triple if section != "Scratches" else _recall_and_alarm
    return ReportTable(
        section=section,
        title=title,
        headings=("method", *strata),
        rows=tuple((name, *(show(groups[stratum].get(name)) for stratum in strata)) for name in names),
    )


def _triple(figures: DetectionFigures | None) -> str:
    if figures is None:
        return NONE
    f1, recall, precision = (getattr(figures, name)[_AT_ONE] for name in ("f1", "recall", "precision"))
    return f"{cell(f1, 'two')} ({cell(recall, 'two')} / {cell(precision, 'two')})"


def _recall_and_alarm(figures: DetectionFigures | None) -> str:
    if figures is None:
        return NONE
    return f"{cell(figures.recall[_AT_ONE], 'two')} ({cell(figures.false_alarm[_AT_ONE], 'percent')})"


def _one(figures: DetectionFigures | None, name: str, form: str) -> str:
    return NONE if figures is None else cell(getattr(figures, name)[_AT_ONE], form)


def _average_precision(figures: DetectionFigures | None) -> str:
    if figures is None or figures.average_precision is None:
        return NONE
    return cell(figures.average_precision[_AT_ONE], "two")


def _alarms(alarms: Sequence[FalseAlarms]) -> ReportTable:
    names = list(dict.fromkeys(row.method for row in alarms))
    cells = {(row.group, row.clip, row.method): row for row in alarms}
    places = sorted(dict.fromkeys((row.group, row.clip) for row in alarms), key=lambda place: place[1] == MEAN)
    return ReportTable(
        section="False alarms on clean clips",
        title="% of pixels marked as dirt / as scratch",
        headings=("clip", "what is hard", *names),
        rows=tuple(
            (
                clip,
                group,
                *(
                    f"{cell(row.dirt, 'percent')} / {cell(row.lines, 'percent')}"
                    for row in (cells[group, clip, name] for name in names)
                ),
            )
            for group, clip in places
        ),
    )


def _repair(section: str, group: str, rows: Mapping[str, RepairFigures], *, essential: bool = True) -> ReportTable:
    kinds = [
        kind
        for kind in ("all", *DIRT_KINDS, *LINE_KINDS)
        if any(figures.psnr.get(kind) is not None for figures in rows.values())
    ]
    return ReportTable(
        section=section,
        title=f"{group}: PSNR in dB inside each kind of damage",
        headings=(
            "repair",
            *(SHOWN_KINDS.get(kind, kind) for kind in kinds),
            "SSIM inside",
            "whole picture",
            "largest change outside",
            "changed outside %",
            "flicker %",
            "warp error",
        ),
        rows=tuple(
            (
                name,
                *(cell(figures.psnr.get(kind), "one") for kind in kinds),
                cell(figures.ssim.get("all"), "share"),
                cell(figures.psnr_whole, "one"),
                cell(figures.outside_max, "one"),
                cell(figures.outside_changed, "percent"),
                cell(figures.flicker, "percent"),
                cell(figures.warp_error, "two"),
            )
            for name, figures in rows.items()
        ),
        essential=essential,
    )


def _deflicker(report: DetectionBenchmarkReport) -> ReportTable:
    return ReportTable(
        section="Flicker removed after repair",
        title="",
        headings=("clip", "method", "flicker % before", "after", "local % before", "after", "dB to steady", "after"),
        rows=tuple(
            (
                row.clip,
                row.method,
                cell(row.flicker_before, "percent"),
                cell(row.flicker_after, "percent"),
                cell(row.local_before, "percent"),
                cell(row.local_after, "percent"),
                cell(row.psnr_before, "one"),
                cell(row.psnr_after, "one"),
            )
            for row in report.deflicker
        ),
    )


def _real(report: DetectionBenchmarkReport) -> ReportTable:
    return ReportTable(
        section="Real films",
        title="before and after repair and deflicker",
        headings=(
            "film",
            "method",
            "frames",
            "flicker % before",
            "after",
            "local % before",
            "after",
            "warp error before",
            "after",
            "dirt %",
            "scratches %",
            "scratch found in",
        ),
        rows=tuple(
            (
                row.film,
                row.method,
                str(row.frames),
                cell(row.flicker_before, "percent"),
                cell(row.flicker_after, "percent"),
                cell(row.local_flicker_before, "percent"),
                cell(row.local_flicker_after, "percent"),
                cell(row.warp_error_before, "two"),
                cell(row.warp_error_after, "two"),
                cell(row.dirt_share, "percent"),
                cell(row.line_share, "percent"),
                NONE if row.line is None else f"{row.line.frames_detected} of {row.line.frames}",
            )
            for row in report.real
        ),
    )


def _cost(report: DetectionBenchmarkReport) -> ReportTable:
    return ReportTable(
        section="Cost of detection and repair",
        title="",
        headings=("method", "s per frame", "CPU s per frame", "peak MB", "MB before the first frame", "threads"),
        rows=tuple(
            (
                name,
                cell(cost.seconds_per_frame, "share"),
                cell(cost.cpu_seconds_per_frame, "share"),
                cell(cost.peak_mb, "whole"),
                cell(cost.loaded_mb, "whole"),
                str(cost.threads),
            )
            for name, cost in report.costs.items()
        ),
    )

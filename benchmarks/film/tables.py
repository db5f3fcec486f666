"""The tables of the film benchmark, as text: for the terminal here, for a page in `page`."""

from collections.abc import Callable

from ..common.table import NONE, ReportTable, cell, plain_tables
from ..common.target import target_table
from ..second_ageing.settings import KINDS
from .report import INPUT, FilmBenchmarkReport, Summary
from .settings import MODELS, Model
from .targets import TARGETS


def format_report(report: FilmBenchmarkReport) -> str:
    """Lay the figures out as plain text."""
    return plain_tables(report_tables(report), notes=report.missing)


def report_tables(report: FilmBenchmarkReport) -> tuple[ReportTable, ...]:
    """Every table that has rows, in order."""
    others = ("best of the others", report.names("peer", "earlier"))
    tables = [target_table(TARGETS, report, report.names("own"), others=others)]
    for model in report.settings.models:
        tables += [_restored(report, model), _found(report, model)]
    tables += [_clean(report), _line(report), _marked(report), _costs(report)]
    for model in report.settings.models:
        tables.append(_by_clip(report, model))
    return tuple(table for table in tables if table.rows)


def _rows(
    report: FilmBenchmarkReport, model: Model, names: tuple[str, ...], cells: Callable[[Summary], tuple[str, ...]]
) -> tuple[tuple[str, ...], ...]:
    found = ((name, report.summary(model, name)) for name in names)
    return tuple((name, *cells(summary)) for name, summary in found if summary is not None)


def _restored(report: FilmBenchmarkReport, model: Model) -> ReportTable:
    def cells(summary: Summary) -> tuple[str, ...]:
        return (
            cell(summary.whole, "one"),
            *(cell(summary.inside[kind], "one") for kind in KINDS),
            f"{summary.outside_gain:+.1f}",
            cell(summary.worst_frame, "one"),
            cell(summary.ssim, "share"),
            cell(summary.xpsnr, "one"),
            cell(summary.st_lpips, "share"),
            cell(summary.warp_error, "two"),
        )

    return ReportTable(
        section=f"Restored films: {model} model",
        title=f"PSNR in dB after a per-frame gain fit, means over the clips; {MODELS[model]}",
        headings=(
            "method",
            "whole",
            *KINDS,
            "gain outside",
            "worst frame's loss",
            "SSIM",
            "XPSNR",
            "ST-LPIPS",
            "warp error",
        ),
        rows=_rows(report, model, (INPUT, *report.methods), cells),
    )


def _found(report: FilmBenchmarkReport, model: Model) -> ReportTable:
    def cells(summary: Summary) -> tuple[str, ...]:
        made = []
        for kind in KINDS:
            counts = summary.found.get(kind)
            if counts is None or not counts.real:
                made.append(NONE)
            else:
                figures = (counts.recall, counts.recall_any, counts.precision)
                made.append(" / ".join(cell(figure, "two") for figure in figures))
        return tuple(made)

    return ReportTable(
        section=f"Found damage: {model} model",
        title="recall by the mask for the kind / recall by any mask / precision, 1 px, all pixels of all clips",
        headings=("method", *KINDS),
        rows=tuple(row for row in _rows(report, model, tuple(report.methods), cells) if set(row[1:]) != {NONE}),
    )


def _clean(report: FilmBenchmarkReport) -> ReportTable:
    clips = list(dict.fromkeys(row.clip for row in report.clean))
    rows = {(row.clip, row.method): row for row in report.clean}
    fast = {row.clip for row in report.clean if row.fast}

    def shown(clip: str, name: str) -> str:
        row = rows.get((clip, name))
        if row is None:
            return NONE
        return f"{cell(row.dirt, 'percent')} / {cell(row.lines, 'percent')} / {row.gain:+.1f} / {row.worst_frame:.1f}"

    return ReportTable(
        section="Clean clips",
        title="% of pixels marked as dirt / as scratches / gain in dB / largest loss of a frame in dB",
        headings=("clip", "moves fast", *report.methods),
        rows=tuple(
            (clip, "yes" if clip in fast else "", *(shown(clip, name) for name in report.methods)) for clip in clips
        ),
    )


def _line(report: FilmBenchmarkReport) -> ReportTable:
    return ReportTable(
        section="Real films",
        title="the line of san_francisco_1906",
        headings=("method", "rows found %", "frames found", "depth left %", "texture beside it left %"),
        rows=tuple(
            (
                row.method,
                cell(row.line.rows_covered, "percent"),
                f"{row.line.frames_detected} of {row.line.frames}",
                cell(row.line.depth_ratio, "percent"),
                cell(row.texture, "percent"),
            )
            for row in report.real
            if row.line is not None
        ),
    )


def _marked(report: FilmBenchmarkReport) -> ReportTable:
    return ReportTable(
        section="Real films",
        title="share of the pixels marked",
        headings=("film", "method", "dirt %", "scratches %"),
        rows=tuple(
            (row.film, row.method, cell(row.dirt, "percent"), cell(row.lines, "percent"))
            for row in report.real
            if row.dirt is not None
        ),
        essential=False,
    )


def _costs(report: FilmBenchmarkReport) -> ReportTable:
    return ReportTable(
        section="Cost",
        title="",
        headings=("method", "s a frame", "CPU s a frame", "s to start and end", "peak MB"),
        rows=tuple(
            (
                name,
                cell(cost.seconds, "two"),
                cell(cost.cpu_seconds, "two"),
                cell(cost.start, "one"),
                cell(cost.peak_mb, "whole"),
            )
            for name, cost in report.costs.items()
        ),
    )


def _by_clip(report: FilmBenchmarkReport, model: Model) -> ReportTable:
    return ReportTable(
        section=f"Clip by clip: {model} model",
        title="",
        headings=("clip", "method", "whole", *KINDS, "outside", "SSIM"),
        rows=tuple(
            (
                row.clip,
                row.method,
                cell(row.fidelity.whole, "one"),
                *(cell(row.fidelity.inside.get(kind), "one") for kind in KINDS),
                cell(row.fidelity.outside, "one"),
                cell(row.fidelity.ssim, "share"),
            )
            for row in report.aged
            if row.model == model
        ),
        essential=False,
    )

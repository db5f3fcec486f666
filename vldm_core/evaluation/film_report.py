"""What the film benchmark reports: its data, its JSON form, its tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .film_material import LINE_DEPTHS
from .film_scores import RepairScores, Scores
from .film_settings import FilmBenchmarkSettings
from .real_film import RealFilmResult

_TABLE_WIDTH = 180


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """One method on one clip; the method "untouched" is the damaged film, "undamaged" the film without the damage."""

    clip: str
    stratum: str
    method: str
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """Share of pixels that a detector marks on clean clips, where every mark is wrong; None = does not look.

    Attributes:
        clip: Name of the clean clip, or "mean".
        method: Name of the method.
        dirt: Share of pixels marked as dirt.
        lines: Share of pixels marked as line.
    """

    clip: str
    method: str
    dirt: float | None
    lines: float | None


@dataclass(frozen=True, kw_only=True)
class DeflickerRow:
    """Our deflicker stage on one clip of the flicker stratum, after repair.

    Attributes:
        clip: Name of the clip.
        flicker_before: Overall flicker index of the repaired film.
        flicker_after: The same after deflicker.
        local_before: Local flicker index of the repaired film.
        local_after: The same after deflicker.
        psnr_before: PSNR in dB of the repaired film against the film without damage and without flicker.
        psnr_after: The same after deflicker.
        seconds_per_frame: Wall time of the stage.
    """

    clip: str
    flicker_before: float
    flicker_after: float
    local_before: float
    local_after: float
    psnr_before: float
    psnr_after: float
    seconds_per_frame: float


@dataclass(frozen=True, kw_only=True)
class FilmBenchmarkReport:
    """All figures of one run. Shares are fractions, PSNR in dB, changes in grey levels, time in s, memory in MB.

    Attributes:
        summary: Method → means over the clips.
        strata: Stratum → method → means over its clips.
        clips: Every method on every clip.
        repair_known_mask: Repair → means over the clips of the stratum of fixed lines, given the true masks.
        clean_false_alarms: Detectors on unaged clips.
        deflicker: Our deflicker stage, per clip.
        real: Our restoration of the real films.
        methods: Method → what it is and the memory of its process before it saw a frame.
        settings: What the benchmark ran on.
        machine: Processor count and versions.
    """

    summary: Mapping[str, Scores]
    strata: Mapping[str, Mapping[str, Scores]]
    clips: Sequence[ClipRow]
    repair_known_mask: Mapping[str, RepairScores]
    clean_false_alarms: Sequence[FalseAlarms]
    deflicker: Sequence[DeflickerRow]
    real: Sequence[RealFilmResult]
    methods: Mapping[str, Mapping[str, Any]]
    settings: FilmBenchmarkSettings
    machine: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers, strings and None, ready for JSON."""
        return {
            "summary": {name: asdict(scores) for name, scores in self.summary.items()},
            "strata": {
                stratum: {name: asdict(scores) for name, scores in means.items()}
                for stratum, means in self.strata.items()
            },
            "clips": [
                {"clip": row.clip, "stratum": row.stratum, "method": row.method, **asdict(row.scores)}
                for row in self.clips
            ],
            "repair_known_mask": {name: asdict(scores) for name, scores in self.repair_known_mask.items()},
            "clean_false_alarms": [asdict(row) for row in self.clean_false_alarms],
            "deflicker": [asdict(row) for row in self.deflicker],
            "real": [asdict(row) for row in self.real],
            "methods": {name: dict(facts) for name, facts in self.methods.items()},
            "settings": asdict(self.settings),
            "machine": dict(self.machine),
        }

    def write_json(self, path: Path) -> None:
        """Write the report as JSON; every number is finite."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


_SCORE_COLUMNS = (
    ("dirt R", "dirt_recall", "share"),
    ("P", "dirt_precision", "share"),
    ("F1", "dirt_f1", "share"),
    ("line R", "line_recall", "share"),
    ("faint R", "line_recall_faint", "share"),
    ("FA %", "line_false_alarm", "percent"),
    ("far %", "line_false_alarm_far", "percent"),
    ("in dB", "psnr_inside", "one"),
    ("dirt dB", "psnr_dirt", "one"),
    ("line dB", "psnr_lines", "one"),
    ("all dB", "psnr_whole", "one"),
    ("out max", "outside_max", "one"),
    ("out chg %", "outside_changed", "percent"),
    ("flicker %", "flicker", "percent"),
    ("warp", "warp_error", "two"),
    ("s/frame", "seconds_per_frame", "share"),
    ("peak MB", "peak_mb", "whole"),
)


def format_report(report: FilmBenchmarkReport) -> str:
    """Lay the report out as plain text tables."""
    clips = _table("Per clip", ("clip", "method"), _SCORE_COLUMNS)
    for row in report.clips:
        clips.add_row(row.clip, row.method, *_cells(row.scores, _SCORE_COLUMNS))
    tables = [clips]
    for stratum, means in report.strata.items():
        tables.append(_means(f"Stratum: {stratum}", means))
    tables.append(_alarm_table(report))
    if report.deflicker:
        tables.append(_rows(f"Deflicker ({_count(report.deflicker)})", "clip", report.deflicker, _DEFLICKER_COLUMNS))
    tables.append(_known_table(report))
    if report.real:
        tables.append(_rows("Real films", "film", report.real, _REAL_COLUMNS))
    tables.append(_means("Mean over all clips", report.summary))
    text = StringIO()
    console = Console(file=text, width=_TABLE_WIDTH, no_color=True, highlight=False, soft_wrap=True)
    for table in tables:
        console.print(table)
    for result in report.real:
        if result.line is not None:
            line = result.line
            console.print(
                f"{result.film}: line at x = 287 … 288 detected in {line.frames_detected} of {line.frames} frames; "
                f"depth {line.depth_before:.2f} → {line.depth_after:.2f} grey levels (ratio {line.depth_ratio:.2f}); "
                f"line mask covers {line.mask_share:.2%} of the picture."
            )
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


_DEFLICKER_COLUMNS = (
    ("flicker % before", "flicker_before", "percent"),
    ("after", "flicker_after", "percent"),
    ("local % before", "local_before", "percent"),
    ("after", "local_after", "percent"),
    ("dB to steady before", "psnr_before", "one"),
    ("after", "psnr_after", "one"),
    ("s/frame", "seconds_per_frame", "share"),
)

_REAL_COLUMNS = (
    ("frames", "frames", "whole"),
    ("flicker % before", "flicker_before", "percent"),
    ("after", "flicker_after", "percent"),
    ("local % before", "local_flicker_before", "percent"),
    ("after", "local_flicker_after", "percent"),
    ("warp before", "warp_error_before", "two"),
    ("after", "warp_error_after", "two"),
    ("dirt %", "dirt_share", "percent"),
    ("lines %", "line_share", "percent"),
    ("s/frame", "seconds_per_frame", "share"),
)

_Columns = Sequence[tuple[str, str, str]]


def _table(title: str, names: Sequence[str], columns: _Columns) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, no_wrap=True)
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    return table


def _means(title: str, means: Mapping[str, Scores]) -> Table:
    table = _table(title, ("method",), _SCORE_COLUMNS)
    for name, scores in means.items():
        table.add_row(name, *_cells(scores, _SCORE_COLUMNS))
    return table


def _rows(title: str, name: str, rows: Sequence[Any], columns: _Columns) -> Table:
    table = _table(title, (name,), columns)
    for row in rows:
        table.add_row(getattr(row, name), *_cells(row, columns))
    return table


def _known_table(report: FilmBenchmarkReport) -> Table:
    depths = [f"line {depth:g}" for depth in LINE_DEPTHS]
    table = _table("Repair with the true masks: PSNR inside, dB", ("repair", "all", "dirt", "lines", *depths), ())
    table.add_column("out max", justify="right")
    for name, scores in report.repair_known_mask.items():
        figures = (scores.psnr_inside, scores.psnr_dirt, scores.psnr_lines, *scores.psnr_line_depths)
        table.add_row(name, *(_cell(figure, "one") for figure in (*figures, scores.outside_max)))
    return table


def _alarm_table(report: FilmBenchmarkReport) -> Table:
    methods = list(dict.fromkeys(row.method for row in report.clean_false_alarms))
    table = _table("False alarms on clean clips, % of pixels (dirt / lines)", ("clip", *methods), ())
    for clip in dict.fromkeys(row.clip for row in report.clean_false_alarms):
        cells = {row.method: row for row in report.clean_false_alarms if row.clip == clip}
        table.add_row(
            clip,
            *(f"{_cell(cells[name].dirt, 'percent')} / {_cell(cells[name].lines, 'percent')}" for name in methods),
        )
    return table


def _cells(scores: object, columns: _Columns) -> list[str]:
    return [_cell(getattr(scores, attribute), form) for _, attribute, form in columns]


def _cell(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    if form == "percent":
        return f"{100 * value:.2f}"
    digits = {"whole": 0, "one": 1, "two": 2, "share": 3}[form]
    return f"{value:.{digits}f}"


def _count(rows: Sequence[object]) -> str:
    return f"{len(rows)} clip{'s' if len(rows) != 1 else ''}"

"""A picture of the curves of the resolution study: figures over working size, one line per restorer and way."""

import math
from collections.abc import Callable
from pathlib import Path

from ..common.curves import CurveLine, CurvePanel, write_panels
from .study import ResolutionReport, ResolutionRow


def write_curves(report: ResolutionReport, path: Path) -> None:
    """Draw the curves into a picture file; see `curve_panels`."""
    write_panels(curve_panels(report), path)


def curve_panels(report: ResolutionReport) -> list[CurvePanel]:
    """Lay out PSNR, SSIM, warp error and time over the short side.

    Dashed is what the first restorer got; in the panel of the warp error, the reference.
    """
    return [
        _panel(report, "PSNR, dB", lambda row: row.figures.psnr, report.repaired.psnr),
        _panel(report, "SSIM", lambda row: row.figures.ssim, report.repaired.ssim),
        _panel(report, "warp error, grey levels", lambda row: row.figures.warp_error, report.reference_warp_error),
        _panel(report, "seconds a frame", lambda row: row.seconds_per_frame, None),
    ]


def _panel(
    report: ResolutionReport, title: str, value: Callable[[ResolutionRow], float | None], level: float | None
) -> CurvePanel:
    lines = []
    for restorer, way in dict.fromkeys((row.restorer, row.way) for row in report.rows):
        rows = sorted(
            (row for row in report.rows if (row.restorer, row.way) == (restorer, way)), key=lambda row: row.short_side
        )
        figures = [value(row) for row in rows]
        lines.append(
            CurveLine(
                name=f"{restorer}, {way}",
                across=[row.short_side for row in rows],
                up=[math.nan if figure is None else figure for figure in figures],
            )
        )
    sizes = sorted({row.short_side for row in report.rows})
    return CurvePanel(title=title, across="short side, px", lines=lines, level=level, ticks=sizes)

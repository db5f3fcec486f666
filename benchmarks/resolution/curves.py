"""A picture of the curves of the resolution study: figures over working size, one line per restorer and way."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .study import ResolutionReport, ResolutionRow

_SCALE = 2
"""Drawn larger and shrunk, which smooths the lines."""

_SIDE, _MARGIN, _LEGEND, _TEXT = 300, 56, 20, 13
_BACKGROUND, _INK, _GRID = (255, 255, 255), (40, 40, 44), (222, 222, 226)
_COLOURS = ((20, 90, 180), (230, 120, 20), (50, 150, 60), (200, 50, 140), (130, 90, 210), (110, 110, 115))
_STEPS = 5
"""About so many lines of the grid."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure over working size.

    Attributes:
        title: What it is.
        value: Reads it from a row.
        level: The same of what the restorers got, drawn as a dashed line; None leaves it out.
    """

    title: str
    value: Callable[[ResolutionRow], float | None]
    level: float | None


def panels(report: ResolutionReport) -> tuple[Panel, ...]:
    """Return what is drawn: PSNR, SSIM, warp error and time."""
    return (
        Panel(title="PSNR, dB", value=lambda row: row.figures.psnr, level=report.repaired.psnr),
        Panel(title="SSIM", value=lambda row: row.figures.ssim, level=report.repaired.ssim),
        Panel(
            title="warp error, grey levels", value=lambda row: row.figures.warp_error, level=report.reference_warp_error
        ),
        Panel(title="seconds a frame", value=lambda row: row.seconds_per_frame, level=None),
    )


def write_curves(report: ResolutionReport, path: Path) -> None:
    """Draw the curves into a picture file; see `draw_curves`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_curves(report).save(path)


def draw_curves(report: ResolutionReport) -> Image.Image:
    """Draw PSNR, SSIM, warp error and time over the short side.

    Dashed is what the first restorer got; in the panel of the warp error, the reference.
    """
    lines = list(dict.fromkeys((row.restorer, row.way) for row in report.rows))
    shown = panels(report)
    pitch = _SIDE + 2 * _MARGIN
    size = (len(shown) * pitch, pitch + _LEGEND * len(lines))
    picture = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    sizes = sorted({row.short_side for row in report.rows})
    for number, panel in enumerate(shown):
        frame = _Frame(number * pitch + _MARGIN, sizes, _span(report.rows, panel))
        _axes(draw, frame, panel.title, sizes)
        if panel.level is not None:
            _dashed(draw, frame, panel.level)
        for index, line in reversed(list(enumerate(lines))):
            points = [
                (row.short_side, value)
                for row in report.rows
                if (row.restorer, row.way) == line and (value := panel.value(row)) is not None
            ]
            _curve(draw, [frame.at(*point) for point in sorted(points)], _COLOURS[index % len(_COLOURS)])
    for index, (restorer, way) in enumerate(lines):
        _legend(draw, index, f"{restorer}, {way}", _COLOURS[index % len(_COLOURS)])
    return picture.resize(size, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class _Frame:
    """Where a panel is and what it spans."""

    left: int
    sizes: Sequence[int]
    span: tuple[float, float]

    def at(self, size: float, value: float) -> tuple[float, float]:
        """Place of a point on the enlarged picture; sizes are spaced by their ratios."""
        low, high = math.log(self.sizes[0] * 0.93), math.log(self.sizes[-1] * 1.07)
        across = (math.log(size) - low) / (high - low)
        up = (value - self.span[0]) / (self.span[1] - self.span[0])
        return (self.left + across * _SIDE) * _SCALE, (_MARGIN + (1 - up) * _SIDE) * _SCALE


def _span(rows: Sequence[ResolutionRow], panel: Panel) -> tuple[float, float]:
    values = [value for row in rows if (value := panel.value(row)) is not None]
    if panel.level is not None:
        values.append(panel.level)
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _ticks(span: tuple[float, float]) -> list[float]:
    """Round numbers inside a span."""
    raw = (span[1] - span[0]) / _STEPS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(span[0] / step)
    return [number * step for number in range(first, math.floor(span[1] / step) + 1)]


def _axes(draw: ImageDraw.ImageDraw, frame: _Frame, title: str, sizes: Sequence[int]) -> None:
    font = ImageFont.load_default(_TEXT * _SCALE)
    right = frame.left + _SIDE
    for tick in _ticks(frame.span):
        y = frame.at(sizes[0], tick)[1]
        draw.line((frame.left * _SCALE, y, right * _SCALE, y), fill=_GRID, width=_SCALE)
        draw.text(((frame.left - 6) * _SCALE, y), f"{tick:.4g}", fill=_INK, font=font, anchor="rm")
    bottom = (_MARGIN + _SIDE) * _SCALE
    for size in sizes:
        x = frame.at(size, frame.span[0])[0]
        draw.line((x, _MARGIN * _SCALE, x, bottom), fill=_GRID, width=_SCALE)
        draw.text((x, bottom + 4 * _SCALE), str(size), fill=_INK, font=font, anchor="ma")
    middle = (frame.left + _SIDE / 2) * _SCALE
    draw.text((middle, (_MARGIN - 22) * _SCALE), title, fill=_INK, font=font, anchor="mm")
    draw.text((middle, bottom + 20 * _SCALE), "short side, px", fill=_INK, font=font, anchor="ma")


def _dashed(draw: ImageDraw.ImageDraw, frame: _Frame, level: float) -> None:
    y = frame.at(frame.sizes[0], level)[1]
    for start in range(frame.left, frame.left + _SIDE, 10):
        draw.line((start * _SCALE, y, (start + 5) * _SCALE, y), fill=_INK, width=_SCALE)


def _curve(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    if len(points) > 1:
        draw.line(points, fill=colour, width=2 * _SCALE, joint="curve")
    for x, y in points:
        reach = 4 * _SCALE
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour, outline=_BACKGROUND, width=_SCALE)


def _legend(draw: ImageDraw.ImageDraw, row: int, text: str, colour: tuple[int, int, int]) -> None:
    x, y = _MARGIN * _SCALE, (_MARGIN + _SIDE + 48 + row * _LEGEND) * _SCALE
    draw.line((x, y, x + 24 * _SCALE, y), fill=colour, width=3 * _SCALE)
    draw.text((x + 32 * _SCALE, y), text, fill=_INK, font=ImageFont.load_default(_TEXT * _SCALE), anchor="lm")

"""A picture of the precision-recall curves of the film benchmark."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .report import ALL, LOCKED, MOVING, Curve, FilmBenchmarkReport
from .scores import DetectionFigures

_AT_ONE = 1
"""Index of the tolerance of 1 px."""

_SCALE = 2
"""Drawn larger and shrunk, which smooths the lines."""

_SIDE, _MARGIN, _LEGEND, _TEXT = 330, 50, 20, 13
_BACKGROUND, _INK, _GRID = (255, 255, 255), (40, 40, 44), (222, 222, 226)
_COLOURS = (
    (20, 90, 180),
    (90, 180, 240),
    (200, 50, 140),
    (230, 120, 20),
    (50, 150, 60),
    (130, 90, 210),
    (150, 120, 60),
    (110, 110, 115),
)


@dataclass(frozen=True, kw_only=True)
class _Panel:
    title: str
    curves: Mapping[str, Curve]
    figures: Mapping[str, DetectionFigures]


def write_curves(report: FilmBenchmarkReport, path: Path) -> None:
    """Draw the curves into a picture file; see `draw_curves`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_curves(report).save(path)


def draw_curves(report: FilmBenchmarkReport) -> Image.Image:
    """Draw precision over recall at 1 px tolerance: dirt over all clips, lines in moving and in locked-off scenes.

    A dot marks the method's own threshold. The legend gives the area under each curve.
    """
    wanted = (
        ("Dirt, hair and blotches", report.dirt_curves, report.dirt, (ALL,)),
        ("Lines", report.line_curves, report.lines, (MOVING, LOCKED)),
    )
    panels = [
        _Panel(title=f"{kind}: {group}", curves=curves[group], figures=figures[group])
        for kind, curves, figures, groups in wanted
        for group in groups
        if group in curves
    ]
    names = dict.fromkeys(name for panel in panels for name in panel.curves)
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    pitch = _SIDE + 2 * _MARGIN
    size = (max(1, len(panels)) * pitch, pitch + _LEGEND * max((len(panel.curves) for panel in panels), default=0))
    picture = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for number, panel in enumerate(panels):
        left = number * pitch + _MARGIN
        _axes(draw, left, panel.title)
        # The first methods last, so that they are on top.
        for name, curve in reversed(list(panel.curves.items())):
            _curve(draw, left, curve, colours[name])
        for row, name in enumerate(panel.curves):
            areas = panel.figures[name].average_precision
            area = None if areas is None else areas[_AT_ONE]
            _legend(draw, left, row, name if area is None else f"{name}, area {area:.2f}", colours[name])
    return picture.resize(size, Image.Resampling.LANCZOS)


def _at(left: float, recall: float, precision: float) -> tuple[float, float]:
    """Place of a point on the enlarged picture."""
    return (left + recall * _SIDE) * _SCALE, (_MARGIN + (1 - precision) * _SIDE) * _SCALE


def _axes(draw: ImageDraw.ImageDraw, left: int, title: str) -> None:
    font = ImageFont.load_default(_TEXT * _SCALE)
    for step in np.linspace(0, 1, 6):
        draw.line((*_at(left, step, 0), *_at(left, step, 1)), fill=_GRID, width=_SCALE)
        draw.line((*_at(left, 0, step), *_at(left, 1, step)), fill=_GRID, width=_SCALE)
        x, y = _at(left, step, 0)
        draw.text((x, y + 4 * _SCALE), f"{step:.1f}", fill=_INK, font=font, anchor="ma")
        x, y = _at(left, 0, step)
        draw.text((x - 6 * _SCALE, y), f"{step:.1f}", fill=_INK, font=font, anchor="rm")
    draw.text(_at(left, 0.5, 1 + 22 / _SIDE), title, fill=_INK, font=font, anchor="mm")
    x, y = _at(left, 0.5, 0)
    draw.text((x, y + 20 * _SCALE), "recall (across), precision (up)", fill=_INK, font=font, anchor="ma")


def _curve(draw: ImageDraw.ImageDraw, left: int, curve: Curve, colour: tuple[int, int, int]) -> None:
    recall, precision = curve.recall[_AT_ONE], curve.precision[_AT_ONE]
    there = ~np.isnan(recall) & ~np.isnan(precision)
    points = [_at(left, *point) for point in zip(recall[there], precision[there], strict=True)]
    if len(points) > 1:
        draw.line(points, fill=colour, width=2 * _SCALE, joint="curve")
    if not np.isnan(curve.operating[_AT_ONE]).any():
        x, y = _at(left, *curve.operating[_AT_ONE])
        reach = 5 * _SCALE
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour, outline=_BACKGROUND, width=_SCALE)


def _legend(draw: ImageDraw.ImageDraw, left: int, row: int, text: str, colour: tuple[int, int, int]) -> None:
    x, y = _at(left, 0, 0)
    y += (48 + row * _LEGEND) * _SCALE
    draw.line((x, y, x + 24 * _SCALE, y), fill=colour, width=3 * _SCALE)
    draw.text((x + 32 * _SCALE, y), text, fill=_INK, font=ImageFont.load_default(_TEXT * _SCALE), anchor="lm")

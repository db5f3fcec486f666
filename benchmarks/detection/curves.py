"""A picture of the precision-recall curves of the detection benchmark."""

from collections.abc import Mapping
from pathlib import Path

from vldm_core.metrics.detection_curve import TOLERANCES

from ..common.curves import CurveLine, CurvePanel, write_panels
from .report import ALL, LOCKED, MOVING, DetectionBenchmarkReport, PrecisionRecallCurve
from .scores import TOLERANCE, DetectionFigures

_AT_ONE = TOLERANCES.index(TOLERANCE)


def write_curves(report: DetectionBenchmarkReport, path: Path) -> None:
    """Draw the curves into a picture file; see `curve_panels`."""
    write_panels(curve_panels(report), path)


def curve_panels(report: DetectionBenchmarkReport) -> list[CurvePanel]:
    """Lay out precision over recall at 1 px: dirt over all clips, lines in moving and in locked-off scenes.

    A dot marks the method's own threshold. The legend gives the area under each curve.
    """
    wanted = (
        ("Dirt, hair and blotches", report.dirt_curves, report.dirt, (ALL,)),
        ("Scratches", report.line_curves, report.lines, (MOVING, LOCKED)),
    )
    return [
        _panel(f"{kind}: {group}", curves[group], figures[group])
        for kind, curves, figures, groups in wanted
        for group in groups
        if group in curves
    ]


def _panel(
    title: str, curves: Mapping[str, PrecisionRecallCurve], figures: Mapping[str, DetectionFigures]
) -> CurvePanel:
    lines = []
    for name, curve in curves.items():
        areas = figures[name].average_precision
        area = None if areas is None else areas[_AT_ONE]
        lines.append(
            CurveLine(
                name=name,
                label=name if area is None else f"{name}, area {area:.2f}",
                across=curve.recall[_AT_ONE].tolist(),
                up=curve.precision[_AT_ONE].tolist(),
                dot=curve.operating[_AT_ONE],
            )
        )
    return CurvePanel(title=title, across="recall", up="precision", lines=lines, shares=True)

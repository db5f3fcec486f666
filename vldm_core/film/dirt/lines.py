"""Thin steep lines in what a frame has over its neighbours: one grain deviation a pixel, many along their length.

What stands out is summed along steep straight ways through a place, as many rows as a scratch of one frame is straight
for. The Radon transform does that along whole lines (J. Radon, 1917); a scratch ends, bends and breaks, so short ways
are summed here and the network joins what lies on one course.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import FloatArray, Plane


@dataclass(frozen=True, kw_only=True)
class LineSums:
    """How what stands out is summed along steep ways.

    Attributes:
        clip: Deviations of the grain at which it is cut off before: a speck is no line.
        across: Pixels on each side of the window whose mean is taken off each row: what is wide is no line.
        rows: Rows that are averaged before ways are summed: within four, a steep way moves by less than a pixel.
        length: Rows of a way, a multiple of `rows`.
        steepest: Columns a row by which the outermost ways lean, either way: ten degrees.
        ways: Number of ways, odd: between two of them a line moves by less than a pixel over half its length.
    """

    clip: float = 3.0
    across: int = 15
    rows: int = 4
    length: int = 64
    steepest: float = 0.18
    ways: int = 9


_LINE = LineSums()


def line_sums(residual: Plane, grain: float) -> FloatArray:
    """Return the strongest sum along a steep way through each place.

    Args:
        residual: (H, W), what a frame has over its neighbours, grey levels.
        grain: Deviation of its grain, grey levels.

    Returns:
        (H / 4, W), signed, in deviations of what grain alone gives.
    """
    height, width = residual.shape
    limit = np.float32(_LINE.clip * grain)
    cut = np.clip(residual, -limit, limit)
    cut -= cv2.blur(cut, (_LINE.across, 1))
    rows = max(1, height // _LINE.rows)
    cut = cv2.resize(cut, (width, rows), interpolation=cv2.INTER_AREA)
    steps = max(1, min(_LINE.length // _LINE.rows, rows))
    highest: Plane = np.zeros_like(cut)
    lowest: Plane = np.zeros_like(cut)
    for lean in np.linspace(-_LINE.steepest, _LINE.steepest, _LINE.ways):
        slant = float(lean) * _LINE.rows
        # Sheared so that the way stands upright, summed, and sheared back.
        there = np.array([[1, slant, -slant * rows / 2], [0, 1, 0]], np.float32)
        back = np.array([[1, -slant, slant * rows / 2], [0, 1, 0]], np.float32)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        upright = cv2.warpAffine(cut, there, (width, rows), flags=how, borderMode=cv2.BORDER_CONSTANT)
        upright = cv2.blur(upright, (1, steps), borderType=cv2.BORDER_CONSTANT)
        summed = cv2.warpAffine(upright, back, (width, rows), flags=how, borderMode=cv2.BORDER_CONSTANT)
        cv2.max(highest, summed, dst=highest)
        cv2.min(lowest, summed, dst=lowest)
    best: FloatArray = np.where(highest >= -lowest, highest, lowest)
    best *= np.float32(np.sqrt(_LINE.rows * steps) / grain)
    return best

"""How strong the grain of a frame is at every brightness, from its differences to its neighbours along the motion.

Grain hangs on brightness: it is strongest in the middle tones and vanishes where a scan clips. One figure for a frame
would either smear the shadows or leave the middle tones rough.
"""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from ...arrays import BoolArray, Plane
from ..flicker.local_gain import apply_gain
from ..motion.window import FrameWindow
from .neighbours import Neighbours

_LEVELS = 256
"""Grey levels of eight bits."""


@dataclass(frozen=True, kw_only=True)
class GrainTests:
    """How grain is measured.

    Attributes:
        step: Rows and columns from one sample to the next: a sixteenth of the pixels is enough.
        classes: Classes of brightness, a number, in which it is measured apart.
        fewest: Pixels of a class that are sampled at least for it to count; others follow their neighbours.
        steepest: Grey levels a pixel that the picture changes by at most where it is sampled: at an edge, a motion
            that is off by parts of a pixel makes more of a difference than grain.
        most: Ratio of the grain of a class to that of the whole frame at most: a class that holds little but a moving
            thing shows what motion did not explain.
        mean_of_median: Ratio of the mean to the median of the absolute values of normal noise, √(2/π) / Φ⁻¹(3/4): the
            median is measured, since it does not see what moves against the motion.
    """

    step: int = 4
    classes: int = 8
    fewest: int = 60
    steepest: float = 1.5
    most: float = 2.0
    mean_of_median: float = 1.183


_GRAIN = GrainTests()
_ACROSS = np.array([[-1, 0, 1]], np.float32)
"""Factors of the pixels beside one, for the step from one to the other."""


def grain_by_brightness(window: FrameWindow, neighbours: Neighbours, index: int) -> Plane | None:
    """Return the mean of |frame − neighbour| that grain makes, by the grey level of the frame.

    Args:
        window: The frames.
        neighbours: Theirs.
        index: Of the frame.

    Returns:
        (256,) float32, grey levels; None where the frame has no neighbours.
    """
    others = neighbours.of(index)
    nearest = [other for other in others if abs(other - index) == min(abs(each - index) for each in others)]
    curves = [_curve(window, index, other, neighbours.gain(index, other)) for other in nearest]
    return np.asarray(np.mean(curves, axis=0), np.float32) if curves else None


def _curve(window: FrameWindow, index: int, other: int, gain: Plane) -> Plane:
    height, width = window.size
    columns = np.arange(0, width, _GRAIN.step, dtype=np.float32)
    rows = np.arange(0, height, _GRAIN.step, dtype=np.float32)[:, None]
    x, y = (np.ascontiguousarray(plane) for plane in np.broadcast_arrays(columns, rows))
    flow = window.between(index, other).at(x, y)
    x, y = x + flow[..., 0], y + flow[..., 1]
    look = cv2.remap(window.luma[other], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    every = np.s_[:: _GRAIN.step, :: _GRAIN.step]
    frame = window.luma[index][every]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    difference = np.abs(frame - apply_gain(look, np.ascontiguousarray(gain[every])))
    sampled = inside & _even(frame)
    if np.count_nonzero(sampled) < _GRAIN.fewest:
        sampled = inside
    # Classes by the mean of both, of which the difference tells nothing: by one alone, the grain itself would sort.
    return _through_classes(((frame + look) / 2)[sampled], difference[sampled])


def _even(frame: Plane) -> BoolArray:
    """Where a frame, sampled every few pixels, has no edges."""
    smooth = cv2.blur(np.ascontiguousarray(frame), (3, 3))
    most = np.float32(_GRAIN.steepest * 2 * _GRAIN.step)
    steps = [np.abs(cv2.filter2D(smooth, -1, kernel)) for kernel in (_ACROSS, _ACROSS.T)]
    return np.maximum(*steps) < most


def _through_classes(brightness: Plane, difference: Plane) -> Plane:
    edges = np.linspace(0, _LEVELS, _GRAIN.classes + 1)
    which = np.clip(np.digitize(brightness, edges) - 1, 0, _GRAIN.classes - 1)
    middles: list[float] = []
    levels: list[float] = []
    for number in range(_GRAIN.classes):
        values = difference[which == number]
        if len(values) >= _GRAIN.fewest:
            middles.append((edges[number] + edges[number + 1]) / 2)
            levels.append(float(np.median(values)) * _GRAIN.mean_of_median)
    whole = float(np.median(difference)) * _GRAIN.mean_of_median if difference.size else 0.0
    if not levels:
        middles, levels = [0.0], [whole]
    levels = [min(level, _GRAIN.most * whole) for level in levels]
    return np.interp(np.arange(_LEVELS), middles, levels).astype(np.float32)


def eight_bit(plane: Plane, lifted: float = 0.0) -> Plane:
    """Round a plane (n, W), less what was added to it, to uint8; it saturates at 0 and 255."""
    return cast(Plane, cv2.subtract(plane, np.full(1, lifted), dtype=cv2.CV_8U))


def by_brightness(curve: Plane, frame: Plane, lifted: float = 0.0) -> Plane:
    """Look a curve (256,) up at the grey levels of a frame (n, W) that is smooth enough for its grain not to show."""
    return cast(Plane, cv2.LUT(eight_bit(frame, lifted), curve))

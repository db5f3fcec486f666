"""How well a neighbour predicts a frame: which of two ways to look it up explains more, against what grain changes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray
from .field import MotionField

_WINDOW = np.ones((3, 3), np.uint8)
_DEVIATION = 1.4826
"""Deviations of a normal distribution in its median magnitude."""
_LARGEST_DEVIATION = 8.0
"""Grey levels: grain that is stronger still is taken for motion that was missed."""
_SAMPLE_STEP = 3
"""Every so many rows and columns are enough for a median."""
_MUCH_BETTER = 0.4
"""The largest share that the simpler look may leave of the difference along the flow."""
_UNEXPLAINED_DEVIATIONS, _UNEXPLAINED_LEVELS = 2.5, 8.0
"""How large the difference along the flow must be, in deviations of the grain and grey levels: where flow explains the
place there is nothing to mend."""


def sampled_difference(frame: FloatArray, other: FloatArray, motion: MotionField) -> FloatArray:
    """Difference of a frame (H, W) to another, looked up along the motion, on every third row and column."""
    height, width = frame.shape
    columns = np.arange(0, width, _SAMPLE_STEP, dtype=np.float32)
    rows = np.arange(0, height, _SAMPLE_STEP, dtype=np.float32)[:, None]
    x, y = (np.ascontiguousarray(plane) for plane in np.broadcast_arrays(columns, rows))
    flow = motion.at(x, y)
    look = cv2.remap(other, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(frame[::_SAMPLE_STEP, ::_SAMPLE_STEP] - look, np.float32)


def grain_of(difference: FloatArray) -> float:
    """Return the deviation of the grain in the difference of a frame to a prediction of it, grey levels, at most 8."""
    return min(float(np.median(np.abs(difference))) * _DEVIATION, _LARGEST_DEVIATION)


def much_better(frame: FloatArray, simple: FloatArray, compensated: FloatArray, grain: float) -> BoolArray:
    """Tell where (H, W) a neighbour predicts a frame much better unmoved, or moved as a whole, than along the flow.

    Args:
        frame: (H, W), grey levels.
        simple: (H, W), the neighbour in the frame's brightness, unmoved or moved as a whole.
        compensated: (H, W), the same moved along the flow.
        grain: Deviation of the difference of two frames where they show the same, grey levels; see `grain_of`.
    """
    left, along = (cv2.blur(cv2.absdiff(frame, look), (3, 3)) for look in (simple, compensated))
    better = (left < np.float32(_MUCH_BETTER) * along) & (
        along > np.float32(_UNEXPLAINED_DEVIATIONS * grain + _UNEXPLAINED_LEVELS)
    )
    return cv2.dilate(better.view(np.uint8), _WINDOW) > 0


def shifted(picture: FloatArray, shift: NDArray[np.float32]) -> FloatArray:
    """Look a picture (H, W) or (H, W, C) up at one shift (2,) in pixels, x and y, for all of it, bilinearly."""
    height, width = picture.shape[:2]
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(picture, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE), np.float32
    )

"""How well a neighbour predicts a frame: which of two ways to look it up explains more, against what grain changes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray
from ..robust import MAD_TO_SIGMA
from .field import MotionField


@dataclass(frozen=True, kw_only=True)
class PredictionTests:
    """When one way to look a neighbour up explains a frame better than another.

    Attributes:
        window: Pixels on each side of the square over which differences are averaged.
        largest_deviation: Grey levels: grain that is stronger still is taken for motion that was missed.
        sample_step: Rows and columns from one sample of a median to the next: a ninth of the pixels is enough for one.
        much_better: Share that the simpler look may leave of the difference along the motion.
        unexplained_deviations: Deviations of the grain that the difference along the motion must exceed: where motion
            explains the place there is nothing to repair.
        unexplained_levels: Grey levels that are added to that.
    """

    window: int = 3
    largest_deviation: float = 8.0
    sample_step: int = 3
    much_better: float = 0.4
    unexplained_deviations: float = 2.5
    unexplained_levels: float = 8.0


_PREDICTION = PredictionTests()
_SQUARE = (_PREDICTION.window, _PREDICTION.window)
_WINDOW = np.ones(_SQUARE, np.uint8)


def sampled_difference(frame: FloatArray, other: FloatArray, motion: MotionField) -> FloatArray:
    """Difference of a frame (H, W) to another, looked up along the motion, on every third row and column."""
    height, width = frame.shape
    columns = np.arange(0, width, _PREDICTION.sample_step, dtype=np.float32)
    rows = np.arange(0, height, _PREDICTION.sample_step, dtype=np.float32)[:, None]
    x, y = (np.ascontiguousarray(plane) for plane in np.broadcast_arrays(columns, rows))
    flow = motion.at(x, y)
    look = cv2.remap(other, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(frame[:: _PREDICTION.sample_step, :: _PREDICTION.sample_step] - look, np.float32)


def grain_of(difference: FloatArray) -> float:
    """Return the deviation of the grain in the difference of a frame to a prediction of it, grey levels, at most 8."""
    return min(float(np.median(np.abs(difference))) * MAD_TO_SIGMA, _PREDICTION.largest_deviation)


def much_better(frame: FloatArray, simple: FloatArray, compensated: FloatArray, grain: float) -> BoolArray:
    """Tell where (H, W) a neighbour predicts a frame much better unmoved, or moved as a whole, than along the flow.

    Args:
        frame: (H, W), grey levels.
        simple: (H, W), the neighbour in the frame's brightness, unmoved or moved as a whole.
        compensated: (H, W), the same moved along the flow.
        grain: Deviation of the difference of two frames where they show the same, grey levels; see `grain_of`.
    """
    left, along = (cv2.blur(cv2.absdiff(frame, look), _SQUARE) for look in (simple, compensated))
    better = (left < np.float32(_PREDICTION.much_better) * along) & (
        along > np.float32(_PREDICTION.unexplained_deviations * grain + _PREDICTION.unexplained_levels)
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

"""What stays at its place for longer than dirt does: letters, thin lines, marks and everything else that stands still.

Flow is measured over patches, so a stroke of a pixel or two that stands still before a scene that moves, or on a card
without any texture, is carried along with what is around it. The neighbour itself, unmoved, is then the better
prediction.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane

SHORTEST_STAY = 4
"""Frames in a row that must show a thing at one place before it counts as standing: one more than dirt stays."""

_WINDOW = np.ones((3, 3), np.uint8)
# In how many deviations of the grain a pixel and a mean over 3×3 pixels still show the same, beyond what coding and
# flicker change of them: grey levels, and a share of the brightness.
_PIXEL_DEVIATIONS, _PIXEL_LEVELS = 3.0, 4.0
_MEAN_DEVIATIONS, _MEAN_LEVELS = 1.2, 2.5
_FLICKER = 0.03


def same_place(frame: Plane, other: Plane, grain: float) -> BoolArray:
    """Tell which pixels (H, W) another frame shows at the same place, whatever their overall brightness.

    A single pixel agrees with anything now and then. So one of the 3×3 windows that hold the pixel must agree as a
    whole: in every pixel, and on the average, which grain changes less.

    Args:
        frame: (H, W), grey levels.
        other: (H, W), grey levels.
        grain: Deviation of the difference of two frames where they show the same, grey levels.
    """
    gain = (float(frame.mean()) + 1) / (float(other.mean()) + 1)
    difference = frame - other * np.float32(np.clip(gain, 0.5, 2.0))
    allowance = np.float32(_FLICKER) * cv2.blur(frame, (3, 3))
    agrees = cv2.dilate(np.abs(difference), _WINDOW) <= allowance + (_PIXEL_DEVIATIONS * grain + _PIXEL_LEVELS)
    agrees &= np.abs(cv2.blur(difference, (3, 3))) <= allowance + (_MEAN_DEVIATIONS * grain + _MEAN_LEVELS)
    return cv2.dilate(agrees.astype(np.uint8), _WINDOW) > 0


def staying(index: int, count: int, same: Callable[[int], BoolArray]) -> BoolArray:
    """Tell what a frame shows at one place for at least `SHORTEST_STAY` frames in a row, or all of a shorter shot.

    Args:
        index: The frame.
        count: Frames of the shot, 2 or more.
        same: Gives the pixels (H, W) that another frame, by its number, shows at the same place as this one.
    """
    wanted = min(SHORTEST_STAY, count)
    stay: NDArray | None = None
    for direction in (-1, 1):
        run: BoolArray | None = None
        for other in range(index + direction, index + direction * wanted, direction):
            if not 0 <= other < count:
                break
            run = same(other) if run is None else run & same(other)
            stay = run.astype(np.uint8) if stay is None else stay + run
            if not run.any():
                break
    assert stay is not None, "a shot of one frame has no neighbour to be compared with"
    return stay >= wanted - 1

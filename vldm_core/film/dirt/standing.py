"""What stays at its place for longer than dirt does: letters, thin lines, marks and everything else that stands still.

Flow is measured over patches, so a stroke of a pixel or two that stands still before a scene that moves, or on a card
without any texture, is carried along with what is around it. The neighbour itself, unmoved, is then the better
prediction.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane

SHORTEST_STAY = 4
"""Frames in a row that must show a thing at one place before it counts as standing: one more than dirt stays."""


@dataclass(frozen=True, kw_only=True)
class SamePlace:
    """By how much two frames may differ at a place where they show the same.

    Attributes:
        window: Pixels on each side of the square that must agree as a whole; a single pixel agrees with anything now
            and then.
        pixel_deviations: Deviations of the grain that each pixel may differ by.
        pixel_levels: Grey levels that coding adds to that.
        mean_deviations: Deviations of the grain that the mean of the square may differ by: a third of what a pixel may
            would be right for white grain, which that of film is not.
        mean_levels: Grey levels that coding adds to that.
        flicker: Share of the brightness by which flicker within the frame may change both.
        gains: Least and largest ratio of the brightness of the two frames that is evened out before.
    """

    window: int = 3
    pixel_deviations: float = 3.0
    pixel_levels: float = 4.0
    mean_deviations: float = 1.2
    mean_levels: float = 2.5
    flicker: float = 0.03
    gains: tuple[float, float] = (0.5, 2.0)


_SAME = SamePlace()
SAME_REACH = 2 * (_SAME.window // 2)
"""Whether two frames show the same at a place depends on so many pixels on each side of it."""
_SQUARE = (_SAME.window, _SAME.window)
_WINDOW = np.ones(_SQUARE, np.uint8)


def same_place(frame: Plane, other: Plane, grain: float) -> BoolArray:
    """Tell which pixels (H, W) another frame shows at the same place.

    A single pixel agrees with anything now and then. So one of the 3×3 windows that hold the pixel must agree as a
    whole: in every pixel, and on the average, which grain changes less.

    Args:
        frame: (H, W), grey levels.
        other: (H, W), grey levels, in the overall brightness of the frame; see `overall_gain`.
        grain: Deviation of the difference of two frames where they show the same, grey levels.
    """
    difference = frame - other
    allowance = np.float32(_SAME.flicker) * cv2.blur(frame, _SQUARE)
    agrees = cv2.dilate(np.abs(difference), _WINDOW) <= allowance + (
        _SAME.pixel_deviations * grain + _SAME.pixel_levels
    )
    agrees &= np.abs(cv2.blur(difference, _SQUARE)) <= allowance + (_SAME.mean_deviations * grain + _SAME.mean_levels)
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


@dataclass(frozen=True, kw_only=True)
class StandingTests:
    """What is no damage because it stands still, or because it comes or goes and stays.

    Attributes:
        one_side: Share of its difference from the one side by which what arrives or leaves differs from the other side
            at most.
        window: Pixels on each side of the square over which these differences are averaged.
    """

    one_side: float = 0.25
    window: int = 3


_STANDING = StandingTests()


def arriving_or_leaving(before: Plane, after: Plane) -> BoolArray:
    """Tell where a frame differs from one side alone, (H, W).

    Dirt that stays for a few frames looks like that in its first and last one, and so do a letter and a cue mark.

    Args:
        before: (H, W), what the frame has over the earlier ones, grey levels.
        after: (H, W), over the later ones.
    """
    one, other = (cv2.blur(np.abs(side), (_STANDING.window,) * 2) for side in (before, after))
    return cv2.min(one, other) < _STANDING.one_side * cv2.max(one, other)


def overall_gain(other: float, frame: float) -> np.float32:
    """Return the factor that gives a frame the overall brightness of another, as far as frames of one shot may differ.

    Args:
        other: Mean of the frame, grey levels.
        frame: Mean of the one whose brightness it is given.
    """
    return np.float32(np.clip((frame + 1) / (other + 1), *_SAME.gains))

"""How the picture as a whole has moved between two frames, exactly enough for letters of one pixel's stroke.

Dense flow is at a loss on a card with letters, whose ground shows nothing. What moves all of it, gate weave or a pan,
is one shift, and every stroke helps to measure that.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane


@dataclass(frozen=True, kw_only=True)
class ShiftFit:
    """How one shift is fitted to a whole picture.

    Attributes:
        blur: Pixels of the blur before gradients are taken: without it grain is most of their energy.
        steps: Gauss-Newton steps at most.
        largest_step: Pixels of a step: a linear picture holds no farther.
        enough: Pixels of a step below which the shift is exact enough: no stroke shows a hundredth.
        samples_on_side: Pixels of the longer side that are looked at, at most; a shift is one pair of numbers.
        least_spread: Grey levels of the error that are taken for grain at least.
        largest_error: Grey levels up to which an error counts in that spread; more is something that moves.
        ridge: Share by which the curvature is raised: a picture that shows lines of one direction has none across.
    """

    blur: float = 1.0
    steps: int = 5
    largest_step: float = 1.0
    enough: float = 0.01
    samples_on_side: int = 240
    least_spread: float = 2.0
    largest_error: float = 40
    ridge: float = 1e-3


_SHIFT = ShiftFit()


def whole_shift(frame: Plane, other: Plane, start: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the shift (2,) in pixels, x and y, that most of a frame's structure follows.

    Robust least squares on the gradients (B. D. Lucas, T. Kanade, IJCAI 1981; weights after Geman and McClure), with an
    offset for flicker.

    Args:
        frame: (H, W), grey levels.
        other: (H, W), the frame that is looked up: other(p + shift) looks like frame(p).
        start: (2,), where to begin, pixels.
    """
    height, width = frame.shape
    step = -(-max(height, width) // _SHIFT.samples_on_side)
    part = np.s_[::step, ::step]
    here, there = (cv2.GaussianBlur(luma, (0, 0), _SHIFT.blur) for luma in (frame, other))
    slope_x = cv2.Scharr(here, cv2.CV_32F, 1, 0, scale=1 / 32)[part]
    slope_y = cv2.Scharr(here, cv2.CV_32F, 0, 1, scale=1 / 32)[part]
    target = here[part]
    x, y = (np.ascontiguousarray(plane, np.float32) for plane in np.meshgrid(
        np.arange(0, width, step, dtype=np.float32), np.arange(0, height, step, dtype=np.float32)
    ))  # fmt: skip
    shift = start.astype(np.float64)
    for _ in range(_SHIFT.steps):
        look = cv2.remap(
            there, x + np.float32(shift[0]), y + np.float32(shift[1]), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        error = look - target
        spread = max(
            _SHIFT.least_spread,
            2 * float(np.sqrt(np.mean(np.square(np.clip(error, -_SHIFT.largest_error, _SHIFT.largest_error))))),
        )
        weight = 1 / np.square(1 + np.square(error / spread))
        design = np.stack([slope_x.ravel(), slope_y.ravel(), np.ones(error.size, np.float32)])
        weighted = design * weight.ravel()
        normal = (weighted @ design.T).astype(np.float64)
        normal[[0, 1], [0, 1]] *= 1 + _SHIFT.ridge
        normal[[0, 1, 2], [0, 1, 2]] += 1e-6
        change = np.linalg.solve(normal, (weighted @ error.ravel()).astype(np.float64))[:2]
        shift -= np.clip(change, -_SHIFT.largest_step, _SHIFT.largest_step)
        if np.abs(change).max() < _SHIFT.enough:
            break
    return shift.astype(np.float32)

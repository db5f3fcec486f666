"""How the picture as a whole has moved between two frames, exactly enough for letters of one pixel's stroke.

Dense flow is at a loss on a card with letters, whose ground shows nothing. What moves all of it, gate weave or a pan,
is one shift, and every stroke helps to measure that.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane

_BLUR = 1.0
_STEPS = 5
_LARGEST_STEP = 1.0
# Every so many pixels of the longer side are looked at; a shift is one pair of numbers.
_SAMPLES_ON_SIDE = 480
_LEAST_SPREAD = 2.0
_RIDGE = 1e-3


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
    step = max(1, max(height, width) // _SAMPLES_ON_SIDE)
    part = np.s_[::step, ::step]
    here, there = (cv2.GaussianBlur(luma, (0, 0), _BLUR) for luma in (frame, other))
    slope_x = cv2.Scharr(here, cv2.CV_32F, 1, 0, scale=1 / 32)[part]
    slope_y = cv2.Scharr(here, cv2.CV_32F, 0, 1, scale=1 / 32)[part]
    target = here[part]
    x, y = (np.ascontiguousarray(plane, np.float32) for plane in np.meshgrid(
        np.arange(0, width, step, dtype=np.float32), np.arange(0, height, step, dtype=np.float32)
    ))  # fmt: skip
    shift = start.astype(np.float64)
    for _ in range(_STEPS):
        look = cv2.remap(
            there, x + np.float32(shift[0]), y + np.float32(shift[1]), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        error = look - target
        spread = max(_LEAST_SPREAD, 2 * float(np.sqrt(np.mean(np.square(np.clip(error, -40, 40))))))
        weight = 1 / np.square(1 + np.square(error / spread))
        design = np.stack([slope_x.ravel(), slope_y.ravel(), np.ones(error.size, np.float32)])
        weighted = design * weight.ravel()
        normal = (weighted @ design.T).astype(np.float64)
        normal[[0, 1], [0, 1]] *= 1 + _RIDGE
        normal[[0, 1, 2], [0, 1, 2]] += 1e-6
        change = np.linalg.solve(normal, (weighted @ error.ravel()).astype(np.float64))[:2]
        shift -= np.clip(change, -_LARGEST_STEP, _LARGEST_STEP)
        if np.abs(change).max() < 0.01:
            break
    return shift.astype(np.float32)

"""Planes that are looked up between their pixels without becoming soft.

Bilinear interpolation halfway between two pixels halves the finest detail, so an average over moving pictures would be
softer than one over still ones. A plane is therefore made twice as large first, its own pixels kept and those between
them interpolated with six taps, and looked up bilinearly in that: nowhere more than a quarter of a pixel from a sample.
The taps are those of the half-sample filter of Rec. ITU-T H.264 (8.4.2.2.1).
"""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane


@dataclass(frozen=True, kw_only=True)
class HalfPixelTaps:
    """How planes are looked up.

    Attributes:
        fine_side: Pixels of the longer side up to which a plane is made twice as large first. The grain and the lens
            spread the finest detail of larger scans over several pixels, and the planes would fill the memory.
        taps: Factors of the pixels around a place halfway between two of them; their sum is 1.
    """

    fine_side: int = 1100
    taps: tuple[float, ...] = (1 / 32, -5 / 32, 20 / 32, 20 / 32, -5 / 32, 1 / 32)


HALF_PIXEL = HalfPixelTaps()
_TAPS = np.array(HALF_PIXEL.taps, np.float32)
_NONE = np.ones(1, np.float32)
"""The factor of a pixel along the side that is not made larger."""
_MIDDLE = len(HALF_PIXEL.taps) // 2 - 1
"""Pixels between the first that a tap stands for and the one before the place."""
_BORDER = cv2.BORDER_REPLICATE


class Samples:
    """A picture that is looked up between its pixels.

    Args:
        picture: (H, W) or (H, W, C) float32.
        fine: Whether to make it twice as large first, where it is not too large for that.
        lifted: What is added to its values.

    Attributes:
        scale: Samples to a pixel, down and across.
    """

    def __init__(self, picture: Plane, *, fine: bool = True, lifted: float = 0.0) -> None:
        if lifted:
            picture = cv2.add(picture, np.full(1, lifted))
        large = fine and max(picture.shape[:2]) <= HALF_PIXEL.fine_side
        self.scale = 2 if large else 1
        self._samples = _twice_as_large(picture) if large else picture

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self._samples.nbytes)

    def at(self, place: Plane) -> Plane:
        """Look the picture up at places (n, m, 2), samples, x first; beyond the border its nearest one is taken."""
        # The path with maps of single precision is three times as fast as the one with fixed-point maps, and finer.
        return cast(Plane, cv2.remap(self._samples, place, cast(NDArray, None), cv2.INTER_LINEAR, borderMode=_BORDER))


def _twice_as_large(picture: Plane) -> Plane:
    """Twice as many rows and columns: pixel (y, x) is at (2 y, 2 x)."""
    height, width = picture.shape[:2]
    anchor = (_MIDDLE, 0)
    between = cv2.sepFilter2D(picture, -1, _TAPS, _NONE, anchor=anchor, borderType=_BORDER)
    if picture.ndim == 2:
        # Two channels side by side are the pixels and those between them in turn.
        wide = cv2.merge([picture, between]).reshape(height, 2 * width)
    else:
        wide = np.empty((height, 2 * width, picture.shape[2]), np.float32)
        wide[:, 0::2], wide[:, 1::2] = picture, between
    result = np.empty((2 * height, *wide.shape[1:]), np.float32)
    result[0::2] = wide
    result[1::2] = cv2.sepFilter2D(wide, -1, _NONE, _TAPS, anchor=anchor[::-1], borderType=_BORDER)
    return result

"""What surely is damage, replaced by what the neighbours in time show, so that it does not pull at the motion.

A spot of a dozen pixels of dirt outweighs the picture in every patch that it lies in. A quick look along a rough motion
finds the plainest of them: brighter or darker than both neighbours, whose agreement tells what belongs there. What is
replaced here is replaced for the measurement only.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray, Plane
from ...video.flow import fill_masked
from .field import enlarged_plane


@dataclass(frozen=True, kw_only=True)
class PlainTests:
    """What is plainly damage on the grid, whose cells are two pixels of an ordinary film wide.

    Attributes:
        surroundings: Cells on each side of the square in the neighbours that may explain a cell.
        surely_new: Grey levels beyond everything that both neighbours show there, from which on a cell is a seed. What
            is taken off wrongly leaves the motion there as quick as it was, so grain must not pass.
        contrast: Share of the contrast that the neighbours show there that is added to that: what is narrower than a
            cell shows by half in one frame and in full in the next.
        around: Cells on each side of the square around a seed in which others may belong to it.
        new: Grey levels beyond both neighbours at the place, from which on they do.
        agreement: Share of what stands out by which the neighbours may differ from each other around it.
        agreement_window: Cells on each side of the square over which they are compared.
        patch: Cells on each side of the square by which holes are widened before motion is carried into them: the
            patches that motion is measured on have 8 on a side; those that reach into a hole show part of it.
    """

    surroundings: int = 3
    surely_new: float = 12.0
    contrast: float = 0.5
    around: int = 3
    new: float = 6.0
    agreement: float = 0.7
    agreement_window: int = 5
    patch: int = 9


_PLAIN = PlainTests()
_SQUARE, _AROUND, _PATCH = (np.ones((n, n), np.uint8) for n in (_PLAIN.surroundings, _PLAIN.around, _PLAIN.patch))


@dataclass(frozen=True, eq=False)
class PlainDamage:
    """What plain damage adds to a frame, held for the few pixels that it lies on.

    Attributes:
        shape: (h, w) of the frame that it was found on.
        place: (N,) places of the pixels in the flattened frame.
        added: (N,) float32, grey levels.
    """

    shape: tuple[int, int]
    place: NDArray[np.int32]
    added: FloatArray

    @classmethod
    def of(cls, frame: Plane, found: BoolArray, expected: Plane) -> "PlainDamage":
        """Hold what a frame (h, w) has over what is expected, where damage was found."""
        place = np.flatnonzero(found).astype(np.int32)
        return cls((frame.shape[0], frame.shape[1]), place, (frame.ravel()[place] - expected.ravel()[place]))

    def taken_off(self, frame: FloatArray) -> FloatArray:
        """Return a frame (H, W) without it; of another size than the one it was found on, it is enlarged."""
        if not len(self.place):
            return frame
        if frame.shape == self.shape:
            result = frame.copy()
            result.reshape(-1)[self.place] -= self.added
            return result
        plane = np.zeros(self.shape, np.float32)
        plane.reshape(-1)[self.place] = self.added
        return frame - enlarged_plane(plane, (frame.shape[0], frame.shape[1]))


def outside(frame: Plane, low: Plane, high: Plane) -> FloatArray:
    """Signed distance (H, W) of a frame to the interval [low, high], positive above it."""
    above, below = frame - high, low - frame
    return np.maximum(above, 0, out=above) - np.maximum(below, 0, out=below)


def plainly_damaged(
    frame: FloatArray, first: FloatArray, second: FloatArray, known: BoolArray | None = None
) -> BoolArray:
    """Tell where a frame plainly shows something that neither neighbour does.

    Args:
        frame: (H, W), grey levels.
        first: (H, W), a neighbour along the motion, in the brightness of the frame.
        second: (H, W), the other one.
        known: (H, W), what a simpler motion explains, where nothing is new; None is nowhere.
    """
    spike = outside(frame, cv2.min(first, second), cv2.max(first, second))
    low = cv2.min(cv2.erode(first, _SQUARE), cv2.erode(second, _SQUARE))
    high = cv2.max(cv2.dilate(first, _SQUARE), cv2.dilate(second, _SQUARE))
    novelty = np.abs(outside(frame, low, high))
    if known is not None:
        novelty[known] = 0.0
    strength = np.abs(spike)
    # A line of a pixel or two, brighter or darker than both sides, is told by its contrast in the neighbours.
    least = np.float32(_PLAIN.surely_new) + np.float32(_PLAIN.contrast) * (high - low)
    seeds = (novelty > least) & (
        cv2.blur(cv2.absdiff(first, second), (_PLAIN.agreement_window,) * 2) < _PLAIN.agreement * strength
    )
    found = (cv2.dilate(seeds.view(np.uint8), _AROUND) > 0) & (strength > _PLAIN.new)
    return cv2.dilate(found.view(np.uint8), _SQUARE).view(bool)


def carried_into(holes: BoolArray, flow: FloatArray) -> FloatArray:
    """Carry a flow (h, w, 2) into holes (h, w), and into the patches that these reach, from around them."""
    around = cv2.dilate(holes.view(np.uint8), _PATCH) > 0
    return np.dstack([fill_masked(np.ascontiguousarray(flow[..., axis]), around) for axis in (0, 1)])

"""Where one frame of a shot finds its pixels in another one, held as coarsely as it was measured."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray
from ...video.warping import CONSISTENCY_OFFSET, CONSISTENCY_SLOPE, inside_array, warp_array


@dataclass(frozen=True, kw_only=True)
class MotionAround:
    """How the motion of what surrounds a place is had, over about 80×80 pixels.

    Attributes:
        step: Pixels of a frame over which a motion is averaged before the median is taken of it.
        median: Averages on each side of that median, odd: what is smaller than half of it does not show.
    """

    step: int = 16
    median: int = 5


_SURROUNDINGS = MotionAround()
_SUM = np.ones((1, 2), np.float32)
"""Factors of the two channels of a motion in their sum."""


@dataclass(frozen=True, eq=False)
class MotionField:
    """The motion from one frame to another.

    A pixel of the frame has many pixels of a large scan to one value here: motion is measured on a grid, and made as
    large as the frame, or a part of it, when it is used.

    Attributes:
        grid: (h, w, 2) float32, in pixels of the frame, x first: what is at p here is at p + grid(p) in the other.
        size: (H, W) of the frame.
    """

    grid: FloatArray
    size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.grid.nbytes)

    def full(self) -> FloatArray:
        """The motion of every pixel, (H, W, 2)."""
        return enlarged_plane(self.grid, self.size)

    def resized(self, height: int, width: int) -> FloatArray:
        """The motion averaged to another size, (height, width, 2), still in pixels of the frame."""
        if self.grid.shape[:2] == (height, width):
            return self.grid
        smaller = height < self.grid.shape[0] or width < self.grid.shape[1]
        way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self.grid, (width, height), interpolation=way), np.float32).reshape(
            height, width, 2
        )

    def at(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """The motion at some places of the frame, (h, w, 2); `x` and `y` are (h, w), pixels."""
        return look_up(self.grid, x, y, self.size)

    def around(self) -> "MotionField":
        """The motion of what surrounds a place, over about 80×80 pixels: something fast before it does not show."""
        rows, columns = (max(1, side // _SURROUNDINGS.step) for side in self.size)
        coarse = self.resized(rows, columns)
        planes = [cv2.medianBlur(np.ascontiguousarray(coarse[..., axis]), _SURROUNDINGS.median) for axis in (0, 1)]
        return MotionField(np.dstack(planes), self.size)

    def then(self, onward: "MotionField") -> "MotionField":
        """Follow this motion to the other frame, and from there on the motion that lives there."""
        return MotionField(self.grid + warp_array(onward.grid, self.in_cells()), self.size)

    def in_cells(self) -> FloatArray:
        """The motion in cells of the grid, as looking up on the grid needs it."""
        height, width = self.grid.shape[:2]
        return scaled(self.grid, width / self.size[1], height / self.size[0])

    def error(self, back: "MotionField") -> FloatArray:
        """How far from its start one comes out who follows this motion and the opposite one back, (h, w), pixels."""
        apart = self.grid + warp_array(back.grid, self.in_cells())
        return np.asarray(cv2.magnitude(apart[..., 0], apart[..., 1]), np.float32)

    def holds(self, back: "MotionField") -> BoolArray:
        """Where the opposite motion leads back to the start, and the other frame is not left, (h, w).

        N. Sundaram, T. Brox, K. Keutzer, "Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow",
        ECCV 2010, equation 5; see `warping.consistency`.
        """
        cells = self.in_cells()
        returned = warp_array(back.grid, cells)
        # Sums over the two channels as products with a row of ones: many times as fast as along NumPy's last axis.
        apart = cv2.add(self.grid, returned)
        error = cv2.transform(cv2.multiply(apart, apart), _SUM)
        squares = cv2.add(cv2.multiply(self.grid, self.grid), cv2.multiply(returned, returned))
        most = cv2.transform(squares, _SUM * np.float32(CONSISTENCY_SLOPE))
        return np.asarray(error < most + np.float32(CONSISTENCY_OFFSET), bool) & inside_array(cells)


def scaled(flow: FloatArray, across: float, down: float) -> FloatArray:
    """Multiply a motion (h, w, 2) by a factor in each direction."""
    if across == down:
        # Many times as fast as two factors along NumPy's last axis.
        return flow * np.float32(across)
    return flow * np.array([across, down], np.float32)


def enlarged_plane(plane: NDArray, size: tuple[int, int]) -> FloatArray:
    """Interpolate (h, w) or (h, w, C) of the grid to frames of `size` = (H, W)."""
    if plane.shape[:2] == tuple(size):
        return plane
    return np.asarray(cv2.resize(plane, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def enlarged_mask(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    """Bring (h, w) of the grid to frames of `size` = (H, W), each pixel as the cell it lies in."""
    if mask.shape == tuple(size):
        return mask
    return cv2.resize(mask.view(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST).view(bool)


def look_up(plane: NDArray, x: FloatArray, y: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Interpolate (h, w) or (h, w, C) of the grid at places of a frame of `size`; (n, m) places, pixels."""
    rows, columns = np.float32(plane.shape[0] / size[0]), np.float32(plane.shape[1] / size[1])
    half = np.float32(0.5)
    return np.asarray(
        cv2.remap(
            plane,
            (x + half) * columns - half,
            (y + half) * rows - half,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )

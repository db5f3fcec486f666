"""The neighbours of a frame, up to three each way, brought to it along the motion of the shot, each of them once.

A neighbour is looked up at the place that the shot's motion leads to, and given the local brightness of the frame. With
it comes where it shows the frame at all: inside the picture, where the opposite motion leads back to the start, and not
in a hole. How well it fits is the mean of what is left of the difference around a pixel.

What is told of one frame by its copy is the frame itself, so copies are left out. Motion does not lead across a frame
that differs from its neighbours as a whole: what lies behind one is left out too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from ...errors import SettingsError
from ...video.buffers.bands import bands
from ...video.buffers.keyed_cache import Once
from ...video.warping import pixel_grid
from ..dirt.references import References, is_duplicate
from ..flicker.local_gain import GAIN, apply_gain, local_gain_of_reduced
from ..motion import shot
from ..motion.field import MotionField, enlarged_mask, enlarged_plane
from ..motion.window import FrameWindow
from .sampling import Samples

REACH = 3
"""Neighbours on each side, in frames, that are looked at at most."""

RADIUS = REACH + 1 + shot.RADIUS
"""What the neighbours of a frame look like depends on so many frames on each side of it: whether the last of them
stands apart shows beside the next one, and the motion between these needs its own surroundings."""


@dataclass(frozen=True, kw_only=True)
class NeighbourSettings:
    """Which neighbours are brought to a frame.

    Attributes:
        reach: Neighbours on each side, 1 … 3 frames.
        box: Pixels on each side of the square over which the difference to a neighbour is averaged, odd: the size of
            the blocks that motion compensation is judged by in denoisers of video.
        hole_margin: Pixels on each side of the square by which holes are widened: interpolation mixes them with what
            is around them.
        both_ways: Whether a neighbour is valid only where the opposite motion leads back to the start. Even areas with
            grain fail in a quarter of their pixels, where it does not matter from which place a neighbour is taken.
    """

    reach: int = REACH
    box: int = 9
    hole_margin: int = 7
    both_ways: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.reach <= REACH:
            raise SettingsError(f"the reach in time is {self.reach} frames; use 1 … {REACH}")
        if self.box < 1 or not self.box % 2 or self.hole_margin < 1 or not self.hole_margin % 2:
            raise SettingsError(
                f"box and hole_margin are {self.box} and {self.hole_margin} pixels; use odd numbers from 1"
            )


@dataclass(frozen=True, eq=False)
class Compensated:
    """A neighbour as it is seen from the rows of a frame.

    Attributes:
        other: Which frame of the window.
        luma: (n, W) float32, grey levels, in the brightness of the frame.
        valid: (n, W) uint8, 255 where it shows the frame, 0 where not.
        misfit: (n, W) float32, grey levels: the mean of |frame − luma| around a pixel.
        place: (n, W, 2) float32, where the pixels were found, x first.
        gain: (n, W) float32, the factor that was applied; see `flicker.local_gain.apply_gain`.
    """

    other: int
    luma: Plane
    valid: Plane
    misfit: Plane
    place: Plane
    gain: Plane

    def cut(self, rows: slice) -> "Compensated":
        """Return some of the rows."""
        return Compensated(
            self.other, self.luma[rows], self.valid[rows], self.misfit[rows], self.place[rows], self.gain[rows]
        )


@dataclass(frozen=True, eq=False)
class CompensatedBand:
    """All neighbours of a frame over a band of its rows.

    Attributes:
        rows: Which rows of the frame.
        frame: (n, W) float32, its luma there.
        neighbours: Those before the frame first.
        core: Which rows of these arrays are the rows of the band; others around them are shown where that was asked
            for.
    """

    rows: slice
    frame: Plane
    neighbours: list[Compensated]
    core: slice


Holes = Callable[[int], BoolArray | None]
"""Tells of a frame of the window where it is damaged, (H, W); None where nothing is known."""


def _no_holes(_: int) -> BoolArray | None:
    return None


_NO_MAP = cast(NDArray, None)
NOT_ASKED: Plane = np.empty((0, 0), np.float32)
"""A plane that was not asked for."""
_WORK_PLANES = 60
"""Planes of single precision that the looks of a band take at their peak, their colours and statistics counted in."""


def misfit(frame: Plane, look: Plane, box: int) -> Plane:
    """Return the mean of the difference of a frame (n, W) to a look at a neighbour (n, W) around a pixel.

    Args:
        frame: Grey levels.
        look: Grey levels.
        box: Pixels on each side of the square that the mean is over.
    """
    return cv2.blur(cv2.absdiff(frame, look), (box, box), borderType=cv2.BORDER_REFLECT)


class Neighbours:
    """The neighbours of the frames of a window; several threads may ask at a time.

    Args:
        frames: Some frames of one shot.
        settings: Defaults to `NeighbourSettings()`.
        holes: Where frames are damaged: nothing is taken from there.
    """

    def __init__(
        self,
        frames: FrameWindow,
        settings: NeighbourSettings | None = None,
        *,
        holes: Holes = _no_holes,
    ) -> None:
        self._frames, self._settings, self._holes = frames, settings or NeighbourSettings(), holes
        self._references = References(frames)
        self._once = Once()

    def of(self, index: int) -> tuple[int, ...]:
        """Tell which frames of the window are the neighbours of one, in their order."""

        def compute() -> tuple[int, ...]:
            return tuple(sorted([*self._beside(index, -1), *self._beside(index, 1)]))

        return self._once.get(("neighbours", index), compute)

    def _beside(self, index: int, step: int) -> Iterator[int]:
        last = index
        for other in range(index + step, index + step * (self._settings.reach + 1), step):
            if not 0 <= other < len(self._frames) or self._references.stands_apart(other):
                return
            if not (self._copies(last, other) or self._copies(index, other)):
                yield other
            last = other

    def _copies(self, first: int, second: int) -> bool:
        first, second = sorted((first, second))
        luma = self._frames.luma
        return self._once.get(("copies", second, first), lambda: is_duplicate(luma[first], luma[second]))

    def nearest_motions(self, index: int) -> list[MotionField]:
        """The motion from a frame to its nearest neighbours, one or two; none where it has no neighbours."""
        others = self.of(index)
        least = min((abs(other - index) for other in others), default=0)
        return [self._frames.between(index, other) for other in others if abs(other - index) == least]

    def compensated(self, index: int) -> Iterator[CompensatedBand]:
        """Bring the neighbours of a frame to it.

        Args:
            index: Of the frame in the window.

        Yields:
            Bands of rows that make up the frame, from the top.
        """
        for band in self.looked_up(index, self._settings.box // 2):
            seen = [
                replace(shown, misfit=misfit(band.frame, shown.luma, self._settings.box)).cut(band.core)
                for shown in band.neighbours
            ]
            frame = band.frame[band.core]
            yield CompensatedBand(band.rows, frame, seen, slice(0, len(frame)))

    def looked_up(self, index: int, around: int) -> Iterator[CompensatedBand]:
        """Bring the neighbours of a frame to it without asking how well they fit.

        Args:
            index: Of the frame in the window.
            around: Rows on each side of a band that are shown beside it, as far as there are such.

        Yields:
            Bands of rows that make up the frame, from the top. Every `misfit` is empty.
        """
        height, width = self._frames.size
        frame, others = self._frames.luma[index], self.of(index)
        gains = {other: self.gain(index, other) for other in others}
        for band in bands(height, width, around, granularity=2, planes=_WORK_PLANES):
            rows = band.around
            seen = [self._look(index, other, rows, gains[other]) for other in others]
            yield CompensatedBand(band.rows, frame[rows], seen, band.within(1))

    def _look(self, index: int, other: int, rows: slice, gain_field: Plane) -> Compensated:
        place = self._place(index, other, rows)
        gain = gain_field[rows]
        luma = apply_gain(self._samples(other).at(place), gain)
        valid = self._shown(other, place)
        if self._settings.both_ways:
            holds = enlarged_mask(self._frames.holds(index, other), self._frames.size)[rows]
            # 0 or 255, times 0 or 1.
            valid = cv2.multiply(valid, holds.view(np.uint8))
        return Compensated(other, luma, valid, NOT_ASKED, place, gain)

    def _place(self, index: int, other: int, rows: slice) -> Plane:
        """Where the pixels of some rows of a frame are found in another one, (n, W, 2)."""
        motion = self._frames.between(index, other)
        height, width = self._frames.size
        grid = pixel_grid(height, width)[rows]
        if rows == slice(0, height):
            return cv2.add(enlarged_plane(motion.grid, (height, width)), grid)
        x, y = cv2.split(grid)
        return cv2.add(motion.at(np.asarray(x, np.float32), np.asarray(y, np.float32)), grid)

    def _shown(self, other: int, place: Plane) -> Plane:
        """Where places (n, W, 2) lie in the picture of a frame and in none of its holes, (n, W), 255 or 0."""
        height, width = self._frames.size
        holes = self._widened_holes(other)
        if holes is None:
            return np.asarray(cv2.inRange(place, (0.0, 0.0), (width - 1.0, height - 1.0)), np.uint8)
        damaged = cv2.remap(holes, place, _NO_MAP, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=255)
        return np.asarray(cv2.bitwise_not(damaged), np.uint8)

    def _widened_holes(self, index: int) -> Plane | None:
        def compute() -> Plane | None:
            holes = self._holes(index)
            if holes is None or not holes.any():
                return None
            square = np.ones((self._settings.hole_margin,) * 2, np.uint8)
            return np.asarray(cv2.dilate(holes.view(np.uint8) * np.uint8(255), square), np.uint8)

        return self._once.get(("holes", index), compute)

    def _samples(self, index: int) -> Samples:
        return self._once.get(("samples", index), lambda: Samples(self._frames.luma[index]))

    def _colours(self, index: int) -> Samples:
        return self._once.get(("colours", index), lambda: Samples(self._frames.colour(index)))

    def colour(self, look: Compensated) -> Plane:
        """Return the colours of a neighbour, (n, W, C) grey levels, where its luma was looked up, in its brightness."""
        return apply_gain(self._colours(look.other).at(look.place), look.gain)

    def _reduced(self, index: int) -> Plane:
        def compute() -> Plane:
            height, width = self._frames.size
            size = (max(1, width // GAIN.shrink), max(1, height // GAIN.shrink))
            return cv2.resize(self._frames.luma[index], size, interpolation=cv2.INTER_AREA)

        return self._once.get(("reduced", index), compute)

    def gain(self, index: int, other: int) -> Plane:
        """What gives a neighbour the local brightness of a frame, (H, W)."""
        here, there = self._reduced(index), self._reduced(other)
        height, width = here.shape
        size = self._frames.size
        cells = self._frames.between(index, other).resized(height, width)
        cells = cells * np.array([width / size[1], height / size[0]], np.float32)
        place = cv2.add(cells, pixel_grid(height, width))
        look = cv2.remap(there, place, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return local_gain_of_reduced(look, here, None, size)

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold here; they may still be asked for."""
        self._once.forget(lambda key: key[1] < before)

"""The neighbours of a frame, up to three each way, brought to it along the motion of the shot, each of them once.

A neighbour is looked up at the place that the shot's motion leads to, and given the local brightness of the frame. With
it comes where it shows the frame at all: inside the picture, and not in a hole.

What is told of one frame by its copy is the frame itself, so copies are left out. Motion does not lead across a frame
that differs from its neighbours as a whole: what lies behind one is left out too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from ...errors import SettingsError
from ...video.buffers.bands import bands
from ...video.buffers.keyed_cache import Once
from ...video.warping import pixel_grid
from ..dirt.references import COPY, References, is_duplicate
from ..flicker.local_gain import GAIN, local_gain_of_reduced
from ..motion import shot
from ..motion.field import MotionField, enlarged_plane, scaled
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
        hole_margin: Cells of the grid of the motion on each side of the square by which holes are widened, odd:
            interpolation mixes them with what is around them.
    """

    reach: int = REACH
    hole_margin: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.reach <= REACH:
            raise SettingsError(f"the reach in time is {self.reach} frames; use 1 … {REACH}")
        if self.hole_margin < 1 or not self.hole_margin % 2:
            raise SettingsError(f"hole_margin is {self.hole_margin} cells; use odd numbers from 1")


@dataclass(frozen=True, eq=False)
class Compensated:
    """A neighbour as it is seen from the rows of a frame.

    Attributes:
        other: Which frame of the window.
        light: (n, W) float32, grey levels above the pedestal of `GAIN`, in the brightness of the frame.
        valid: (n / 2, W / 2) uint8, 255 where it shows the frame, 0 where not; None where it does everywhere.
        place: (n, W, 2) float32, where the pixels were found, samples, x first.
        gain: (n, W) float32, the factor that was applied to the light.
    """

    other: int
    light: Plane
    valid: Plane | None
    place: Plane
    gain: Plane


@dataclass(frozen=True, eq=False)
class CompensatedBand:
    """All neighbours of a frame over a band of its rows.

    Attributes:
        rows: Which rows of the frame.
        frame: (n, W) float32, its light there, as that of its neighbours.
        neighbours: Those before the frame first.
        core: Which rows of these arrays are the rows of the band; the others around them are shown beside.
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
_WORK_PLANES = 60
"""Planes of single precision that the looks of a band take at their peak, their colours and statistics counted in."""


def halved(plane: Plane) -> Plane:
    """Average the squares of two by two pixels of a plane (n, W): (⌈n / 2⌉, ⌈W / 2⌉); the last odd ones count twice."""
    height, width = plane.shape[:2]
    if height % 2 or width % 2:
        plane = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        height, width = plane.shape[:2]
    return cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def doubled(plane: Plane, shape: tuple[int, int], way: int = cv2.INTER_LINEAR) -> Plane:
    """Bring a plane that was halved back to the shape (n, W) that it had."""
    height, width = plane.shape[:2]
    large = cv2.resize(plane, (2 * width, 2 * height), interpolation=way)
    return large if large.shape[:2] == shape else np.ascontiguousarray(large[: shape[0], : shape[1]])


class Neighbours:
    """The neighbours of the frames of a window; several threads may ask at a time.

    Args:
        frames: Some frames of one shot.
        settings: Defaults to `NeighbourSettings()`.
        holes: Where frames are damaged: nothing is taken from there.
    """

    def __init__(
        self, frames: FrameWindow, settings: NeighbourSettings | None = None, *, holes: Holes = _no_holes
    ) -> None:
        self.frames, self._settings, self._holes = frames, settings or NeighbourSettings(), holes
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
            if not 0 <= other < len(self.frames) or self._references.stands_apart(other):
                return
            if not (self._copies(last, other) or self._copies(index, other)):
                yield other
            last = other

    def _copies(self, first: int, second: int) -> bool:
        first, second = sorted((first, second))

        def compute() -> bool:
            # Averaged squares of pixels differ by no more than the pixels do: most pairs are told from those.
            if float(cv2.absdiff(self._reduced(first), self._reduced(second)).mean()) > COPY.mean:
                return False
            return is_duplicate(self.frames.luma[first], self.frames.luma[second])

        return self._once.get(("copies", second, first), compute)

    def nearest_motions(self, index: int) -> list[MotionField]:
        """The motion from a frame to its nearest neighbours, one or two; none where it has no neighbours."""
        others = self.of(index)
        least = min((abs(other - index) for other in others), default=0)
        return [self.frames.between(index, other) for other in others if abs(other - index) == least]

    def looked_up(self, index: int, around: int) -> Iterator[CompensatedBand]:
        """Bring the neighbours of a frame to it.

        Args:
            index: Of the frame in the window.
            around: Rows on each side of a band that are shown beside it, as far as there are such.

        Yields:
            Bands of rows that make up the frame, from the top.
        """
        height, width = self.frames.size
        others = self.of(index)
        frame = cv2.add(self.frames.luma[index], np.full(1, GAIN.pedestal))
        whole = [(other, self.gain(index, other), self._shown(index, other)) for other in others]
        # They are planes of the frame's size, and nobody asks for them once more.
        self._once.forget(lambda key: key[:2] == ("gain", index))
        for band in bands(height, width, around, granularity=2, planes=_WORK_PLANES):
            rows = band.around
            half = slice(rows.start // 2, (rows.stop + 1) // 2)
            seen = []
            for other, gain, valid in whole:
                place = self._place(index, other, rows)
                light = self._samples(other).at(place)
                cv2.multiply(light, gain[rows], dst=light)
                seen.append(Compensated(other, light, None if valid is None else valid[half], place, gain[rows]))
            yield CompensatedBand(band.rows, frame[rows], seen, band.within(1))

    def _place(self, index: int, other: int, rows: slice) -> Plane:
        """Where the pixels of some rows of a frame are found in the samples of another one, (n, W, 2)."""
        motion = self.frames.between(index, other)
        height, width = self.frames.size
        scale = self._samples(other).scale
        grid = pixel_grid(height, width, scale)[rows]
        if rows == slice(0, height):
            flow = enlarged_plane(motion.grid, (height, width))
        else:
            x, y = cv2.split(pixel_grid(height, width)[rows])
            flow = motion.at(np.asarray(x, np.float32), np.asarray(y, np.float32))
        return cv2.add(flow, grid) if scale == 1 else cv2.scaleAdd(flow, float(scale), grid)

    def _shown(self, index: int, other: int) -> Plane | None:
        """Where a frame is in the picture of another one and in none of its holes; as `Compensated.valid`."""
        height, width = self.frames.size
        motion = self.frames.between(index, other)
        cells, holes = motion.grid.shape[:2], self._widened_holes(other, motion)
        place = cv2.add(motion.in_cells(), pixel_grid(*cells))
        if holes is None:
            # From the first pixel's centre to that of the last.
            first = tuple(0.5 * cells[axis] / self.frames.size[axis] - 0.5 for axis in (1, 0))
            last = tuple(cells[axis] - 1 - edge for axis, edge in zip((1, 0), first, strict=True))
            valid = np.asarray(cv2.inRange(place, first, last), np.uint8)
        else:
            way, beyond = cv2.INTER_NEAREST, cv2.BORDER_CONSTANT
            damaged = cv2.remap(holes, place, _NO_MAP, way, borderMode=beyond, borderValue=255)
            valid = np.asarray(cv2.bitwise_not(damaged), np.uint8)
        if cv2.countNonZero(valid) == valid.size:
            return None
        size = ((width + 1) // 2, (height + 1) // 2)
        return valid if valid.shape == size[::-1] else cv2.resize(valid, size, interpolation=cv2.INTER_NEAREST)

    def _widened_holes(self, index: int, motion: MotionField) -> Plane | None:
        """The cells of the grid of a motion that a hole of a frame reaches, and those around them, 255 or 0."""

        def compute() -> Plane | None:
            holes = self._holes(index)
            if holes is None or not holes.any():
                return None
            height, width = motion.grid.shape[:2]
            reached = cv2.resize(holes.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 0
            square = np.ones((self._settings.hole_margin,) * 2, np.uint8)
            return np.asarray(cv2.dilate(reached.view(np.uint8) * np.uint8(255), square), np.uint8)

        return self._once.get(("holes", index), compute)

    def _samples(self, index: int) -> Samples:
        return self._once.get(("samples", index), lambda: Samples(self.frames.luma[index], lifted=GAIN.pedestal))

    def _chroma(self, index: int) -> Samples:
        return self._once.get(("chroma", index), lambda: Samples(self.frames.chroma(index), fine=False))

    def chroma(self, look: Compensated) -> Plane:
        """Return R − Y and B − Y of a neighbour, (n, W, 2) grey levels, where its luma was found, in its brightness."""
        place = look.place if self._samples(look.other).scale == 1 else look.place * np.float32(0.5)
        colour = self._chroma(look.other).at(place)
        return cv2.multiply(colour, cv2.merge([look.gain, look.gain]), dst=colour)

    def _reduced(self, index: int) -> Plane:
        def compute() -> Plane:
            height, width = self.frames.size
            size = (max(1, width // GAIN.shrink), max(1, height // GAIN.shrink))
            return cv2.resize(self.frames.luma[index], size, interpolation=cv2.INTER_AREA)

        return self._once.get(("reduced", index), compute)

    def gain(self, index: int, other: int) -> Plane:
        """What gives a neighbour the local brightness of a frame, (H, W)."""

        def compute() -> Plane:
            here, there = self._reduced(index), self._reduced(other)
            height, width = here.shape
            size = self.frames.size
            grid = cv2.resize(self.frames.between(index, other).grid, (width, height), interpolation=cv2.INTER_LINEAR)
            place = cv2.add(scaled(np.asarray(grid), width / size[1], height / size[0]), pixel_grid(height, width))
            look = cv2.remap(there, place, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            return local_gain_of_reduced(look, here, None, size)

        return self._once.get(("gain", index, other), compute)

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold here; they may still be asked for."""
        self._once.forget(lambda key: key[1] < before)

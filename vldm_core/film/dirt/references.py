"""Which two frames a frame is held against: the nearest ones that are no copies of it and that can be compared with it.

A copy would show the dirt of its own original, so copies are stepped over. Where a film is drawn and each drawing shown
twice, what both frames show was drawn: there is nothing to be looked for, and dirt on one of them makes them differ.

A frame that differs from both its neighbours as a whole, hazed,
burnt, blank or lit by a flash, tells nothing of the places of a speck in them, nor they of those in it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import Plane
from ...video.buffers.keyed_cache import Once
from ...video.warping import warp_array
from ..flicker.local_gain import apply_gain, local_gain
from ..motion import shot
from ..motion.field import MotionField
from ..motion.window import FrameWindow

SIDE = 3
"""Frames on each side that a frame is held against."""

REACH = 5
"""How far from a frame they may lie, in frames; more than `SIDE` only to step over others."""

RADIUS = REACH + 1 + shot.RADIUS
"""Which references a frame has depends on this many neighbours on each side."""


@dataclass(frozen=True, kw_only=True)
class CopyTest:
    """What counts as a copy of the same film frame: it differs by codec noise alone.

    Attributes:
        mean: Grey levels that the two differ by on the average at most.
        window: Pixels on each side of the square over which differences are averaged before the largest is taken.
        peak: Grey levels that the largest is at most: up to 16 at edges on real films; dirt on one of them would show
            above that.
    """

    mean: float = 0.6
    window: int = 3
    peak: float = 18.0


@dataclass(frozen=True, kw_only=True)
class DrawnTest:
    """What counts as a drawing: large parts without any grain; of a film with grain next to nothing is so even.

    Attributes:
        window: Pixels on each side of the square that must be even.
        levels: Grey levels by which the pixels of an even square differ at most.
        clipped: Grey levels below and above which a scan clips: black and white do not count.
        share: Share of the frame that is even at least.
    """

    window: int = 3
    levels: float = 1.0
    clipped: tuple[float, float] = (20.0, 245.0)
    share: float = 0.3


@dataclass(frozen=True, kw_only=True)
class WholeFrameTest:
    """What counts as a frame that differs from its neighbours as a whole.

    Attributes:
        side: Pixels of the longer side at which whole frames are compared: grain and dirt hardly count there.
        block: Pixels on each side of the blocks whose median is taken, which no local thing moves.
        levels: Grey levels by which the median block differs from both neighbours, on one side of them, at least.
        ratio: How many times as much as they differ from each other it differs besides. Frames of moving scenes reach
            half of that difference, a hazed frame 1.35 times, and a blank one 20 times.
    """

    side: int = 160
    block: int = 8
    levels: float = 4.0
    ratio: float = 1.1


COPY = CopyTest()
_DRAWN = DrawnTest()
_APART = WholeFrameTest()


def is_duplicate(frame: Plane, other: Plane) -> bool:
    """Tell whether two frames are scans or copies of the same film frame."""
    difference = cv2.absdiff(frame, other)
    if float(difference.mean()) > COPY.mean:
        return False
    return float(cv2.blur(difference, (COPY.window,) * 2).max()) <= COPY.peak


def is_even(frame: Plane) -> bool:
    """Tell whether a frame shows even colours as a drawing without grain does."""
    square = np.ones((_DRAWN.window, _DRAWN.window), np.uint8)
    even = cv2.dilate(frame, square) - cv2.erode(frame, square) <= _DRAWN.levels
    even &= (frame > _DRAWN.clipped[0]) & (frame < _DRAWN.clipped[1])
    return float(even.mean()) > _DRAWN.share


def differs_as_a_whole(frame: Plane, neighbours: tuple[Plane, Plane], motions: tuple[MotionField, MotionField]) -> bool:
    """Tell whether a frame differs from two neighbours all over, while these are alike.

    Args:
        frame: (H, W), grey levels.
        neighbours: (H, W) each.
        motions: From the frame to each of them.
    """
    here, *others = (_small(plane) for plane in (frame, *neighbours))
    height, width = here.shape
    cells = np.array([width / frame.shape[1], height / frame.shape[0]], np.float32)
    looks = [
        warp_array(other, motion.resized(height, width) * cells) for other, motion in zip(others, motions, strict=True)
    ]
    gap = apply_gain(looks[0], local_gain(looks[0], looks[1])) - looks[1]
    before, after = (here - apply_gain(look, local_gain(look, here)) for look in looks)
    nearer = np.where(before * after > 0, np.minimum(np.abs(before), np.abs(after)), 0)
    apart, between = _median_block(nearer), _median_block(np.abs(gap))
    return apart > _APART.levels and apart > _APART.ratio * between


def _small(plane: Plane) -> Plane:
    height, width = plane.shape
    scale = _APART.side / max(height, width)
    if scale >= 1:
        return plane
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def _median_block(plane: Plane) -> float:
    height, width = (max(1, side // _APART.block) for side in plane.shape)
    return float(np.median(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)))


class References:
    """The references of the frames of one shot; several threads may ask at a time."""

    def __init__(self, frames: FrameWindow) -> None:
        """Look at frames."""
        self._frames, self._luma = frames, frames.luma
        self._once = Once()

    def of(self, index: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Return the frames before and after that a frame is compared with, or None where there are not two in all.

        These are the nearest suitable ones, up to `SIDE` on each side, fewer or none at the ends of a shot.
        """

        def compute() -> tuple[tuple[int, ...], tuple[int, ...]] | None:
            before, after = self._suitable(index, -1), self._suitable(index, 1)
            return (before, after) if len(before) + len(after) > 1 else None

        return self._once.get(("references", index), compute)

    def stands_apart(self, index: int) -> bool:
        """Tell whether a frame differs from its neighbours as a whole."""

        def compute() -> bool:
            others = [other for other in (index - 1, index + 1) if 0 <= other < len(self._luma)]
            if len(others) < 2:
                return False
            first, second = others
            return differs_as_a_whole(
                self._luma[index],
                (self._luma[first], self._luma[second]),
                (self._frames.between(index, first), self._frames.between(index, second)),
            )

        return self._once.get(("apart", index), compute)

    def _suitable(self, index: int, direction: int) -> tuple[int, ...]:
        last = index
        found: list[int] = []
        for other in range(index + direction, index + direction * (REACH + 1), direction):
            if not 0 <= other < len(self._luma) or len(found) == SIDE:
                break
            copy = self._copies(*sorted((other, last)))
            if not copy and not self.stands_apart(other):
                found.append(other)
            if not copy:
                last = other
        return tuple(found)

    def _copies(self, first: int, second: int) -> bool:
        return self._once.get(("copies", first, second), lambda: is_duplicate(self._luma[first], self._luma[second]))

    def drawn_twice(self, index: int) -> bool:
        """Tell whether a frame is a drawing shown for two frames, as the drawing before or after it is."""

        def pair(first: int) -> bool:
            return first >= 0 and first + 1 < len(self._luma) and self._copies(first, first + 1)

        def compute() -> bool:
            if pair(index):
                twice = pair(index - 2) or pair(index + 2)
            else:
                twice = pair(index - 1) and (pair(index - 3) or pair(index + 1))
            return twice and is_even(self._luma[index])

        return self._once.get(("drawn twice", index), compute)

"""What the neighbours of a frame show at each place: up to three on each side, along the motion and in its brightness.

With six of them the order of their values tells more than a mean: dirt on one of them, and motion that one of them did
not follow, stand at an end of the order and leave its middle alone. Rank order detection is from M. J. Nadenau and
S. K. Mitra, "Blotch and scratch detection in image sequences based on rank ordered differences", 1997.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray, Plane
from ...video.buffers.keyed_cache import Once
from ...video.warping import pixel_grid
from ..fill.atlas import Atlas
from ..flicker.local_gain import GAIN, apply_gain, local_gain_of_reduced
from ..motion.field import MotionField
from ..motion.window import FrameWindow
from ..robust import sorted_planes
from .references import RADIUS as REFERENCES_RADIUS
from .references import SIDE, References
from .standing import SAME_REACH, overall_gain, same_place

RADIUS = REFERENCES_RADIUS
"""What the neighbours of a frame show depends on this many frames on each side."""

_BEYOND = -1e6
"""Grey level that is looked up beyond the border: no share of it that interpolation leaves is mistaken for light."""

_ROW = 512
"""Places that are looked up in a row."""


@dataclass(frozen=True, kw_only=True)
class WideGain:
    """Brightness that changes so slowly over the frame that it can be flicker and not a large patch.

    Attributes:
        median: Blocks (see `LocalGain.block`) on each side of the median, odd: a patch of less than half of that does
            not pull it.
        sigma: Blocks over which it is smoothed then.
        largest_inconsistency: Pixels of the forward-backward error that count: where motion is lost, it is lost.
    """

    median: int = 5
    sigma: float = 1.5
    largest_inconsistency: float = 8.0


_WIDE = WideGain()


@dataclass(frozen=True, eq=False)
class FrameLooks:
    """What the neighbours show along the motion to a frame, in its brightness; planes (H, W) float32, grey levels.

    Attributes:
        order: The six values of every pixel, rising. Where a neighbour is missing, others of its side stand twice.
        before: Middle of the three earlier ones; of the later ones where there are none.
        after: Middle of the three later ones.
        nearest: The nearest earlier and later one.
        around: Tells of pixels, by their rows and columns (N,), what each of the nearest ones shows along the motion of
            what surrounds the place, (N,): behind something fast the scene goes on as it does beside it.
        soft: (H / 4, W / 4), middle of all of them in the brightness of the frame as it changes slowly: large patches,
            which the local brightness follows, stand out from it.
        small: (H / 4, W / 4), the frame at that size.
        inconsistency: (h, w) of the grid of the motion, largest forward-backward error to the nearest ones, pixels.
        one_sided: Whether all of them lie on one side.
    """

    order: tuple[Plane, ...]
    before: Plane
    after: Plane
    nearest: tuple[Plane, Plane]
    around: Callable[[NDArray[np.intp], NDArray[np.intp]], list[Plane]]
    soft: Plane
    small: Plane
    inconsistency: Plane
    one_sided: bool

    @property
    def middle(self) -> Plane:
        """The middle of the order: what belongs at each place."""
        return _mean(*self.order[2:4])


class NeighbourLooks:
    """The frames of a window and what their neighbours show; several threads may ask at a time."""

    def __init__(self, frames: FrameWindow) -> None:
        """Look at frames of one shot."""
        self.frames = frames
        self.luma = frames.luma
        self._once = Once()
        self._references = References(frames)

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold; they may still be asked for."""
        self._once.forget(lambda key: key[1] < before - (RADIUS if key[0] == "shown" else 0))
        self.frames.forget(before - RADIUS)

    def references(self, index: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Return the frames before and after that a frame is held against; see `References`."""
        return self._references.of(index)

    def nearest(self, index: int) -> tuple[int, int] | None:
        """Return the nearest frame on each side, or the two nearest ones on one side; None where there are not two."""
        pair = self.references(index)
        if pair is None:
            return None
        before, after = pair
        return (before[0], after[0]) if before and after else (before or after)[:2]  # type: ignore[return-value]

    def stands_apart(self, index: int) -> bool:
        """Tell whether a frame differs from its neighbours as a whole."""
        return self._references.stands_apart(index)

    def can_be_judged(self, index: int) -> bool:
        """Tell whether dirt in a frame can be told from what is shown."""
        return not self.stands_apart(index) and not self._references.drawn_twice(index)

    def motion(self, here: int, there: int) -> MotionField:
        """The motion from a frame to another; what lies between them may be another picture."""
        step = 1 if there > here else -1
        if any(self.stands_apart(between) for between in range(here + step, there, step)):
            return self.frames.directly(here, there)
        return self.frames.between(here, there)

    def level(self, index: int) -> float:
        """The mean of a frame, grey levels."""
        return self._once.get(("level", index), lambda: float(self.luma[index].mean()))

    def same_within(self, index: int, other: int, box: tuple[slice, slice]) -> BoolArray:
        """What two frames show at the same place within a box of rows and columns, which may end beyond the frame."""
        first, second = sorted((index, other))
        around = [slice(max(0, part.start - SAME_REACH), part.stop + SAME_REACH) for part in box]
        here, there = (self.luma[which][around[0], around[1]] for which in (first, second))
        gain = overall_gain(self.level(second), self.level(first))
        same = same_place(here, there * gain, self.frames.grain(first))
        rows, columns = (
            slice(part.start - wide.start, part.stop - wide.start) for part, wide in zip(box, around, strict=True)
        )
        return same[rows, columns]

    def spots(self, atlas: Atlas) -> "SpotLooks":
        """Return what frames show in some boxes of a frame."""
        return SpotLooks(self, atlas)

    def looks(self, index: int) -> FrameLooks | None:
        """Return what the neighbours of a frame show; None where there are not two."""
        return self._once.get(("looks", index), lambda: self._look(index))

    def forget_looks(self, index: int) -> None:
        """Give the memory back that the looks of one frame hold."""
        self._once.forget(lambda key: key == ("looks", index))

    def _look(self, index: int) -> FrameLooks | None:
        pair = self.references(index)
        if pair is None:
            return None
        frame = self.luma[index]
        small = reduced(frame)
        sides = [[self._seen(self.motion(index, other), other, frame, small) for other in side] for side in pair]
        for here, opposite in (sides, sides[::-1]):
            for number, look in enumerate(here):
                # What a neighbour does not show the other side may; what none of them shows explains itself.
                other = opposite[min(number, len(opposite) - 1)] if opposite else None
                if other is not None:
                    there = np.flatnonzero(look.beyond)
                    shown = np.where(other.beyond.ravel()[there], frame.ravel()[there], other.shown.ravel()[there])
                    look.shown.ravel()[there] = shown
        earlier, later = (
            three([look.shown for look in side or sides[1 - number]]) for number, side in enumerate(sides)
        )
        nearest = [side[0] for side in sides if side]
        # What is held for a frame does not hold its holder.
        holder = weakref.proxy(self)
        errors = [look.motion.error(self.motion(look.other, index)) for look in nearest]
        return FrameLooks(
            order=tuple(sorted_planes([*earlier, *later])),
            before=middle_of_three(*earlier),
            after=middle_of_three(*later),
            nearest=(earlier[0], later[0]),
            around=lambda rows, columns: [holder._around(look, frame, rows, columns) for look in nearest],
            soft=_middle([look.small for side in sides for look in side]),
            small=small,
            inconsistency=np.minimum(np.maximum(errors[0], errors[-1]), np.float32(_WIDE.largest_inconsistency)),
            one_sided=not all(sides),
        )

    def _seen(self, motion: MotionField, other: int, frame: Plane, small: Plane) -> "_Look":
        """Look at a neighbour along a motion; where that leads beyond the border, the frame itself stands."""
        place = np.asarray(cv2.add(motion.full(), pixel_grid(*frame.shape)), np.float32)
        look = _remapped(self._shown(other), place)
        beyond = look < -1
        there = np.flatnonzero(beyond)
        look.ravel()[there] = frame.ravel()[there]
        small_look = reduced(look)
        local = local_gain_of_reduced(small_look, small, None, (frame.shape[0], frame.shape[1]))
        wide = apply_gain(small_look, wide_gain(small_look, small))
        return _Look(other, motion, local, apply_gain(look, local), wide, beyond)

    def _shown(self, other: int) -> FloatArray:
        return self._once.get(("shown", other), lambda: self.frames.without_plain_damage(other))

    def _around(self, look: "_Look", frame: Plane, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
        """What a neighbour shows at some pixels (N,) of a frame along the motion of what surrounds them."""
        x, y = (_in_rows(values.astype(np.float32)) for values in (columns, rows))
        place = look.motion.around().at(x, y) + cv2.merge([x, y])
        shown = _remapped(self._shown(look.other), place)
        beyond = shown < -1
        result = apply_gain(shown, look.gain[y.astype(np.intp), x.astype(np.intp)])
        np.copyto(result, frame[y.astype(np.intp), x.astype(np.intp)], where=beyond)
        return np.asarray(result.ravel()[: len(rows)], np.float32)


@dataclass(frozen=True, eq=False)
class _Look:
    """A neighbour along the motion to a frame.

    Attributes:
        other: Its number.
        motion: To it.
        gain: (H, W), what gives it the local brightness of the frame.
        shown: (H, W), grey levels, in that brightness.
        small: (H / 4, W / 4), in the brightness of the frame as it changes slowly.
        beyond: (H, W), where the motion leads beyond the border; the frame itself stands there.
    """

    other: int
    motion: MotionField
    gain: Plane
    shown: Plane
    small: Plane
    beyond: BoolArray


class SpotLooks:
    """What frames show in boxes around the spots of one of them, unmoved or moved as the picture is as a whole.

    Args:
        window: The frames.
        atlas: The boxes.
    """

    def __init__(self, window: NeighbourLooks, atlas: Atlas) -> None:
        self._window, self._atlas = window, atlas
        self._once = Once()

    def luma(self, index: int) -> FloatArray:
        """A frame in the boxes, (h, w) grey levels."""
        return self._once.get(("luma", index), lambda: self._atlas.cut(self._window.luma[index]))

    def unmoved(self, index: int, other: int) -> FloatArray:
        """Another frame in them, in the overall brightness of this one."""
        return self.luma(other) * overall_gain(self._window.level(other), self._window.level(index))

    def carried(self, index: int, other: int) -> FloatArray:
        """The same where the picture as a whole moves from it to this one."""
        step = 1 if other > index else -1
        frames = self._window.frames
        whole = sum(frames.whole(here, here + step) for here in range(index, other, step))
        flow = np.empty((*self._atlas.x.shape, 2), np.float32)
        flow[:] = whole
        return self._atlas.look(self._window.luma[other], flow) * overall_gain(
            self._window.level(other), self._window.level(index)
        )

    def same_place(self, index: int, other: int) -> BoolArray:
        """What two frames show at the same place, (h, w)."""
        first, second = sorted((index, other))

        def compute() -> BoolArray:
            return same_place(self.luma(first), self.unmoved(first, second), self._window.frames.grain(first))

        return self._once.get(("same place", first, second), compute)


def reduced(plane: Plane) -> FloatArray:
    """Average a plane (H, W) to a quarter of its size."""
    height, width = plane.shape
    size = (max(1, width // GAIN.shrink), max(1, height // GAIN.shrink))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def wide_gain(reference: Plane, frame: Plane) -> FloatArray:
    """Return the gain (h, w) of a reduced frame over a reduced reference as far as it changes slowly over the frame."""
    height, width = frame.shape
    rows, columns = max(1, height // GAIN.block), max(1, width // GAIN.block)
    ratio = (frame + GAIN.pedestal) / np.maximum(reference + GAIN.pedestal, GAIN.least_light)
    blocks = cv2.resize(ratio, (columns, rows), interpolation=cv2.INTER_AREA)
    blocks = cv2.GaussianBlur(cv2.medianBlur(blocks, _WIDE.median), (0, 0), _WIDE.sigma)
    return np.clip(cv2.resize(blocks, (width, height), interpolation=cv2.INTER_LINEAR), *GAIN.limits)


def three(looks: list[Plane]) -> list[Plane]:
    """Return three looks of one or more, the farthest one more than once: what lasts is on the nearest ones."""
    return (looks + [looks[-1]] * SIDE)[:SIDE]


def _mean(first: Plane, second: Plane) -> Plane:
    mean = first + second
    mean *= np.float32(0.5)
    return mean


def _middle(planes: list[Plane]) -> FloatArray:
    """Return the middle of up to six planes (h, w), pixel by pixel."""
    order = sorted_planes(planes)
    return np.asarray(_mean(order[(len(order) - 1) // 2], order[len(order) // 2]), np.float32)


def middle_of_three(first: Plane, second: Plane, third: Plane) -> FloatArray:
    """Return the middle value of three planes (H, W)."""
    low, high = cv2.min(first, second), cv2.max(first, second)
    return np.asarray(cv2.max(low, cv2.min(high, third)), np.float32)


def _remapped(plane: Plane, place: FloatArray) -> FloatArray:
    """Look a plane (H, W) up at places (n, m, 2), x first; far below 0 beyond its border."""
    how = cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
    return np.asarray(cv2.remap(plane, place, None, how[0], borderMode=how[1], borderValue=_BEYOND), np.float32)  # type: ignore


def _in_rows(values: FloatArray) -> FloatArray:
    """Lay values (N,) out in rows, filled up with 0: pictures of one row may not be long."""
    rows = -(-len(values) // _ROW) or 1
    return np.pad(values, (0, rows * _ROW - len(values))).reshape(rows, _ROW)

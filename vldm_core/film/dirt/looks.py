"""What the neighbours of a frame show at each place: up to three on each side, along the motion and in its brightness.

With six of them the order of their values tells more than a mean: dirt on one of them, and motion that one of them did
not follow, stand at an end of the order and leave its middle alone. Rank order detection is from M. J. Nadenau and
S. K. Mitra, "Blotch and scratch detection in image sequences based on rank ordered differences", 1997.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import BoolArray, FloatArray, Plane
from ...video.buffers.keyed_cache import Once
from ...video.warping import pixel_grid
from ..flicker.local_gain import GAIN, apply_gain, local_gain_of_reduced
from ..motion.field import MotionField
from ..motion.prediction import shifted
from ..motion.window import FrameWindow
from ..robust import sorted_planes
from .references import RADIUS as REFERENCES_RADIUS
from .references import SIDE, References
from .standing import same_place, staying

RADIUS = REFERENCES_RADIUS
"""What the neighbours of a frame show depends on this many frames on each side."""

_BEYOND = -1e6
"""Grey level that is looked up beyond the border: no share of it that interpolation leaves is mistaken for light."""


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
        around: The least and the most that the nearest ones show along the motion of what surrounds the place: behind
            something fast the scene goes on as it does beside it.
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
    around: tuple[Plane, Plane]
    soft: Plane
    small: Plane
    inconsistency: Plane
    one_sided: bool

    @property
    def middle(self) -> Plane:
        """The middle of the order: what belongs at each place."""
        middle = self.order[2] + self.order[3]
        middle *= np.float32(0.5)
        return middle


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

    def same_place(self, index: int, other: int) -> BoolArray:
        """What two frames show at the same place, (H, W)."""
        first, second = sorted((index, other))

        def compute() -> BoolArray:
            return same_place(self.luma[first], self.luma[second], self.frames.grain(first))

        return self._once.get(("same place", first, second), compute)

    def carried(self, index: int, other: int) -> FloatArray:
        """What another frame shows where the picture as a whole moves from it to this one, (H, W)."""
        step = 1 if other > index else -1
        whole = sum(self.frames.whole(here, here + step) for here in range(index, other, step))
        return shifted(self.luma[other], np.asarray(whole, np.float32))

    def staying(self, index: int) -> BoolArray:
        """What stays at its place longer than dirt does, (H, W)."""
        return self._once.get(
            ("staying", index),
            lambda: staying(index, len(self.luma), lambda other: self.same_place(index, other)),
        )

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
            for number, (look, _, beyond) in enumerate(here):
                # What a neighbour does not show the other side may; what none of them shows explains itself.
                other = opposite[min(number, len(opposite) - 1)] if opposite else None
                if other is not None and beyond.any():
                    np.copyto(look, np.where(other[2], frame, other[0]), where=beyond)
        one_sided = not all(sides)
        earlier, later = (
            three([look for look, _, _ in side or sides[1 - number]]) for number, side in enumerate(sides)
        )
        soft = [small_look for side in sides for _, small_look, _ in side]
        nearest = [side[0] if side else None for side in pair]
        motions = [(other, self.motion(index, other)) for other in nearest if other is not None]
        errors = [motion.error(self.motion(other, index)) for other, motion in motions]
        around = [self._seen(motion.around(), other, frame, small)[0] for other, motion in motions]
        return FrameLooks(
            order=tuple(sorted_planes([*earlier, *later])),
            before=middle_of_three(*earlier),
            after=middle_of_three(*later),
            nearest=(earlier[0], later[0]),
            around=(cv2.min(around[0], around[-1]), cv2.max(around[0], around[-1])),
            soft=np.median(np.stack(soft), axis=0).astype(np.float32),
            small=small,
            inconsistency=np.minimum(np.maximum(errors[0], errors[-1]), np.float32(_WIDE.largest_inconsistency)),
            one_sided=one_sided,
        )

    def _seen(self, motion: MotionField, other: int, frame: Plane, small: Plane) -> tuple[Plane, Plane, BoolArray]:
        """What a neighbour shows along a motion, in the frame's local brightness and, at a quarter, in its slow one.

        The last is where the motion leads beyond the border; the frame itself stands there.
        """
        place = cv2.add(motion.full(), pixel_grid(*frame.shape))
        shown = self._once.get(("shown", other), lambda: self.frames.without_plain_damage(other))
        look = cv2.remap(
            shown,
            place,
            None,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=_BEYOND,  # type: ignore
        )
        beyond = look < -1
        np.copyto(look, frame, where=beyond)
        small_look = reduced(look)
        local = local_gain_of_reduced(small_look, small, None, (frame.shape[0], frame.shape[1]))
        return apply_gain(look, local), apply_gain(small_look, wide_gain(small_look, small)), beyond


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
    """Return three looks of one or more, the nearest ones twice."""
    return (looks * SIDE)[:SIDE]


def middle_of_three(first: Plane, second: Plane, third: Plane) -> FloatArray:
    """Return the middle value of three planes (H, W)."""
    low, high = cv2.min(first, second), cv2.max(first, second)
    return np.asarray(cv2.max(low, cv2.min(high, third)), np.float32)

"""Hold the frames of a shot against their motion-compensated neighbours, each frame once.

Wrong motion is what makes a detector cry wolf, so a neighbour is not looked up once but along several motions, and the
spike is what none of them explains: the motion of each place, the motion of the whole picture, the motion of the wider
surroundings (the background right beside something fast), and the continuation of the motion on the other side. What
the neighbour shows unmoved is no spike either, if it stays there longer than dirt does: see `standing`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray, Plane
from ...video.buffers.keyed_cache import Once
from ...video.warping import warp_array
from ..flicker.local_gain import apply_gain, local_gain
from ..motion.cleaning import outside
from ..motion.field import MotionField, enlarged_plane
from ..motion.prediction import much_better, shifted
from ..motion.window import FrameWindow
from .evidence import Comparison, HeldSide, Side
from .references import RADIUS as REFERENCES_RADIUS
from .references import REACH, References
from .standing import same_place, staying

RADIUS = REACH + REFERENCES_RADIUS
"""What is measured on a frame depends on this many neighbours on each side: its references have references, too."""

_LARGE_PLANE = 4 << 20
"""Bytes of a plane from which on a comparison is held without what can be had from the rest."""

_LARGEST_BESIDE = 13_000_000
"""Bytes of a plane up to which the next frame is compared while one is judged, which takes 40 planes more: up to a 2K
film, where pre-restoration takes more memory than both."""


@dataclass(frozen=True, kw_only=True)
class HoldAgainst:
    """How a frame is held against a reference.

    Attributes:
        surroundings: Pixels on each side of the square around a place, any of which may explain what a frame shows
            there: motion is off by a pixel at an edge.
        largest_inconsistency: Pixels of the forward-backward error that count: where motion is lost, it is lost.
        one_side: Share of its difference from the one reference by which what arrives or leaves differs from the other
            at most.
        side_window: Pixels on each side of the square over which these differences are averaged.
    """

    surroundings: int = 3
    largest_inconsistency: float = 8.0
    one_side: float = 0.25
    side_window: int = 3


_HOLD = HoldAgainst()
_SQUARE = np.ones((_HOLD.surroundings, _HOLD.surroundings), np.uint8)


class Comparisons:
    """The frames of a window, each held against its references when that is first asked for.

    What is measured on a frame depends on the frames within `RADIUS` and not on which others are in the window. Several
    threads may ask at a time.
    """

    def __init__(self, frames: FrameWindow) -> None:
        """Look at frames of one shot."""
        self._frames = frames
        self.luma = frames.luma
        self._once = Once()
        self._references = References(frames)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vldm-comparisons")

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold; they may still be asked for."""
        self._once.forget(lambda key: max(key[1:]) < before)
        self._frames.forget(before - REACH)

    def forget_comparison(self, index: int) -> None:
        """Give the memory back that one comparison holds."""
        self._once.forget(lambda key: key == ("comparison", index))

    def references(self, index: int) -> tuple[int, int] | None:
        """Return the two frames a frame is compared with, or None where there are not two; see `References`."""
        return self._references.of(index)

    def stands_apart(self, index: int) -> bool:
        """Tell whether a frame differs from its neighbours as a whole."""
        return self._references.stands_apart(index)

    def can_be_judged(self, index: int) -> bool:
        """Tell whether dirt in a frame can be told from what is shown."""
        return not self.stands_apart(index) and not self._references.drawn_twice(index)

    def motion(self, here: int, there: int) -> MotionField:
        """The motion from a frame to a reference; what lies between them may be another picture."""
        step = 1 if there > here else -1
        if any(self.stands_apart(between) for between in range(here + step, there, step)):
            return self._frames.directly(here, there)
        return self._frames.between(here, there)

    def same_place(self, index: int, other: int) -> BoolArray:
        """What two frames show at the same place, (H, W)."""
        first, second = sorted((index, other))

        def compute() -> BoolArray:
            return same_place(self.luma[first], self.luma[second], self._frames.grain(first))

        return self._once.get(("same place", first, second), compute)

    def _staying(self, index: int) -> BoolArray:
        """What stays at its place longer than dirt does, (H, W)."""
        return self._once.get(
            ("staying", index),
            lambda: staying(index, len(self.luma), lambda other: self.same_place(index, other)),
        )

    def arrives_or_leaves(self, index: int) -> BoolArray:
        """Tell what one reference does not show and the other does, where it stays longer than dirt does, (H, W).

        Dirt that stays for a few frames looks like that in its first and last one, and so do a letter and a cue mark.
        """
        comparison = self.comparison(index)
        if comparison is None:
            return np.zeros(self.luma.shape[1:], bool)
        before, after = (cv2.blur(side.magnitude, (_HOLD.side_window,) * 2) for side in comparison.sides)
        return self._staying(index) & (cv2.min(before, after) < _HOLD.one_side * cv2.max(before, after))

    def comparison(self, index: int) -> Comparison | None:
        """Hold a frame against its references; None where it has not two."""
        result = self._compared(index)
        # Frames are judged in their order: while the caller does so, a thread prepares the next one, where both fit.
        height, width = self._frames.size
        if index + 1 < len(self.luma) and 4 * height * width <= _LARGEST_BESIDE:
            self._worker.submit(self._compared, index + 1)
        return result

    def _compared(self, index: int) -> Comparison | None:
        def compute() -> Comparison | None:
            pair = self.references(index)
            if pair is None:
                return None
            made = self._hold_against(index, pair)
            frame = self.luma[index]
            if frame.nbytes < _LARGE_PLANE:
                return made
            first, second = (HeldSide(side, frame) for side in made.sides if isinstance(side, Side))
            return Comparison(sides=(first, second), references=pair)

        return self._once.get(("comparison", index), compute)

    def _hold_against(self, index: int, pair: tuple[int, int]) -> Comparison:
        # A motion goes on at the same speed: backwards on the other side of the frame, further on the same side.
        ratio = (pair[1] - index) / (pair[0] - index)
        motions = [self.motion(index, other) for other in pair]
        full = [motion.full() for motion in motions]
        sides = []
        for number, factor in ((0, 1 / ratio), (1, ratio)):
            other, motion = pair[number], motions[number]
            error = motion.error(self.motion(other, index))
            inconsistency = enlarged_plane(
                np.minimum(error, np.float32(_HOLD.largest_inconsistency)), self._frames.size
            )
            sides.append(
                self._compare(
                    index,
                    other,
                    full[number],
                    (motion.around().full(), full[1 - number] * np.float32(factor)),
                    inconsistency,
                )
            )
        return Comparison(sides=(sides[0], sides[1]), references=pair)

    def _compare(
        self, index: int, other: int, flow: FloatArray, ways: tuple[FloatArray, FloatArray], inconsistency: Plane
    ) -> Side:
        """Look a reference up along several motions and hold the frame against all it shows.

        Args:
            index: The frame.
            other: The reference; it is looked up without its spikes.
            flow: (H, W, 2), the motion of each place.
            ways: Other motions, (H, W, 2) each, beside that of the picture as a whole.
            inconsistency: (H, W), pixels.
        """
        frame, reference = self.luma[index], self._frames.without_plain_damage(other)
        # The extremes are taken before the warp: interpolation would take the top off a line one pixel wide.
        stack = cv2.merge([reference, cv2.erode(reference, _SQUARE), cv2.dilate(reference, _SQUARE)])
        dense = warp_array(stack, flow)
        gain = local_gain(np.ascontiguousarray(dense[..., 0]), frame)
        least, most = dense.copy(), dense.copy()
        for look in self._looks(stack, ways, self._frames.whole(index, other)):
            cv2.min(least, look, dst=least)
            cv2.max(most, look, dst=most)
        del stack
        here = apply_gain(dense[..., 0], gain)
        standing = self._staying(index) & self.same_place(index, other)
        if standing.any():
            unmoved = apply_gain(self.luma[other], gain)
            standing = standing & much_better(frame, unmoved, here, self._frames.grain(index))
            here = np.where(standing, unmoved, here)
        spike = outside(frame, apply_gain(least[..., 0], gain), apply_gain(most[..., 0], gain))
        novelty = outside(frame, apply_gain(least[..., 1], gain), apply_gain(most[..., 2], gain))
        # Of what comes from beyond the border a reference knows nothing.
        spike[_beyond(flow) | standing] = 0.0
        np.copyto(novelty, 0, where=spike == 0)
        return Side(
            spike=spike,
            novelty=novelty,
            residual=frame - here,
            look=here,
            detail=(dense[..., 2] - dense[..., 1]) * gain,
            inconsistency=inconsistency,
        )

    @staticmethod
    def _looks(stack: Plane, ways: tuple[FloatArray, ...], whole: NDArray[np.float32]) -> Iterator[Plane]:
        """What a reference shows along each of the other motions, one at a time."""
        yield shifted(stack, whole)
        for way in ways:
            yield warp_array(stack, way)


def _beyond(flow: Plane) -> NDArray[np.bool_]:
    """Where a flow leaves the frame by more than a pixel."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return (x < -1) | (x > width) | (y < -1) | (y > height)

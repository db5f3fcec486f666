"""What a frame shows and its motion-compensated neighbours do not.

The measure is a rank-ordered spike: a pixel is brighter (or darker) than everything that its neighbours in time show
around the place where it should be. It joins the sign-consistent spike detector SDIp (A. C. Kokaram, "Motion Picture
Restoration", Springer 1998, section 6) with the rank order of ROD (M. J. Nadenau and S. K. Mitra, "Blotch and scratch
detection in image sequences based on rank ordered differences", 1997).

Wrong motion is what makes such a detector cry wolf, so a neighbour is not looked up once but along several flows, and
the spike is what none of them explains: the dense flow, the motion of the whole picture, the dense flow smoothed over
a wide window (the background right beside something fast), and the continuation of the motion on the other side. What
the neighbour shows unmoved is no spike either, if it stays there longer than dirt does: see `dirt_rest`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from ...video.buffers.keyed_cache import Once
from ...video.flow import FlowSettings, PreparedLuma, enlarged, estimate_reduced, prepare_luma
from ...video.luma import LumaFrames
from ...video.warping import warp_array
from ..flicker.local_gain import apply_gain, local_gain
from ..sparse_planes import SparsePlane
from .references import RADIUS as REFERENCES_RADIUS
from .references import REACH, References
from .standing import grain_of, much_better, same_place, staying
from .whole_frames import whole_shift

RADIUS = REACH + REFERENCES_RADIUS
"""What is measured on a frame depends on this many neighbours on each side."""

# Flow for the first look is rough; the second one sees frames that are already clean, so it needs no removal of
# spikes, which costs fine detail.
_FIRST_FLOW = FlowSettings(quality="fast")
_FLOW = FlowSettings(quality="fine", spike_threshold=0.0)
_WIDE_STEP = 16
_SQUARE = np.ones((3, 3), np.uint8)
_NEAR_SIGMA, _WIDE_SIGMA = 0.7, 1.5
_LARGEST_INCONSISTENCY = 8.0
# What arrives or leaves differs from the one reference by this share at most of what it differs from the other by.
_ONE_SIDE = 0.25
# What is kept of all frames of a window: numbers.
_SMALL = ("grain", "whole shift")
# Bytes of a plane from which on a comparison is held without what can be had from the rest.
_LARGE_PLANE = 4 << 20
# Bytes of a plane up to which the next frame is compared while one is judged, which takes 40 planes more.
_LARGEST_BESIDE = 9_000_000


@dataclass(frozen=True)
class Side:
    """How a frame differs from one reference; planes (H, W) in grey levels, positive where the frame is brighter.

    Attributes:
        spike: Signed distance to the nearest value that the reference shows at the place along any of the flows; 0
            where one of them explains the pixel.
        novelty: The same against the 3×3 surroundings of the place, so never more than the spike. Motion that is off
            by a pixel at an edge does not count.
        residual: Plain difference to the reference along the dense flow.
        look: The reference along the dense flow.
        detail: Range of the reference in the 3×3 surroundings: what interpolation may have taken off a peak.
        inconsistency: Forward-backward error of the dense flow, pixels, at most 8.
    """

    spike: Plane
    novelty: Plane
    residual: Plane
    look: Plane
    detail: Plane
    inconsistency: Plane

    # A side is combined with several others, when a defect may live for several frames.

    @cached_property
    def near(self) -> Plane:
        """The residual after a small blur."""
        return cv2.GaussianBlur(self.residual, (0, 0), _NEAR_SIGMA)

    @cached_property
    def wide(self) -> Plane:
        """The residual after a wider blur."""
        return cv2.GaussianBlur(self.residual, (0, 0), _WIDE_SIGMA)

    @cached_property
    def magnitude(self) -> Plane:
        """The residual without its sign."""
        return np.abs(self.residual)

    def sparse_rows(self, rows: slice) -> tuple[Plane, Plane]:
        """Some rows of `spike` and `novelty`."""
        return self.spike[rows], self.novelty[rows]


class HeldSide:
    """A side in less room: planes of which most is 0, or which follow from others, are made when they are looked at."""

    def __init__(self, side: Side, frame: Plane) -> None:
        """Hold a side of a comparison of a frame (H, W)."""
        self._frame = frame
        self._spike, self._novelty = SparsePlane(side.spike), SparsePlane(side.novelty)
        self.look, self.detail, self.inconsistency = side.look, side.detail, side.inconsistency

    @property
    def spike(self) -> Plane:
        """See `Side`."""
        return self._spike.plane()

    @property
    def novelty(self) -> Plane:
        """See `Side`."""
        return self._novelty.plane()

    @property
    def residual(self) -> Plane:
        """See `Side`."""
        return self._frame - self.look

    @property
    def near(self) -> Plane:
        """See `Side`."""
        return cv2.GaussianBlur(self.residual, (0, 0), _NEAR_SIGMA)

    @property
    def wide(self) -> Plane:
        """See `Side`."""
        return cv2.GaussianBlur(self.residual, (0, 0), _WIDE_SIGMA)

    @property
    def magnitude(self) -> Plane:
        """See `Side`."""
        return np.abs(self.residual)

    def sparse_rows(self, rows: slice) -> tuple[Plane, Plane]:
        """Some rows of `spike` and `novelty`."""
        return self._spike[rows], self._novelty[rows]


@dataclass(frozen=True)
class Comparison:
    """A frame held against its two references.

    Attributes:
        sides: The earlier and the later reference, or two on the same side at the end of a shot.
        references: Their frame numbers.
    """

    sides: tuple[Side | HeldSide, Side | HeldSide]
    references: tuple[int, int]


@dataclass(frozen=True)
class Evidence:
    """What stands out on both sides; planes (H, W) in grey levels.

    Attributes:
        spike: Signed; the smaller of the two sides, 0 where their signs differ.
        novelty: Likewise.
        residual: Magnitude of the smaller plain difference; what motion compensation could not explain.
        soft: Likewise signed, of the plain differences after a small blur, which finds faint patches under grain.
        disagreement: How far the references are apart: what moves cannot be told from dirt there.
        detail: Range of the surroundings in the references.
        structure: Signed; how far the references themselves stand out from their own surroundings there. A spike on a
            structure of its own sign may be that structure, seen more sharply.
        inconsistency: Sum of the flow errors, pixels.
    """

    spike: Plane
    novelty: Plane
    residual: Plane
    soft: Plane
    disagreement: Plane
    detail: Plane
    structure: Plane
    inconsistency: Plane


def same_sign(first: Plane, second: Plane) -> Plane:
    """Return the value of smaller magnitude where two planes have one sign, 0 elsewhere."""
    low, high = cv2.min(first, second), cv2.max(first, second)
    return np.maximum(low, 0, out=low) + np.minimum(high, 0, out=high)


def combine(first: Side | HeldSide, second: Side | HeldSide) -> Evidence:
    """Join two sides; they may belong to different frames, when a defect stays in place from the one to the other."""
    near, wide = same_sign(first.near, second.near), same_sign(first.wide, second.wide)
    look = first.look + second.look
    look *= np.float32(0.5)
    return Evidence(
        spike=same_sign(first.spike, second.spike),
        novelty=same_sign(first.novelty, second.novelty),
        residual=cv2.min(first.magnitude, second.magnitude),
        # Cut off at the narrow blur, or the wide one would carry a strong spot over its edge.
        soft=cv2.min(cv2.max(wide, 2 * np.minimum(near, 0)), 2 * np.maximum(near, 0)),
        disagreement=cv2.absdiff(first.look, second.look),
        detail=cv2.max(first.detail, second.detail),
        structure=look - cv2.GaussianBlur(look, (0, 0), 2.5),
        inconsistency=first.inconsistency + second.inconsistency,
    )


def wide_flow(flow: Plane) -> Plane:
    """Median of the flow over about 80×80 pixels: the motion of what surrounds a place."""
    height, width = flow.shape[:2]
    size = (max(1, width // _WIDE_STEP), max(1, height // _WIDE_STEP))
    coarse = cv2.resize(flow, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 2)
    channels = [cv2.medianBlur(np.ascontiguousarray(coarse[..., c]), 5) for c in (0, 1)]
    return cv2.resize(np.dstack(channels), (width, height), interpolation=cv2.INTER_LINEAR)


def _ways(flow: Plane, continued: Plane, whole: NDArray[np.float32]) -> Iterator[Plane]:
    """The flows along which a reference is looked up, the dense one first."""
    yield flow
    yield _everywhere(whole, flow)
    yield wide_flow(flow)
    yield continued


def _everywhere(shift: NDArray[np.float32], flow: Plane) -> Plane:
    """One shift (2,) as a flow of the shape of another."""
    return np.ascontiguousarray(np.broadcast_to(shift, flow.shape))


def _outside(frame: Plane, low: Plane, high: Plane) -> Plane:
    """Signed distance of the frame to the interval [low, high]."""
    above, below = frame - high, low - frame
    return np.maximum(above, 0, out=above) - np.maximum(below, 0, out=below)


def _beyond(flow: Plane) -> NDArray[np.bool_]:
    """Where a flow leaves the frame by more than a pixel."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return (x < -1) | (x > width) | (y < -1) | (y > height)


def _compare(
    frame: Plane,
    reference: Plane,
    ways: Iterator[Plane],
    inconsistency: Plane,
    *,
    plain: Plane,
    standing: BoolArray,
    grain: float,
) -> Side:
    """Look a reference up along several flows and hold the frame against all it shows.

    Args:
        frame: (H, W).
        reference: (H, W), cleaned of its spikes.
        ways: Flows, the dense one first.
        inconsistency: (H, W), pixels.
        plain: (H, W), the reference as it came.
        standing: (H, W), what stands still in the reference too.
        grain: As `dirt_rest.grain_of` gives it.
    """
    # The extremes are taken before the warp: interpolation would take the top off a line one pixel wide.
    stack = cv2.merge([reference, cv2.erode(reference, _SQUARE), cv2.dilate(reference, _SQUARE)])
    flow = next(ways)
    dense = warp_array(stack, flow)
    gain = local_gain(np.ascontiguousarray(dense[..., 0]), frame)
    least, most = dense.copy(), dense.copy()
    for way in ways:
        look = warp_array(stack, way)
        cv2.min(least, look, dst=least)
        cv2.max(most, look, dst=most)
        del look, way
    del stack
    here = apply_gain(dense[..., 0], gain)
    if standing.any():
        unmoved = apply_gain(plain, gain)
        standing = standing & much_better(frame, unmoved, here, grain)
        here = np.where(standing, unmoved, here)
    spike = _outside(frame, apply_gain(least[..., 0], gain), apply_gain(most[..., 0], gain))
    novelty = _outside(frame, apply_gain(least[..., 1], gain), apply_gain(most[..., 2], gain))
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


class Window:
    """Frames of one shot with what has been measured on them so far; everything is computed when first asked for.

    What is measured on a frame depends on the frames within `RADIUS` and not on which others are in the window. Several
    threads may ask at a time.
    """

    def __init__(self, luma: Plane | LumaFrames) -> None:
        """Hold frames (T, H, W) float32, grey levels 0 … 255, of one shot."""
        self.luma = luma
        self._once = Once()
        self._references = References(luma)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vldm-evidence")

    def forget(self, before: int) -> None:
        """Give the memory back that frames before this one hold; they may still be asked for."""
        self._once.forget(lambda key: key[0] not in _SMALL and max(key[1:]) < before)
        if isinstance(self.luma, LumaFrames):
            self.luma.forget(before - REACH)

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

    def clean(self, index: int) -> Plane:
        """Return a frame with its obvious spikes replaced by what its neighbours show: for estimation only."""
        return self._once.get(("clean", index), lambda: self._first_look(index))

    def _first_flow(self, here: int, there: int) -> Plane:
        def compute() -> Plane:
            pair = self._prepared(here), self._prepared(there)
            return estimate_reduced(*pair, settings=_FIRST_FLOW)

        return enlarged(self._once.get(("first flow", here, there), compute), self._size)

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.luma.shape[1:]
        return height, width

    def _whole_shift(self, here: int, there: int) -> NDArray[np.float32]:
        """How most of the picture moves from one frame to another, (2,) pixels."""

        def compute() -> NDArray[np.float32]:
            start = np.median(self._first_flow(here, there)[::8, ::8].reshape(-1, 2), axis=0)
            return whole_shift(self.luma[here], self.luma[there], start)

        return self._once.get(("whole shift", here, there), compute)

    def _prepared(self, index: int) -> PreparedLuma:
        """A frame ready for the first flow, which asks for it four times."""
        return self._once.get(("ready", index), lambda: prepare_luma(self.luma[index], settings=_FIRST_FLOW))

    def _first_look(self, index: int) -> Plane:
        frame = self.luma[index]
        pair = self.references(index)
        if pair is None or not pair[0] < index < pair[1]:
            return frame
        looks = [warp_array(self.luma[other], self._first_flow(index, other)) for other in pair]
        gains = [local_gain(look, frame) for look in looks]
        first, second = (apply_gain(look, gain) for look, gain in zip(looks, gains, strict=True))
        spike = _outside(frame, cv2.min(first, second), cv2.max(first, second))
        low = cv2.min(cv2.erode(first, _SQUARE), cv2.erode(second, _SQUARE))
        high = cv2.max(cv2.dilate(first, _SQUARE), cv2.dilate(second, _SQUARE))
        novelty = np.abs(_outside(frame, low, high))
        for other, gain in zip(pair, gains, strict=True):
            flow = self._first_flow(index, other)
            look = apply_gain(warp_array(self.luma[other], _everywhere(self._whole_shift(index, other), flow)), gain)
            grain = self._grain(index)
            novelty[much_better(frame, look, first if other == pair[0] else second, grain)] = 0.0
        agreed = cv2.blur(cv2.absdiff(first, second), (5, 5)) < 0.7 * np.abs(spike)
        seeds = ((novelty > 8.0) & agreed).astype(np.uint8)
        found = (cv2.dilate(seeds, np.ones((5, 5), np.uint8)) > 0) & (np.abs(spike) > 4.0)
        found = cv2.dilate(found.astype(np.uint8), _SQUARE) > 0
        return np.where(found, (first + second) / 2, frame).astype(np.float32)

    def same_place(self, index: int, other: int) -> BoolArray:
        """What two frames show at the same place, (H, W)."""
        first, second = sorted((index, other))

        def compute() -> BoolArray:
            return same_place(self.luma[first], self.luma[second], self._grain(first))

        return self._once.get(("same place", first, second), compute)

    def _grain(self, index: int) -> float:
        """Deviation of the grain in the difference of a frame to a neighbour, the noisier one: one may be a copy."""

        def compute() -> float:
            others = [other for other in (index - 1, index + 1) if 0 <= other < len(self.luma)]
            looks = [warp_array(self.luma[other], self._first_flow(index, other)) for other in others]
            return max(grain_of(self.luma[index], look) for look in looks)

        return self._once.get(("grain", index), compute)

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
        before, after = (cv2.blur(side.magnitude, (3, 3)) for side in comparison.sides)
        return self._staying(index) & (cv2.min(before, after) < _ONE_SIDE * cv2.max(before, after))

    def flow(self, here: int, there: int) -> Plane:
        """Return the flow that lives on one frame and looks up another, both cleaned first."""

        def cleaned(index: int) -> PreparedLuma:
            return self._once.get(("cleaned", index), lambda: prepare_luma(self.clean(index), settings=_FLOW))

        def compute() -> Plane:
            return estimate_reduced(cleaned(here), cleaned(there), settings=_FLOW)

        return enlarged(self._once.get(("flow", here, there), compute), self._size)

    def comparison(self, index: int) -> Comparison | None:
        """Hold a frame against its references; None where it has not two."""
        result = self._compared(index)
        # Frames are judged in their order: while the caller does so, a thread prepares the next one, where both fit.
        height, width = self._size
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
        sides = []
        for other, opposite, factor in ((*pair, 1 / ratio), (*pair[::-1], ratio)):
            flow, onward = self.flow(index, other), self.flow(index, opposite) * np.float32(factor)
            error = flow + warp_array(self.flow(other, index), flow)
            inconsistency = np.minimum(cv2.magnitude(error[..., 0], error[..., 1]), _LARGEST_INCONSISTENCY)
            del error
            standing = self._staying(index) & self.same_place(index, other)
            sides.append(
                _compare(
                    self.luma[index],
                    self.clean(other),
                    _ways(flow, onward, self._whole_shift(index, other)),
                    inconsistency,
                    plain=self.luma[other],
                    standing=standing,
                    grain=self._grain(index),
                )
            )
        return Comparison(sides=(sides[0], sides[1]), references=pair)

"""What a frame shows and its motion-compensated neighbours do not.

The measure is a rank-ordered spike: a pixel is brighter (or darker) than everything that its neighbours in time show
around the place where it should be. It joins the sign-consistent spike detector SDIp (A. C. Kokaram, "Motion Picture
Restoration", Springer 1998, section 6) with the rank order of ROD (M. J. Nadenau and S. K. Mitra, "Blotch and scratch
detection in image sequences based on rank ordered differences", 1997).

Wrong motion is what makes such a detector cry wolf, so a neighbour is not looked up once but along several flows, and
the spike is what none of them explains: the dense flow, the motion of the whole picture, the dense flow smoothed over
a wide window (the background right beside something fast), and the continuation of the motion on the other side.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..video.flow import FlowSettings, estimate_pair, warp_array

Plane = NDArray
"""(H, W) float32 in grey levels, or a flow (H, W, 2) float32 in pixels."""

REACH = 2
"""How far from a frame its references may lie, in frames."""

FIRST_LOOK_RADIUS = REACH
"""Neighbours that the first look at a frame depends on, on each side."""

_FIRST_LOOK_FLOW = FlowSettings(quality="fast")
# The second flow sees frames that are already clean, so it needs no removal of spikes, which costs fine detail.
_FLOW = FlowSettings(quality="fine", spike_threshold=0.0)
_BLOCK = 32
_WIDE_STEP = 16
_SQUARE = np.ones((3, 3), np.uint8)
# Two scans of one film frame differ by codec noise alone; dirt on one of them would show after a small blur.
_DUPLICATE_MEAN = 0.6
_DUPLICATE_PEAK = 5.0


@dataclass(frozen=True)
class Evidence:
    """Evidence of one frame against one pair of references, each (H, W) in grey levels.

    Attributes:
        spike: Signed distance to the nearest value that any reference shows at the place; positive where the frame is
            brighter than all of them, 0 where they explain it.
        novelty: The same against the 3×3 surroundings of the place in every reference, so it never exceeds the spike.
            Motion off by a pixel at an edge does not count.
        disagreement: How far the two references are apart: what moves cannot be told from dirt there.
        inconsistency: Forward-backward error of the flows, pixels, at most 8 each.
        estimate: What the references say the frame should show.
    """

    spike: Plane
    novelty: Plane
    disagreement: Plane
    inconsistency: Plane
    estimate: Plane


def match_locally(reference: Plane, frame: Plane) -> Plane:
    """Give a motion-compensated reference the local brightness of the frame.

    The gain is a smooth field through the block medians of the ratio, so a defect that covers less than half a block
    does not pull it. The pedestal keeps the ratio meaningful in the dark.

    Args:
        reference: (H, W) float32.
        frame: (H, W) float32.

    Returns:
        (H, W) float32.
    """
    height, width = frame.shape
    pedestal = 16.0
    shrunk = (max(1, width // 4), max(1, height // 4))
    above = cv2.resize(frame, shrunk, interpolation=cv2.INTER_AREA) + pedestal
    below = cv2.resize(reference, shrunk, interpolation=cv2.INTER_AREA) + pedestal
    ratio = above / np.maximum(below, 1.0)
    step = _BLOCK // 4
    border = cv2.BORDER_REFLECT if min(shrunk) > step else cv2.BORDER_REPLICATE
    ratio = cv2.copyMakeBorder(ratio, 0, -shrunk[1] % step, 0, -shrunk[0] % step, border)
    rows, columns = ratio.shape[0] // step, ratio.shape[1] // step
    blocks = ratio.reshape(rows, step, columns, step).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    gain = cv2.GaussianBlur(np.median(blocks, axis=-1).astype(np.float32), (0, 0), 0.8)
    field = cv2.resize(gain, (columns * step, rows * step), interpolation=cv2.INTER_LINEAR)[: shrunk[1], : shrunk[0]]
    field = cv2.resize(np.clip(field, 0.5, 2.0), (width, height), interpolation=cv2.INTER_LINEAR)
    return (reference + pedestal) * field - pedestal


def is_duplicate(frame: Plane, other: Plane) -> bool:
    """Tell whether two frames are scans or copies of the same film frame."""
    difference = cv2.absdiff(frame, other)
    if float(difference.mean()) > _DUPLICATE_MEAN:
        return False
    return float(cv2.blur(difference, (3, 3)).max()) <= _DUPLICATE_PEAK


def _wide(flow: Plane) -> Plane:
    """Median of the flow over about 80×80 pixels: the motion of what surrounds a place."""
    height, width = flow.shape[:2]
    size = (max(1, width // _WIDE_STEP), max(1, height // _WIDE_STEP))
    coarse = cv2.resize(flow, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], 2)
    channels = [cv2.medianBlur(np.ascontiguousarray(coarse[..., c]), 5) for c in (0, 1)]
    return cv2.resize(np.dstack(channels), (width, height), interpolation=cv2.INTER_LINEAR)


def _ways(flow: Plane, other: Plane) -> list[Plane]:
    """The flows along which a reference is looked up, the dense one first."""
    whole = np.median(flow[::8, ::8].reshape(-1, 2), axis=0).astype(np.float32)
    return [flow, np.broadcast_to(whole, flow.shape), _wide(flow), -other]


def _outside(frame: Plane, low: Plane, high: Plane) -> Plane:
    """Signed distance of the frame to the interval [low, high]."""
    return np.maximum(frame - high, 0.0) - np.maximum(low - frame, 0.0)


class Window:
    """Frames of one shot with what has been measured on them so far; everything is computed when first asked for.

    The results for a frame depend on the frames within the stated radius and not on which others are in the window.
    """

    def __init__(self, luma: Plane) -> None:
        """Hold frames (T, H, W) float32, grey levels 0 … 255, of one shot."""
        self.luma = luma
        self._pairs: dict[int, tuple[int, int] | None] = {}
        self._quick: dict[tuple[int, int], Plane] = {}
        self._flows: dict[tuple[int, int], Plane] = {}
        self._clean: dict[int, Plane] = {}

    def references(self, index: int) -> tuple[int, int] | None:
        """Return the two frames a frame is compared with, or None where there are not two.

        These are the nearest frames before and after it that are not copies of it; at the ends of a shot the two
        nearest on the one side.
        """
        if index not in self._pairs:
            before = self._distinct(index, -1)
            after = self._distinct(index, 1)
            if before and after:
                self._pairs[index] = (before[0], after[0])
            else:
                side = before or after
                self._pairs[index] = (side[0], side[1]) if len(side) > 1 else None
        return self._pairs[index]

    def _distinct(self, index: int, direction: int) -> list[int]:
        last = index
        found: list[int] = []
        for other in range(index + direction, index + direction * (REACH + 1), direction):
            if not 0 <= other < len(self.luma):
                break
            if not is_duplicate(self.luma[other], self.luma[last]):
                found.append(other)
                last = other
        return found

    def _quick_flow(self, here: int, there: int) -> Plane:
        if (here, there) not in self._quick:
            self._quick[here, there] = estimate_pair(self.luma[here], self.luma[there], settings=_FIRST_LOOK_FLOW)
        return self._quick[here, there]

    def clean(self, index: int) -> Plane:
        """Return a frame with its obvious spikes replaced by what its references show: for estimation only."""
        if index not in self._clean:
            self._clean[index] = self._first_look(index)
        return self._clean[index]

    def _first_look(self, index: int) -> Plane:
        frame = self.luma[index]
        pair = self.references(index)
        if pair is None:
            return frame
        first, second = (
            match_locally(warp_array(self.luma[other], self._quick_flow(index, other)), frame) for other in pair
        )
        spike = _outside(frame, cv2.min(first, second), cv2.max(first, second))
        low = cv2.min(cv2.erode(first, _SQUARE), cv2.erode(second, _SQUARE))
        high = cv2.max(cv2.dilate(first, _SQUARE), cv2.dilate(second, _SQUARE))
        novelty = np.abs(_outside(frame, low, high))
        agreed = cv2.blur(cv2.absdiff(first, second), (5, 5)) < 0.7 * np.abs(spike)
        seeds = ((novelty > 8.0) & agreed).astype(np.uint8)
        found = (cv2.dilate(seeds, np.ones((5, 5), np.uint8)) > 0) & (np.abs(spike) > 4.0)
        found = cv2.dilate(found.astype(np.uint8), _SQUARE) > 0
        return np.where(found, (first + second) / 2, frame).astype(np.float32)

    def flow(self, here: int, there: int) -> Plane:
        """Return the flow that lives on one frame and looks up another, both cleaned first."""
        if (here, there) not in self._flows:
            self._flows[here, there] = estimate_pair(self.clean(here), self.clean(there), settings=_FLOW)
        return self._flows[here, there]

    def evidence(self, index: int) -> Evidence | None:
        """Compare a frame with its references; None where it has not two."""
        pair = self.references(index)
        if pair is None:
            return None
        frame = self.luma[index]
        flows = [self.flow(index, other) for other in pair]
        same_side = (pair[0] - index) * (pair[1] - index) > 0
        # On one side of the frame motion does not turn round but goes on, at the ratio of the distances.
        ratio = (pair[1] - index) / (pair[0] - index) if same_side else -1.0
        ways = [_ways(flows[0], flows[1] * (-1.0 / ratio)), _ways(flows[1], flows[0] * -ratio)]
        looks = [
            [match_locally(warp_array(self.clean(other), way), frame) for way in ways_there]
            for other, ways_there in zip(pair, ways, strict=True)
        ]
        low = high = looks[0][0]
        for look in looks[0][1:] + looks[1]:
            low, high = cv2.min(low, look), cv2.max(high, look)
        inconsistency = np.zeros_like(frame)
        for other, flow in zip(pair, flows, strict=True):
            error = flow + warp_array(self.flow(other, index), flow)
            inconsistency += np.minimum(cv2.magnitude(error[..., 0], error[..., 1]), 8.0)
        return Evidence(
            spike=_outside(frame, low, high),
            novelty=_outside(frame, cv2.erode(low, _SQUARE), cv2.dilate(high, _SQUARE)),
            disagreement=cv2.absdiff(looks[0][0], looks[1][0]),
            inconsistency=inconsistency,
            estimate=(looks[0][0] + looks[1][0]) / 2,
        )

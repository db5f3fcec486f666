"""What the dirt network sees of a frame: planes of the evidence of `dirt_evidence`, compressed.

Beside the two comparisons of the frame itself there is what stands out in place over stretches of two and three frames,
for defects that stay, and what stands out in the frames before and after: something that moves, and that no flow
explained, stands out there as well, a little further on.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import Plane
from ..sparse_planes import SparsePlane
from .comparisons import Comparisons
from .evidence import same_sign

SIGNED_PLANES = (
    "residual before", "residual after", "spike before", "spike after", "novelty before", "novelty after",
    "spike", "soft", "novelty", "structure", "contrast", "brightness",
    "spike over 2", "soft over 2", "spike over 3", "soft over 3", "earlier spike", "later spike",
)  # fmt: skip
"""Planes that change their sign when the picture is turned into its negative."""

UNSIGNED_PLANES = ("disagreement", "detail", "inconsistency before", "inconsistency after", "one-sided")
"""Planes that do not."""

PLANES = SIGNED_PLANES + UNSIGNED_PLANES

REACH = 2
"""Planes of a frame depend on the comparisons of this many frames on each side."""


@dataclass(frozen=True, kw_only=True)
class FeatureScale:
    """How the planes are scaled. The shipped network was trained on them so: another value needs a new training.

    Attributes:
        bend: Grey levels where the logarithm of what stands out begins to bend.
        bend_pixels: Pixels where that of the inconsistency of the flow does.
        mid_grey: Grey level from which brightness counts.
        brightness_unit: Grey levels that are 1 in the plane of brightness.
        pixel_steps: Steps of a pixel to which errors of the flow are rounded: the last bit depends on where in memory a
            frame happens to lie.
        soft: Pixels of the blur that finds faint patches under grain.
        surroundings: Pixels of the blur that a place is held against.
        surroundings_reach: Rows on each side that a blur that wide depends on, in single precision: four deviations
            and two rows.
    """

    bend: float = 2.0
    bend_pixels: float = 0.3
    mid_grey: float = 127.5
    brightness_unit: float = 64.0
    pixel_steps: float = 64
    soft: float = 1.2
    surroundings: float = 2.5
    surroundings_reach: int = 12


_SCALE = FeatureScale()
# The two planes that are not compressed: brightness from mid-grey, and a flag.
_PLAIN_PLANES = ("brightness", "one-sided")


class DirtFeatures:
    """The planes of the frames of a window; what several frames need is computed once."""

    def __init__(self, window: Comparisons, *, lifetime: int) -> None:
        """Look at a window.

        Args:
            window: Frames of one shot.
            lifetime: Longest stretch of frames looked at, 1 … 3; planes of longer ones stay 0.
        """
        self._window, self._lifetime = window, lifetime
        self._planes = np.empty((0, 0, 0), np.float32)
        self._starts: dict[int, tuple[SparsePlane, Plane, int] | None] = {}
        self._stretches: dict[tuple[int, int], tuple[SparsePlane, SparsePlane] | None] = {}

    def planes(self, index: int, rows: slice | None = None) -> Tensor | None:
        """Return the planes of a frame, or of some rows of it; None where there is nothing to compare with.

        Returns:
            (len(PLANES), h, W) float32, good until the next call, which writes to the same memory.
        """
        self._compare_around(index)
        comparison = self._window.comparison(index)
        if comparison is None:
            return None
        before, after = comparison.sides
        frame = self._window.luma[index]
        height, _width = frame.shape
        rows = slice(*(rows or slice(None)).indices(height)[:2])
        around = slice(
            max(0, rows.start - _SCALE.surroundings_reach), min(height, rows.stop + _SCALE.surroundings_reach)
        )

        def detail(plane: Plane) -> Plane:
            """How the rows stand out from their surroundings."""
            apart = plane - cv2.GaussianBlur(plane, (0, 0), _SCALE.surroundings)
            return apart[rows.start - around.start : rows.stop - around.start]

        alone = self._standing_out(index, index)
        spike, soft = (plane[rows] for plane in alone) if alone else (np.zeros_like(frame[rows]),) * 2
        spikes, novelties = zip(*(side.sparse_rows(rows) for side in comparison.sides), strict=True)
        frame, looks = frame[rows], (before.look[rows], after.look[rows])
        levels = [
            frame - looks[0], frame - looks[1], *spikes, *novelties,
            spike, soft, same_sign(*novelties),
            detail((before.look[around] + after.look[around]) / 2),
            detail(self._window.luma[index][around]),
            (frame - np.float32(_SCALE.mid_grey)) / np.float32(_SCALE.brightness_unit),
            *self._lasting(index, 2, rows), *self._lasting(index, 3, rows),
            self._spike(index - 1, rows), self._spike(index + 1, rows),
            cv2.absdiff(*looks), cv2.max(before.detail[rows], after.detail[rows]),
            *(np.rint(side.inconsistency[rows] * _SCALE.pixel_steps) / _SCALE.pixel_steps for side in comparison.sides),
            np.full_like(frame, not comparison.references[0] < index < comparison.references[1]),
        ]  # fmt: skip
        if self._planes.shape[1:] != frame.shape:
            self._planes = np.empty((len(PLANES), *frame.shape), np.float32)
        planes = self._planes
        for name, plane, compressed in zip(PLANES, levels, planes, strict=True):
            if name in _PLAIN_PLANES:
                compressed[:] = plane
            else:
                _compress(
                    plane, _SCALE.bend_pixels if name.startswith("inconsistency") else _SCALE.bend, out=compressed
                )
        return torch.from_numpy(planes)

    def _compare_around(self, index: int) -> None:
        """Compare the frames that the planes of a frame depend on, one by one, before more is held than that takes."""
        last = min(index + REACH, len(self._window.luma) - 1)
        for near in range(max(0, index - REACH), last + 1):
            if near > index:
                self._window.comparison(near)
                continue
            self._start(near)
            if near == index - 1:
                self._standing_out(near, near)
            if near < index:
                self._window.forget_comparison(near)

    def bright(self, index: int) -> NDArray[np.bool_]:
        """Tell where a frame is brighter than its references around a pixel, (H, W)."""
        comparison = self._window.comparison(index)
        if comparison is None:
            return np.zeros(self._window.luma.shape[1:], bool)
        # A defect that stays differs from one side alone.
        before, after = (cv2.GaussianBlur(side.residual, (0, 0), _SCALE.soft) for side in comparison.sides)
        return _stronger(before, after) >= 0

    def forget(self, before: int) -> None:
        """Give the memory back that only frames before this one need."""
        for first in [first for first in self._starts if first < before - REACH]:
            del self._starts[first]
        for first, last in list(self._stretches):
            # What stands out in the frame before is looked at once more.
            if last < before and (first, last) != (before - 1, before - 1):
                del self._stretches[first, last]

    def _spike(self, index: int, rows: slice) -> Plane:
        """What stands out in a frame by itself, (h, W); nothing beyond the ends of the window."""
        alone = self._standing_out(index, index) if 0 <= index < len(self._window.luma) else None
        blank = np.zeros((rows.stop - rows.start, self._window.luma.shape[2]), np.float32)
        return blank if alone is None else alone[0][rows]

    def _lasting(self, index: int, life: int, rows: slice) -> tuple[Plane, Plane]:
        """The strongest spike and soft difference over the stretches of so many frames that this one is in."""
        spike, soft = (np.zeros((rows.stop - rows.start, self._window.luma.shape[2]), np.float32) for _ in range(2))
        if life <= self._lifetime:
            for first in range(index - life + 1, index + 1):
                found = self._standing_out(first, first + life - 1)
                if found is not None:
                    spike, soft = _stronger(spike, found[0][rows]), _stronger(soft, found[1][rows])
        return spike, soft

    def _standing_out(self, first: int, last: int) -> tuple[SparsePlane, SparsePlane] | None:
        """What stands out in place in all of the frames first … last against the frame before and the frame after."""
        if (first, last) not in self._stretches:
            found = self._stretch(first, last)
            self._stretches[first, last] = None if found is None else (SparsePlane(found[0]), SparsePlane(found[1]))
        return self._stretches[first, last]

    def _stretch(self, first: int, last: int) -> tuple[Plane, Plane] | None:
        if first < 0 or last >= len(self._window.luma):
            return None
        start, end = self._start(first), self._end(last, 1)
        if start is None or end is None:
            return None
        spike, soft = same_sign(start[0], end[0]), same_sign(start[1], end[1])
        if first == last:
            return spike, soft
        if start[2] != first - 1 or end[2] != last + 1:
            return None
        shown = [
            cv2.GaussianBlur(self._window.luma[index], (0, 0), _SCALE.soft / 2) for index in range(first, last + 1)
        ]
        change = cv2.absdiff(shown[0], shown[-1])
        for frame, following in pairwise(shown):
            change = cv2.max(change, cv2.absdiff(frame, following))
        # What stays shows the same in all of the frames.
        return tuple(np.copysign(np.maximum(np.abs(plane) - change, 0), plane) for plane in (spike, soft))  # type: ignore

    def _start(self, index: int) -> tuple[Plane, Plane, int] | None:
        """What `_end` tells of the earlier reference; it is still asked for when the comparison is forgotten."""
        if index not in self._starts:
            found = self._end(index, 0)
            self._starts[index] = None if found is None else (SparsePlane(found[0]), *found[1:])
        held = self._starts[index]
        return None if held is None else (held[0].plane(), *held[1:])

    def _end(self, index: int, side: int) -> tuple[Plane, Plane, int] | None:
        """Spike and soft difference of a frame against the reference on one side, and which that is."""
        comparison = self._window.comparison(index)
        if comparison is None:
            return None
        held = comparison.sides[side]
        return held.spike, cv2.GaussianBlur(held.residual, (0, 0), _SCALE.soft), comparison.references[side]


def _stronger(first: Plane, second: Plane) -> Plane:
    """Return the value of larger magnitude, pixel by pixel."""
    return np.where(np.abs(first) >= np.abs(second), first, second)


def _compress(plane: Plane, bend: float, *, out: Plane) -> None:
    """Write sign(x) log(1 + |x| / bend) of a plane to another, without copies in between."""
    np.abs(plane, out=out)
    np.multiply(out, np.float32(1 / bend), out=out)
    np.add(out, np.float32(1), out=out)
    np.log(out, out=out)
    np.copysign(out, plane, out=out)

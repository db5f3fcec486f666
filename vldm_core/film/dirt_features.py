"""What the dirt network sees of a frame: planes of the evidence of `dirt_evidence`, compressed.

Beside the two comparisons of the frame itself there is what stands out in place over stretches of two and three frames,
for defects that stay, and what stands out in the frames before and after: something that moves, and that no flow
explained, stands out there as well, a little further on.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dirt_evidence import Comparison, Plane, Window, same_sign

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

# Where the logarithm begins to bend: grey levels, and pixels for the inconsistency of the flow.
_BEND = 2.0
_BEND_PIXELS = 0.3
# The two planes that are not compressed: brightness from mid-grey, and a flag.
_PLAIN_PLANES = ("brightness", "one-sided")
# Brightness counts from mid-grey in units of this.
_BRIGHTNESS_UNIT = 64.0
# Errors of the flow are rounded to steps of a pixel: the last bit depends on where in memory a frame happens to lie.
_PIXEL_STEPS = np.float32(64)
_SOFT = 1.2
_SURROUNDINGS = 2.5


class DirtFeatures:
    """The planes of the frames of a window; what several frames need is computed once."""

    def __init__(self, window: Window, *, lifetime: int) -> None:
        """Look at a window.

        Args:
            window: Frames of one shot.
            lifetime: Longest stretch of frames looked at, 1 … 3; planes of longer ones stay 0.
        """
        self._window, self._lifetime = window, lifetime
        self._planes = np.empty((len(PLANES), *window.luma.shape[1:]), np.float32)
        self._soft: dict[int, tuple[Plane, Plane]] = {}
        self._stretches: dict[tuple[int, int], tuple[Plane, Plane] | None] = {}

    def planes(self, index: int) -> Tensor | None:
        """Return the planes of a frame; None where there is nothing to compare with.

        Returns:
            (len(PLANES), H, W) float32, good until the next call, which writes to the same memory.
        """
        comparison = self._window.comparison(index)
        if comparison is None:
            return None
        before, after = comparison.sides
        frame = self._window.luma[index]
        look = (before.look + after.look) / 2
        spike, soft = self._standing_out(index, index, index) or (np.zeros_like(frame),) * 2
        levels = [
            before.residual, after.residual, before.spike, after.spike, before.novelty, after.novelty,
            spike, soft, same_sign(before.novelty, after.novelty),
            look - cv2.GaussianBlur(look, (0, 0), _SURROUNDINGS),
            frame - cv2.GaussianBlur(frame, (0, 0), _SURROUNDINGS),
            (frame - np.float32(127.5)) / np.float32(_BRIGHTNESS_UNIT),
            *self._lasting(index, 2), *self._lasting(index, 3),
            self._spike(index - 1), self._spike(index + 1),
            cv2.absdiff(before.look, after.look), cv2.max(before.detail, after.detail),
            *(np.rint(side.inconsistency * _PIXEL_STEPS) / _PIXEL_STEPS for side in comparison.sides),
            np.full_like(frame, not comparison.references[0] < index < comparison.references[1]),
        ]  # fmt: skip
        planes = self._planes
        for name, plane, compressed in zip(PLANES, levels, planes, strict=True):
            if name in _PLAIN_PLANES:
                compressed[:] = plane
            else:
                _compress(plane, _BEND_PIXELS if name.startswith("inconsistency") else _BEND, out=compressed)
        return torch.from_numpy(planes)

    def bright(self, index: int) -> NDArray[np.bool_]:
        """Tell where a frame is brighter than its references around a pixel, (H, W)."""
        comparison = self._window.comparison(index)
        if comparison is None:
            return np.zeros(self._window.luma.shape[1:], bool)
        # A defect that stays differs from one side alone.
        before, after = self._blurred(index, comparison)
        return _stronger(before, after) >= 0

    def forget(self, before: int) -> None:
        """Give the memory back that only frames before this one need."""
        for index in [index for index in self._soft if index < before - REACH]:
            del self._soft[index]
        for stretch in [stretch for stretch in self._stretches if stretch[1] < before]:
            del self._stretches[stretch]

    def _spike(self, index: int) -> Plane:
        """What stands out in a frame by itself, (H, W); nothing beyond the ends of the window."""
        if 0 <= index < len(self._window.luma):
            comparison = self._window.comparison(index)
            if comparison is not None:
                return same_sign(comparison.sides[0].spike, comparison.sides[1].spike)
        return np.zeros(self._window.luma.shape[1:], np.float32)

    def _lasting(self, index: int, life: int) -> tuple[Plane, Plane]:
        """The strongest spike and soft difference over the stretches of so many frames that this one is in."""
        spike, soft = (np.zeros(self._window.luma.shape[1:], np.float32) for _ in range(2))
        if life <= self._lifetime:
            for first in range(index - life + 1, index + 1):
                found = self._standing_out(first, first + life - 1, index)
                if found is not None:
                    spike, soft = _stronger(spike, found[0]), _stronger(soft, found[1])
        return spike, soft

    def _standing_out(self, first: int, last: int, index: int) -> tuple[Plane, Plane] | None:
        """What stands out in place in all of the frames first … last against the frame before and the frame after."""
        if (first, last) not in self._stretches:
            self._stretches[first, last] = self._stretch(first, last)
        return self._stretches[first, last]

    def _stretch(self, first: int, last: int) -> tuple[Plane, Plane] | None:
        if first < 0 or last >= len(self._window.luma):
            return None
        start, end = self._window.comparison(first), self._window.comparison(last)
        if start is None or end is None:
            return None
        spike = same_sign(start.sides[0].spike, end.sides[1].spike)
        soft = same_sign(self._blurred(first, start)[0], self._blurred(last, end)[1])
        if first == last:
            return spike, soft
        if start.references[0] != first - 1 or end.references[1] != last + 1:
            return None
        shown = [cv2.GaussianBlur(self._window.luma[index], (0, 0), _SOFT / 2) for index in range(first, last + 1)]
        change = cv2.absdiff(shown[0], shown[-1])
        for frame, following in zip(shown, shown[1:], strict=False):
            change = cv2.max(change, cv2.absdiff(frame, following))
        # What stays shows the same in all of the frames.
        return tuple(np.copysign(np.maximum(np.abs(plane) - change, 0), plane) for plane in (spike, soft))  # type: ignore

    def _blurred(self, index: int, comparison: Comparison) -> tuple[Plane, Plane]:
        if index not in self._soft:
            before, after = (cv2.GaussianBlur(side.residual, (0, 0), _SOFT) for side in comparison.sides)
            self._soft[index] = before, after
        return self._soft[index]


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

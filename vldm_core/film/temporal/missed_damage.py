"""What a frame shows against all its neighbours although nothing was marked there: damage that the search has missed.

A pixel counts where it stands out of the median of the neighbours, these agree among themselves, and all around it the
frame is what the neighbours say. Two things look the same and are none. What motion does not explain is large, or lies
where the surroundings do not fit either, or where things move past one another. And what is small and fast, a ball, a
spark, a flake, shows in the frames before and after it too, on an even course through the place (see `dirt.courses`);
where many spots have one, none of them is taken for damage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from ..flicker.local_gain import GAIN
from ..motion.field import MotionField
from ..robust import sorted_planes
from .neighbours import Compensated, CompensatedBand, doubled, halved
from .noise import eight_bit


@dataclass(frozen=True, kw_only=True)
class StandingOut:
    """What stands out of the neighbours.

    Attributes:
        fewest: Neighbours that must be valid and agree, but for one at each end of their order where there are more.
        window: Pixels on each side of the square over which a seed is averaged: grain of single pixels does not count.
        seed_levels: Grey levels by which a seed stands out at least.
        seed_grain: Ratio to what grain makes of a difference that is added to that.
        seed_spread: Share of what the neighbours differ by, beyond what grain makes them, that is added to that.
        grain_spread: Ratio of what grain makes them differ by to what it makes of a difference: the inner four of six
            normal values span 1.28 of their deviations, and the mean difference of two is 1.13.
        edge: Share of all that from which on pixels beside a seed belong to it.
        reach: Pixels on each side of the square around a seed in which they lie.
        surroundings: Pixels on each side of the square around a spot that must fit, odd.
        clear: Share of them in which nothing stands out, at least: where much does, motion has missed what is there.
        unrest_levels: Grey levels that the frame may differ by in there.
        unrest_grain: Ratio to what grain makes of a difference that is added to that.
        largest: Share of the frame that a spot covers at most, unless it is an upright line.
        smallest: Pixels of a spot of a frame of 480 columns at least: fewer are grain.
        line_width: Pixels of a frame of 480 columns that such a line is wide at most.
    """

    fewest: int = 4
    window: int = 3
    seed_levels: float = 5.0
    seed_grain: float = 2.5
    seed_spread: float = 2.0
    grain_spread: float = 1.15
    edge: float = 0.5
    reach: int = 7
    surroundings: int = 25
    clear: float = 0.6
    unrest_levels: float = 1.0
    unrest_grain: float = 1.3
    largest: float = 0.02
    smallest: float = 8.0
    line_width: float = 12.0


@dataclass(frozen=True, kw_only=True)
class MotionPast:
    """Where things move past one another, and motion is not known well.

    Attributes:
        cells: Cells of the grid of the motion on each side of the square in which motions are compared, odd.
        columns: Columns of a frame on which the distance holds.
        farthest: Pixels that the motions in there lie apart, to both of the nearest neighbours, from which on nothing
            is told. Half of the pieces of missed damage lie where they are less than 1.7 pixels apart, half of the
            pieces of moving hands that stood out where they are more than 4 pixels apart.
    """

    cells: int = 15
    columns: int = 480
    farthest: float = 2.5


@dataclass(frozen=True, kw_only=True)
class EvenCourse:
    """When a spot is on its way; distances in pixels of a frame 480 columns wide, and more on wider ones.

    Attributes:
        columns: Columns of a frame on which the distances hold.
        farthest: Pixels that things move between two frames at most.
        nearest: Pixels that they move at least.
        exactness: Pixels that a spot may lie beside the middle between the one before and the one after it.
        slope: Share of their distance that is added to that.
        area_ratio: Ratio of areas up to which two spots are alike.
        contrast_ratio: The same of contrasts.
        twin: Ratio of areas, and of contrasts, up to which one spot before or after is taken for the same thing
            whatever its course: what bounces or turns has no even one.
        twin_distance: Pixels that such a spot may lie away.
        many: Share of the spots of a frame on a course from which on all of them are spared.
        several: Number of spots on a course from which on that share counts.
        most: Spots of a frame, a number, beyond which nothing can be told, and all are spared.
    """

    columns: int = 480
    farthest: float = 70.0
    nearest: float = 2.0
    exactness: float = 2.0
    slope: float = 0.1
    area_ratio: float = 4.0
    contrast_ratio: float = 3.0
    twin: float = 1.5
    twin_distance: float = 50.0
    many: float = 0.3
    several: int = 4
    most: int = 600


_OUT = StandingOut()
_PAST = MotionPast()
_COURSE = EvenCourse()
_REACH, _RIM = (np.ones((side, side), np.uint8) for side in (_OUT.reach, _OUT.window))
AROUND = _OUT.surroundings // 2 + _OUT.reach // 2 + _OUT.window
"""Rows on each side that the verdict on a row depends on."""


@dataclass(frozen=True, eq=False)
class StandOut:
    """What stands out in some rows of a frame.

    Attributes:
        found: (n, W), what stands out of agreeing neighbours.
        expected: (n, W), the median of the light of the neighbours.
        apart: (n, W), the frame less that, grey levels.
        before: (n, W), the neighbour before it less that where it stands out itself, 0 elsewhere; None where there is
            none, or nothing was found.
        after: (n, W), the same of the one after it.
    """

    found: BoolArray
    expected: Plane
    apart: Plane
    before: Plane | None
    after: Plane | None

    def cut(self, rows: slice) -> "StandOut":
        """Return some of the rows."""
        sides = (None if plane is None else plane[rows] for plane in (self.before, self.after))
        return StandOut(self.found[rows], self.expected[rows], self.apart[rows], *sides)


def stands_out(band: CompensatedBand, index: int, grain: Plane) -> StandOut:
    """Look for what a frame shows against its neighbours.

    The order of the neighbours is taken of whole grey levels: what stands out does so by several.

    Args:
        band: With `AROUND` rows around it.
        index: Of the frame.
        grain: (256,), see `noise.grain_by_brightness`.
    """
    frame, seen = band.frame, band.neighbours
    shape = (frame.shape[0], frame.shape[1])
    if len(seen) < _OUT.fewest:
        return StandOut(np.zeros(shape, bool), frame, np.zeros_like(frame), None, None)
    low, middle, high = _middle_of(seen)
    expected: Plane = cv2.add(middle, np.full(1, GAIN.pedestal), dtype=cv2.CV_32F)
    apart = cv2.subtract(frame, expected)
    plain = cv2.LUT(middle, grain * np.float32(_OUT.seed_grain) + np.float32(_OUT.seed_levels))
    spread = cv2.blur(cv2.subtract(high, low), (_OUT.window,) * 2)
    more = cv2.subtract(spread, cv2.LUT(middle, grain * np.float32(_OUT.grain_spread)), dtype=cv2.CV_32F)
    least = cv2.scaleAdd(np.maximum(more, np.float32(0)), _OUT.seed_spread, plain)
    found = _spots(apart, least)
    sides: dict[int, Plane] = {}
    if found.any():
        # How far from a spot itself, and without it, the frame is what the neighbours say.
        square = (_OUT.surroundings // 4 * 2 + 1,) * 2
        away = np.abs(apart)
        away[found] = 0.0
        rest = halved(np.where(found, np.float32(0), np.float32(1)))
        unrest, share = cv2.blur(halved(away), square), cv2.blur(rest, square)
        limit = halved(cv2.LUT(middle, grain * np.float32(_OUT.unrest_grain) + np.float32(_OUT.unrest_levels)))
        calm = (unrest < limit * share) & (share > np.float32(_OUT.clear))
        found &= doubled(calm.view(np.uint8), shape, cv2.INTER_NEAREST).view(bool)
        for shown in seen:
            if abs(shown.other - index) == 1 and found.any():
                side = cv2.subtract(shown.light, expected)
                sides[shown.other - index] = cv2.copyTo(side, _spots(side, plain).view(np.uint8))
    return StandOut(found, expected, apart, sides.get(-1), sides.get(1))


def _spots(apart: Plane, least: Plane) -> BoolArray:
    """Where a difference (n, W) is larger than `least` over a small square, and what belongs to such a place."""
    seeds = np.abs(cv2.blur(apart, (_OUT.window,) * 2)) > least
    if not seeds.any():
        return seeds
    found = (cv2.dilate(seeds.view(np.uint8), _REACH) > 0) & (np.abs(apart) > np.float32(_OUT.edge) * least)
    return cv2.dilate(found.view(np.uint8), _RIM).view(bool)


def _middle_of(seen: Sequence[Compensated]) -> tuple[Plane, Plane, Plane]:
    """Low, median and high of the neighbours, uint8, without one at each end where there are five or six."""
    planes = []
    top: Plane = np.full(seen[0].light.shape, np.uint8(255))
    for shown in seen:
        plane = eight_bit(shown.light, GAIN.pedestal)
        if shown.valid is not None:
            # Those that are not valid take turns at the two ends of the order, so the middle stays the middle.
            missing = cv2.bitwise_not(doubled(shown.valid, (plane.shape[0], plane.shape[1]), cv2.INTER_NEAREST))
            cv2.copyTo(top, missing, plane)
            top = cv2.bitwise_xor(top, missing)
        planes.append(plane)
    order = sorted_planes(planes)
    trim = 1 if len(order) > _OUT.fewest else 0
    half = len(order) // 2
    middle = order[half] if len(order) % 2 else cv2.addWeighted(order[half - 1], 0.5, order[half], 0.5, 0.0)
    return order[trim], middle, order[len(order) - 1 - trim]


def moving_past(motions: Sequence[MotionField]) -> Plane:
    """Return how far apart the motions around a pixel are, (H, W), as a share of what is too far.

    Args:
        motions: From a frame to its nearest neighbours, one or two; the quieter one counts.
    """
    square = np.ones((_PAST.cells, _PAST.cells), np.uint8)
    quietest: Plane | None = None
    for motion in motions:
        axes = cv2.split(motion.grid)
        apart = np.maximum(*(cv2.dilate(axis, square) - cv2.erode(axis, square) for axis in axes))
        quietest = apart if quietest is None else np.minimum(quietest, apart)
    assert quietest is not None
    height, width = motions[0].size
    most = _PAST.farthest * max(1.0, width / _PAST.columns)
    return cv2.resize(quietest / np.float32(most), (width, height), interpolation=cv2.INTER_NEAREST)


def missed_damage(seen: StandOut, unrest: Plane) -> BoolArray:
    """Tell what of a whole frame is missed damage.

    Args:
        seen: What stands out in all of the frame.
        unrest: (H, W), see `moving_past`.

    Returns:
        (H, W).
    """
    if not seen.found.any():
        return seen.found
    height, width = seen.found.shape
    spots = _Spots.of(seen.apart, seen.found)
    unit = max(1.0, width / _COURSE.columns)
    upright = (spots.size[:, 0] <= _OUT.line_width * unit) & (spots.size[:, 1] >= 2 * spots.size[:, 0])
    fits = (spots.area <= _OUT.largest * height * width) | upright
    fits &= spots.area >= _OUT.smallest * unit
    fits &= spots.mean(unrest) < 1
    if fits.any() and seen.before is not None and seen.after is not None:
        before, after = (_Spots.of(plane, plane != 0) for plane in (seen.before, seen.after))
        moving = spots.on_course(before, after, unit)
        if moving.sum() >= _COURSE.several and moving.sum() >= _COURSE.many * len(moving):
            return np.zeros_like(seen.found)
        fits &= ~moving
    if len(fits) > _COURSE.most:
        return np.zeros_like(seen.found)
    return np.concatenate(([False], fits))[spots.labels]


@dataclass(frozen=True, eq=False)
class _Spots:
    """Spots of a frame: labels (H, W) from 1; sizes and centres (N, 2), x first; areas, signed contrasts (N,)."""

    labels: NDArray[np.int32]
    size: Plane
    centre: Plane
    area: Plane
    signed: Plane

    def mean(self, plane: Plane) -> Plane:
        """Mean of a plane (H, W) over each spot, (N,)."""
        place = np.flatnonzero(self.labels)
        sums = np.bincount(self.labels.ravel()[place], weights=plane.ravel()[place], minlength=len(self.area) + 1)
        return np.asarray(sums[1:] / self.area, np.float32)

    @property
    def contrast(self) -> Plane:
        return np.abs(self.signed)

    @classmethod
    def of(cls, apart: Plane, found: BoolArray) -> "_Spots":
        count, labels, stats, centres = cv2.connectedComponentsWithStats(found.view(np.uint8), connectivity=8)
        place = np.flatnonzero(found)
        sums = np.bincount(labels.ravel()[place], weights=apart.ravel()[place], minlength=count)[1:]
        area = stats[1:, cv2.CC_STAT_AREA].astype(np.float32)
        size = stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].astype(np.float32)
        signed = (sums / area).astype(np.float32)
        return cls(np.asarray(labels, np.int32), size, centres[1:].astype(np.float32), area, signed)

    def on_course(self, before: "_Spots", after: "_Spots", unit: float) -> BoolArray:
        """Which lie in the middle between two that are like them, or have a twin near by, (N,)."""
        result, sides = np.zeros(len(self.area), bool), (before, after)
        for number in range(len(result)):
            twins = (
                other._like(self, number, _COURSE.twin, _COURSE.twin, _COURSE.twin_distance * unit) for other in sides
            )
            # What stays where it is, as the scene moves, is on no way.
            nearest = _COURSE.nearest * unit
            if any((np.linalg.norm(found - self.centre[number], axis=-1) > nearest).any() for found in twins):
                result[number] = True
                continue
            ratios = _COURSE.area_ratio, _COURSE.contrast_ratio
            first, second = (other._like(self, number, *ratios, _COURSE.farthest * unit) for other in sides)
            if not len(first) or not len(second):
                continue
            steps = second[None] - first[:, None]
            length = np.linalg.norm(steps, axis=-1)
            beside = np.linalg.norm((second[None] + first[:, None]) / 2 - self.centre[number], axis=-1)
            even = beside <= _COURSE.exactness * unit + _COURSE.slope * length
            result[number] = bool((even & (length >= 2 * _COURSE.nearest * unit)).any())
        return result

    def _like(self, spots: "_Spots", number: int, area: float, contrast: float, farthest: float) -> Plane:
        """Centres of those that are like a spot of another frame, up to ratios, and no farther from it than pixels."""
        alike = self.signed * spots.signed[number] > 0
        for mine, its, most in (
            (self.area, spots.area[number], area),
            (self.contrast, spots.contrast[number], contrast),
        ):
            alike &= (mine <= most * its) & (its <= most * mine)
        alike &= np.linalg.norm(self.centre - spots.centre[number], axis=-1) <= farthest
        return self.centre[alike]

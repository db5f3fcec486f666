"""Which spots go their way through the film, frame after frame: rain, confetti, sparks, a ball, a running counter.

What is small and fast stands out of every frame at another place and so looks like dirt to whoever sees two neighbours.
Dirt, though, has no course. Three things give a spot away, each judged against what chance does among as many others
(the a-contrario principle: A. Desolneux, L. Moisan, J.-M. Morel, "From Gestalt Theory to Image Analysis", Springer
2008):

- *A course.* Two other frames show such a spot on an even course through this one: before and after it, or twice on one
  side, where things begin and end.
- *Many courses.* Most spots of a frame seem to have one. Chance gives a few of them one, and rain nearly all; then what
  is small there cannot be told from dirt and is left.
- *A place.* Other frames show something else at the very place, and all around it stands still: a counter, a lamp.
  Dirt that stays shows the same.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane
from ...video.buffers.keyed_cache import Once
from .comparisons import Comparisons
from .evidence import same_sign

REACH = 2
"""The verdict on a frame depends on the comparisons of this many frames on each side."""

# Grey levels from which on a pixel stands out, for the spots of the other frames.
_LEVELS = 8.0
_LEAST_AREA = 2
_MOST_SPOTS = 1000
# Spots count as alike up to these ratios of area and contrast: what tumbles or comes nearer changes both.
_AREA_RATIO, _CONTRAST_RATIO = 4.0, 2.5
# Pixels at 480 columns: how far things move between two frames, and from where on they do at all.
_COLUMNS = 480
_FARTHEST, _NEAREST = 80.0, 2.5
# Two frames may be off an even course by this much whatever the chances, pixels.
_EXACTNESS, _LEAST_DISTANCE = 1.5, 2.0
_PATCH, _SLACK = 7, 2
# So many courses as good as the one found chance would give a spot at most, and how alike its looks must be, for the
# course to count alone.
_ALONE, _ALONE_ALIKE = 0.0003, 0.6
# The same for courses that count together, with looks and without. Of the spots of real dirt in a frame a tenth to a
# third have one with looks and up to four tenths one without; of rain and flakes seven tenths and more. So many
# deviations above the usual share there is no doubt.
_TOGETHER, _TOGETHER_ALIKE, _SHARE_OF_DIRT = 0.05, 0.7, 0.25
_BARELY, _SHARE_OF_DIRT_BARELY = 0.003, 0.4
_DEVIATIONS = 3.0
# What is that much larger than the median of the things that move is judged by itself.
_LARGER = 6.0
# Share of a spot on which both neighbours show something, how strong against the spot, and how like it at most.
_PLACE_SHARE, _PLACE_CONTRAST, _PLACE_ALIKE = 0.5, 0.5, 0.7
_NEXT = np.ones((3, 3), np.uint8)
# So many of the two frames on each side must show something there, on either side that the shot has: dirt falls on one
# place by chance once, hardly ever three times in five frames.
_LEAST_SHOWING = 2
# Grey levels by which the spot must stand out: motion explains half of a numeral by the next one.
_LEAST_CHANGE = 4.0
# Pixels from a spot within which what changes there must end: a counter has a plate, dirt on a moving scene not.
_ISLAND = 14
# The residual is kept in steps of a level, up to this.
_PEAK = 127.0


@dataclass(frozen=True)
class _Spots:
    """Spots of a frame: centres (N, 2) x, y; signs, areas in pixels and contrasts in grey levels (N,)."""

    centre: Plane
    sign: Plane
    area: Plane
    contrast: Plane

    def like(self, sign: float, area: float, contrast: float) -> "_Spots":
        """Those that are like a spot."""
        alike = self.sign == sign
        alike &= np.abs(np.log(self.area / area)) <= np.log(_AREA_RATIO)
        alike &= np.abs(np.log(self.contrast / contrast)) <= np.log(_CONTRAST_RATIO)
        return self.only(alike)

    def only(self, which: NDArray) -> "_Spots":
        """Those of some numbers, or where a mask (N,) holds."""
        return _Spots(self.centre[which], self.sign[which], self.area[which], self.contrast[which])


@dataclass(frozen=True)
class _Marks:
    """Where spots are: places (N,) of the pixels in the flattened frame; numbers (N,) from 1, 0 = of no spot."""

    places: NDArray[np.intp]
    numbers: NDArray[np.int32]


@dataclass(frozen=True)
class _Seen:
    """What stands out of a frame: spots, where they are, and (H, W) int8 by how many grey levels, blurred a little."""

    spots: _Spots
    marks: _Marks
    excess: NDArray[np.int8]

    def patch(self, centre: Plane, radius: int) -> Plane:
        """A square (2 radius + 1)² of the excess around a place."""
        x, y = (round(float(value)) for value in centre)
        height, width = self.excess.shape
        rows = np.clip(np.arange(y - radius, y + radius + 1), 0, height - 1)
        columns = np.clip(np.arange(x - radius, x + radius + 1), 0, width - 1)
        return self.excess[np.ix_(rows, columns)].astype(np.float32)


class Courses:
    """Spots of the frames of a window and their courses."""

    def __init__(self, window: Comparisons) -> None:
        self._window = window
        self._once = Once()

    def forget(self, before: int) -> None:
        """Give the memory back that only frames before this one need."""
        self._once.forget(lambda key: key[0] < before - REACH)

    def moving(self, index: int, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which of the spots (H, W) found in a frame go their way or are part of something that changes."""
        nothing = np.zeros(found.shape, bool)
        here = self._seen(index)
        if here is None or not found.any():
            return nothing
        _, parts, statistics, centres = cv2.connectedComponentsWithStats(found.view(np.uint8), connectivity=8)
        # Courses are those of what stands out below a spot: one found spot may hold several things.
        seen = here.marks.places
        below = np.unique(here.marks.numbers[found.ravel()[seen]])
        below = below[below > 0]
        going = np.zeros(len(here.spots.area) + 1, bool)
        if len(below):
            others = {step: self._seen(index + step) for step in (-2, -1, 1, 2)}
            going[below] = self._going(here, here.spots.only(below - 1), others)
        counted = here.marks.numbers > 0
        gone = _mostly(parts.ravel()[seen[counted]], going[here.marks.numbers[counted]], len(statistics))
        for number in np.flatnonzero(~gone[1:]) + 1:
            x, y, width, height = (int(value) for value in statistics[number, :4])
            box = slice(y, y + height), slice(x, x + width)
            gone[number] = self._changes(here, centres[number], box, parts[box] == number, index)
        nothing[found] = gone[parts[found]]
        return nothing

    def _going(self, here: "_Seen", spots: "_Spots", others: "dict[int, _Seen | None]") -> NDArray[np.bool_]:
        """Tell which of the spots of a frame have a course, (N,)."""
        chances, alike = np.array([self._course(here, spots, number, others) for number in range(len(spots.area))]).T
        gone = (chances < _ALONE) & (alike > _ALONE_ALIKE)
        with_looks = (chances < _TOGETHER) & (alike > _TOGETHER_ALIKE)
        for together, usual in ((with_looks, _SHARE_OF_DIRT), (chances < _BARELY, _SHARE_OF_DIRT_BARELY)):
            expected = usual * len(chances)
            if together.sum() > expected + _DEVIATIONS * np.sqrt(expected * (1 - usual)):
                gone |= spots.area <= _LARGER * np.median(spots.area[together])
        return gone

    def _spike(self, index: int) -> Plane:
        comparison = self._window.comparison(index)
        assert comparison is not None, "a frame that was seen has been compared"
        first, second = comparison.sides
        return same_sign(first.spike, second.spike)

    def _seen(self, index: int) -> _Seen | None:
        def compute() -> _Seen | None:
            comparison = self._window.comparison(index)
            if comparison is None or not self._window.can_be_judged(index):
                return None
            first, second = comparison.sides
            residual = cv2.GaussianBlur(same_sign(first.residual, second.residual), (0, 0), 1.0)
            excess = np.clip(np.rint(residual), -_PEAK, _PEAK).astype(np.int8)
            spots, marks = _spots_of(self._spike(index))
            return _Seen(spots, marks, excess)

        if not 0 <= index < len(self._window.luma):
            return None
        return self._once.get((index,), compute)

    def _course(self, here: _Seen, spots: _Spots, number: int, others: dict[int, _Seen | None]) -> tuple[float, float]:
        """Return how many courses as good as the best one chance would give a spot, and how alike its looks are on any.

        Alike is the correlation with the less similar of the two other frames.
        """
        height, width = here.excess.shape
        unit = max(1.0, width / _COLUMNS)
        radius, slack = round(_PATCH * min(unit, 3.0)), round(_SLACK * min(unit, 3.0))
        fewest, closest = np.inf, 0.0
        own: Plane | None = None
        for near_step, far_step in ((1, -1), (1, 2), (-1, -2)):
            near_seen, far_seen = others[near_step], others[far_step]
            if near_seen is None or far_seen is None:
                continue
            what = float(spots.sign[number]), float(spots.area[number]), float(spots.contrast[number])
            near, far = near_seen.spots.like(*what), far_seen.spots.like(*what)
            shift = near.centre - spots.centre[number]
            distance = np.hypot(shift[:, 0], shift[:, 1])
            within = (distance <= _FARTHEST * unit) & (distance >= _NEAREST * unit)
            if not within.any() or not len(far.area):
                continue
            start, shift, distance = near.centre[within], shift[within], distance[within]
            ahead = spots.centre[number] + far_step / near_step * shift
            off = np.linalg.norm(ahead[:, None] - far.centre[None], axis=-1)
            nearest = off.argmin(axis=1)
            off = np.maximum(off.min(axis=1), _EXACTNESS * unit)
            density = len(near.area) / (height * width), len(far.area) / (height * width)
            chances = density[0] * np.pi * np.maximum(distance, _LEAST_DISTANCE * unit) ** 2
            chances *= density[1] * np.pi * off**2
            fewest = min(fewest, float(chances.min()))
            for best in np.argsort(chances, kind="stable")[:3]:
                if chances[best] < _TOGETHER:
                    own = here.patch(spots.centre[number], radius) if own is None else own
                    places = ((near_seen, start[best]), (far_seen, far.centre[nearest[best]]))
                    looks = (_correlation(own, seen.patch(at, radius + slack)) for seen, at in places)
                    closest = max(closest, min(looks))
        return fewest, closest

    def _changes(
        self, here: _Seen, centre: Plane, box: tuple[slice, slice], inside: NDArray[np.bool_], index: int
    ) -> bool:
        """Tell whether other frames show something at the place of a found spot, and not the same."""
        own = float(np.median(np.abs(here.excess[box].astype(np.float32))[inside]))
        # Dirt that stays for some frames hardly stands out between two of them, no more than grain does elsewhere.
        if own < _LEAST_CHANGE:
            return False
        least = _PLACE_CONTRAST * own
        sides: dict[bool, list[bool]] = {}
        alike = 1.0
        for step in (-2, -1, 1, 2):
            seen = self._seen(index + step)
            if seen is None:
                continue
            side = sides.setdefault(step > 0, [])
            shown = cv2.dilate((np.abs(seen.excess[box].astype(np.float32)) >= least).astype(np.uint8), _NEXT)
            shows = float(shown[inside].mean()) >= _PLACE_SHARE
            side.append(shows and self._stands(index, index + step, box, inside))
            if not side[-1]:
                continue
            alike = min(alike, _correlation(here.patch(centre, _PATCH), seen.patch(centre, _PATCH)))
        # What comes and goes shows before and after; dirt that stays for some frames has a first and a last one.
        showing = sum(sum(side) for side in sides.values())
        return showing >= _LEAST_SHOWING and all(any(side) for side in sides.values()) and alike < _PLACE_ALIKE

    def _stands(self, index: int, other: int, box: tuple[slice, slice], inside: NDArray[np.bool_]) -> bool:
        """Tell whether what changes at a found spot, up to another frame, is an island in what stands still."""
        same = self._window.same_place(index, other)
        # Beyond the frame everything counts as changed.
        (top, bottom), (left, right) = ((part.start - _ISLAND, part.stop + _ISLAND) for part in box)
        rows, columns = slice(max(0, top), bottom), slice(max(0, left), right)
        changed = ~same[rows, columns]
        margin = (
            (rows.start - top, max(0, bottom - same.shape[0])),
            (columns.start - left, max(0, right - same.shape[1])),
        )
        area = np.pad(changed, margin, constant_values=True)
        area[_ISLAND:-_ISLAND, _ISLAND:-_ISLAND] |= inside
        _, parts = cv2.connectedComponents(area.astype(np.uint8), connectivity=4)
        own = np.unique(parts[_ISLAND:-_ISLAND, _ISLAND:-_ISLAND][inside])
        edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        return not np.isin(own, edge).any()


def _spots_of(spike: Plane) -> tuple[_Spots, _Marks]:
    """The strongest spots of a frame of which this stands out, (H, W) grey levels, and where they are."""
    measured: list[NDArray] = []
    places: list[NDArray[np.intp]] = []
    numbers: list[NDArray[np.int32]] = []
    for sign, over in ((1.0, spike > _LEVELS), (-1.0, spike < -_LEVELS)):
        count, parts, statistics, centres = cv2.connectedComponentsWithStats(over.view(np.uint8), connectivity=8)
        # What stands out is little of a frame: the rest is not looked at again.
        where = np.flatnonzero(over)
        part = parts.ravel()[where]
        area = statistics[:, cv2.CC_STAT_AREA].astype(np.float64)
        contrast = np.bincount(part, weights=np.abs(spike.ravel()[where]), minlength=count) / np.maximum(area, 1)
        kept = np.flatnonzero(area >= _LEAST_AREA)
        kept = kept[kept > 0]
        numbering = np.zeros(count, np.int32)
        numbering[kept] = np.arange(len(kept)) + 1 + sum(len(rows) for rows in measured)
        places.append(where)
        numbers.append(numbering[part])
        measured.append(np.column_stack([centres[kept], np.full(len(kept), sign), area[kept], contrast[kept]]))
    every = np.concatenate(measured)
    strongest = np.sort(np.argsort(-every[:, 4] * np.sqrt(every[:, 3]), kind="stable")[:_MOST_SPOTS])
    renumbered = np.zeros(len(every) + 1, np.int32)
    renumbered[strongest + 1] = np.arange(len(strongest)) + 1
    every = every[strongest]
    spots = _Spots(every[:, :2], every[:, 2], every[:, 3], every[:, 4])
    return spots, _Marks(np.concatenate(places), renumbered[np.concatenate(numbers)])


def _mostly(parts: NDArray, holds: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Tell of each part, by its number, whether something holds for most of its pixels (N,) that count."""
    total = np.bincount(parts, minlength=size)
    share = np.bincount(parts[holds], minlength=size)
    result = 2 * share > total
    result[0] = False
    return result


def _correlation(patch: Plane, area: Plane) -> float:
    """The best normalised correlation of a patch anywhere in an area that is as large or larger."""
    if float(np.ptp(patch)) == 0 or float(np.ptp(area)) == 0:
        return 0.0
    return float(cv2.matchTemplate(area, patch, cv2.TM_CCOEFF_NORMED).max())

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

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane
from ...video.buffers.keyed_cache import Once
from .features import DirtFeatures
from .parts import Parts

REACH = 2
"""The verdict on a frame depends on what stands out in this many frames on each side."""


@dataclass(frozen=True, kw_only=True)
class CourseSpots:
    """The spots of the frames around, among which courses are looked for.

    Attributes:
        levels: Grey levels from which on a pixel stands out.
        least_area: Pixels of a spot; single ones are grain.
        most: Spots of a frame, the strongest: among more every spot has a course by chance.
        area_ratio: Ratio of areas up to which two spots are alike: what tumbles or comes nearer changes both.
        contrast_ratio: The same of contrasts.
    """

    levels: float = 8.0
    least_area: int = 2
    most: int = 1000
    area_ratio: float = 4.0
    contrast_ratio: float = 2.5


@dataclass(frozen=True, kw_only=True)
class CourseShape:
    """What an even course is; distances in pixels of a frame 480 columns wide, and more on wider ones.

    Attributes:
        columns: Columns of a frame on which the distances hold.
        farthest: Pixels that things move between two frames at most.
        nearest: Pixels from where on they move at all.
        exactness: Pixels that two frames may be off an even course by whatever the chances.
        least_distance: Pixels that count as moved at least, in the chances.
        patch: Pixels on each side of a place that are compared.
        slack: Pixels on each side by which a place may be off when they are.
        largest_unit: A ratio: patches grow with the frame up to this many times; a larger one costs more and tells no
            more.
        tried: Courses, the least likely by chance, whose looks are compared.
    """

    columns: int = 480
    farthest: float = 80.0
    nearest: float = 2.5
    exactness: float = 1.5
    least_distance: float = 2.0
    patch: int = 7
    slack: int = 2
    largest_unit: float = 3.0
    tried: int = 3


@dataclass(frozen=True, kw_only=True)
class CourseChances:
    """How many courses as good as the one found chance would give a spot at most, and how alike its looks must be.

    Of the spots of real dirt in a frame a tenth to a third have a course with looks and up to four tenths one without;
    of rain and flakes seven tenths and more.

    Attributes:
        alone: Number of courses by chance for one to count alone.
        alone_alike: Correlation of its looks.
        together: Number for courses that count together, with looks.
        together_alike: Correlation of these.
        share_of_dirt: Share of the spots that have such a course where all of them are dirt.
        barely: Number for courses that count together whatever their looks.
        share_of_dirt_barely: Share of the spots of dirt that have one of these.
        deviations: Deviations above such a share at which there is no doubt that some move.
        larger: Ratio to the median area of the things that move above which a spot is judged by itself.
    """

    alone: float = 0.0003
    alone_alike: float = 0.6
    together: float = 0.05
    together_alike: float = 0.7
    share_of_dirt: float = 0.25
    barely: float = 0.003
    share_of_dirt_barely: float = 0.4
    deviations: float = 3.0
    larger: float = 6.0


@dataclass(frozen=True, kw_only=True)
class ChangingPlace:
    """What tells a place that changes, a counter or a lamp, from dirt that fell there.

    Attributes:
        share: Share of a spot on which a neighbour shows something.
        contrast: Share of the spot's strength that this must have.
        alike: Correlation with the spot that it has at most: dirt that stays shows the same.
        next: Pixels on each side of the square within which something shows at a pixel.
        least_showing: Frames, of the two on each side, that must show something there, on either side that the shot
            has: dirt falls on one place by chance once, hardly ever three times in five frames.
        island: Pixels from a spot within which what changes there must end: a counter has a plate, dirt on a moving
            scene not.
    """

    share: float = 0.5
    contrast: float = 0.5
    alike: float = 0.7
    next: int = 3
    least_showing: int = 2
    island: int = 14


_SPOT = CourseSpots()
_COURSE = CourseShape()
_CHANCE = CourseChances()
_PLACE = ChangingPlace()
_NEXT = np.ones((_PLACE.next, _PLACE.next), np.uint8)
# Grey levels by which the spot must stand out: motion explains half of a numeral by the next one.
_LEAST_CHANGE = 4.0
_AT_ONCE = 256
"""Ways from spot to spot whose ends are looked for at once, which bounds the memory."""


@dataclass(frozen=True)
class _Spots:
    """Spots of a frame: centres (N, 2) x, y; signs, areas in pixels and contrasts in grey levels (N,)."""

    centre: Plane
    sign: Plane
    area: Plane
    contrast: Plane

    def like(self, others: "_Spots") -> NDArray[np.bool_]:
        """Tell which of other spots (M,) are like each of these, (N, M)."""
        alike = self.sign[:, None] == others.sign
        for own, their, ratio in (
            (self.area, others.area, _SPOT.area_ratio),
            (self.contrast, others.contrast, _SPOT.contrast_ratio),
        ):
            alike &= np.abs(np.log(their) - np.log(own)[:, None]) <= np.log(ratio)
        return alike

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
        """A square (2 radius + 1)² of the excess around a place, continued beyond the border."""
        x, y = (round(float(value)) for value in centre)
        height, width = self.excess.shape
        top, left = y - radius, x - radius
        if top >= 0 and y + radius < height and left >= 0 and x + radius < width:
            return self.excess[top : y + radius + 1, left : x + radius + 1].astype(np.float32)
        rows = np.clip(np.arange(top, y + radius + 1), 0, height - 1)
        columns = np.clip(np.arange(left, x + radius + 1), 0, width - 1)
        return self.excess[np.ix_(rows, columns)].astype(np.float32)


@dataclass(frozen=True)
class _EvenCourses:
    """Even courses (N,) through spots: which spot, where from and where to among those of two frames, and the chances.

    Ordered by spot.
    """

    spot: NDArray[np.intp]
    start: NDArray[np.intp]
    end: NDArray[np.intp]
    chances: Plane

    def likeliest(self, most: int) -> Iterator[tuple[int, int, int]]:
        """Yield the least likely by chance of each spot, so many of them: spot, start and end."""
        order = np.lexsort((self.chances, self.spot))
        which = self.spot[order]
        first = np.searchsorted(which, which)
        for number in order[np.arange(len(order)) - first < most]:
            yield int(self.spot[number]), int(self.start[number]), int(self.end[number])


def _even_courses(spots: _Spots, near: _Spots, far: _Spots, ratio: float, unit: float, pixels: int) -> _EvenCourses:
    """Find the courses of spots on which a spot of a near and one of a far frame lie, that chance does not give often.

    Args:
        spots: Of the frame.
        near: Of the one frame.
        far: Of the other one.
        ratio: How many times as far away in time it is; negative on the other side.
        unit: Pixels to which the distances of `CourseShape` are scaled.
        pixels: Of the frame.
    """
    like_near, like_far = spots.like(near), spots.like(far)
    crowds = like_near.sum(axis=1) * like_far.sum(axis=1) * (np.pi / pixels) ** 2
    shift = np.asarray(near.centre - spots.centre[:, None])
    distance = np.hypot(shift[..., 0], shift[..., 1])
    which = like_near & (distance >= _COURSE.nearest * unit) & (distance <= _COURSE.farthest * unit)
    np.maximum(distance, _COURSE.least_distance * unit, out=distance)
    # Among so many spots even the most exact course over a longer way counts for nothing.
    least = crowds[:, None] * np.square(distance * (_COURSE.exactness * unit))
    which &= np.asarray(least < _CHANCE.together)
    which &= np.any(like_far, axis=1, keepdims=True)
    spot, start = np.nonzero(which)
    end, off = np.zeros(len(spot), np.intp), np.zeros(len(spot))
    for first in range(0, len(spot), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        ahead = spots.centre[spot[some]] + ratio * shift[spot[some], start[some]]
        apart = np.square(ahead[:, :1] - far.centre[:, 0]) + np.square(ahead[:, 1:] - far.centre[:, 1])
        np.copyto(apart, np.inf, where=~like_far[spot[some]])
        end[some] = apart.argmin(axis=1)
        off[some] = np.sqrt(apart.min(axis=1))
    np.maximum(off, _COURSE.exactness * unit, out=off)
    chances = np.asarray(crowds[spot] * np.square(distance[spot, start] * off))
    counts = np.asarray(chances < _CHANCE.together)
    return _EvenCourses(spot[counts], start[counts], end[counts], chances[counts])


class Courses:
    """Spots of the frames of a window and their courses."""

    def __init__(self, features: DirtFeatures) -> None:
        self._features, self._window = features, features.window
        self._once = Once()

    def forget(self, before: int) -> None:
        """Give the memory back that only frames before this one need."""
        self._once.forget(lambda key: key[0] < before - REACH)

    def moving(self, index: int, found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which of the spots (H, W) found in a frame go their way or are part of something that changes."""
        here = self._seen(index)
        if here is None or not found.any():
            return np.zeros(found.shape, bool)
        parts = Parts(found)
        # Courses are those of what stands out below a spot: one found spot may hold several things.
        seen = here.marks.places
        below = np.unique(here.marks.numbers[found.ravel()[seen]])
        below = below[below > 0]
        going = np.zeros(len(here.spots.area) + 1, bool)
        if len(below):
            others = {step: self._seen(index + step) for step in (-2, -1, 1, 2)}
            going[below] = self._going(here, here.spots.only(below - 1), others)
        counted = here.marks.numbers > 0
        gone = _mostly(parts.labels.ravel()[seen[counted]], going[here.marks.numbers[counted]], parts.count)
        shows = self._showing(here, index, parts)
        for number in np.flatnonzero(_before_and_after(shows) & ~gone).tolist():
            gone[number] = self._changes(here, index, parts, number, shows)
        return parts.spread(gone)

    def _going(self, here: "_Seen", spots: "_Spots", others: "dict[int, _Seen | None]") -> NDArray[np.bool_]:
        """Tell which of the spots of a frame have a course, (N,)."""
        chances, alike = self._courses(here, spots, others)
        gone = (chances < _CHANCE.alone) & (alike > _CHANCE.alone_alike)
        with_looks = (chances < _CHANCE.together) & (alike > _CHANCE.together_alike)
        for together, usual in (
            (with_looks, _CHANCE.share_of_dirt),
            (chances < _CHANCE.barely, _CHANCE.share_of_dirt_barely),
        ):
            expected = usual * len(chances)
            if together.sum() > expected + _CHANCE.deviations * np.sqrt(expected * (1 - usual)):
                gone |= spots.area <= _CHANCE.larger * np.median(spots.area[together])
        return gone

    def _seen(self, index: int) -> _Seen | None:
        def compute() -> _Seen | None:
            alone = self._features.standing_out(index)
            if alone is None or not self._window.can_be_judged(index):
                return None
            spots, marks = _spots_of(alone.beyond.plane())
            return _Seen(spots, marks, alone.excess)

        if not 0 <= index < len(self._window.luma):
            return None
        return self._once.get((index,), compute)

    def _courses(self, here: _Seen, spots: _Spots, others: dict[int, _Seen | None]) -> tuple[Plane, Plane]:
        """Return for each spot how many courses as good as its best one chance would give it, and how alike it looks.

        Both are (N,); courses that chance gives so often that they do not count are infinitely many, of no likeness.
        Alike is the correlation with the less similar of the two other frames, on any course.
        """
        fewest, closest = np.full(len(spots.area), np.inf), np.zeros(len(spots.area))
        height, width = here.excess.shape
        unit = max(1.0, width / _COURSE.columns)
        radius, slack = (round(size * min(unit, _COURSE.largest_unit)) for size in (_COURSE.patch, _COURSE.slack))
        patches: dict[int, Plane] = {}
        for near_step, far_step in ((1, -1), (1, 2), (-1, -2)):
            near, far = others[near_step], others[far_step]
            if near is None or far is None:
                continue
            found = _even_courses(spots, near.spots, far.spots, far_step / near_step, unit, height * width)
            np.minimum.at(fewest, found.spot, found.chances)
            for number, start, end in found.likeliest(_COURSE.tried):
                if number not in patches:
                    patches[number] = here.patch(spots.centre[number], radius)
                places = ((near, near.spots.centre[start]), (far, far.spots.centre[end]))
                looks = (_correlation(patches[number], seen.patch(at, radius + slack)) for seen, at in places)
                closest[number] = max(closest[number], min(looks))
        return fewest, closest

    def _showing(self, here: _Seen, index: int, parts: Parts) -> dict[int, NDArray[np.bool_]]:
        """Tell for each of the frames around, by its step, where of the found spots it shows something, (count,)."""
        own = parts.medians(np.abs(here.excess.ravel()[parts.places]))
        # Dirt that stays for some frames hardly stands out between two of them, no more than grain does elsewhere.
        strong = own >= _LEAST_CHANGE
        least = _PLACE.contrast * own[parts.numbers]
        shows = {}
        for step in (-2, -1, 1, 2):
            seen = self._seen(index + step)
            if seen is not None:
                near = cv2.dilate(np.abs(seen.excess).view(np.uint8), _NEXT).ravel()[parts.places]
                shows[step] = strong & (parts.shares(near >= least) >= _PLACE.share)
        return shows

    def _changes(self, here: _Seen, index: int, parts: Parts, number: int, shows: dict[int, NDArray[np.bool_]]) -> bool:
        """Tell whether what other frames, by their steps, show at the place of a found spot is not the same."""
        box = parts.box(number)
        inside = parts.labels[box] == number
        stands = {
            step: np.array([bool(there[number]) and self._stands(index, index + step, box, inside)])
            for step, there in shows.items()
        }
        if not _before_and_after(stands)[0]:
            return False
        centre = parts.centres[number]
        own = here.patch(centre, _COURSE.patch)
        looks = [seen for step, there in stands.items() if there[0] and (seen := self._seen(index + step)) is not None]
        return min(_correlation(own, seen.patch(centre, _COURSE.patch)) for seen in looks) < _PLACE.alike

    def _stands(self, index: int, other: int, box: tuple[slice, slice], inside: NDArray[np.bool_]) -> bool:
        """Tell whether what changes at a found spot, up to another frame, is an island in what stands still."""
        luma = self._window.luma
        # Beyond the frame everything counts as changed.
        (top, bottom), (left, right) = ((part.start - _PLACE.island, part.stop + _PLACE.island) for part in box)
        rows, columns = slice(max(0, top), bottom), slice(max(0, left), right)
        changed = ~self._window.same_within(index, other, (rows, columns))
        margin = (
            (rows.start - top, max(0, bottom - luma.shape[1])),
            (columns.start - left, max(0, right - luma.shape[2])),
        )
        area = np.pad(changed, margin, constant_values=True)
        area[_PLACE.island : -_PLACE.island, _PLACE.island : -_PLACE.island] |= inside
        _, parts = cv2.connectedComponents(area.astype(np.uint8), connectivity=4)
        own = np.unique(parts[_PLACE.island : -_PLACE.island, _PLACE.island : -_PLACE.island][inside])
        edge = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        return not np.isin(own, edge).any()


def _before_and_after(shows: dict[int, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Tell of spots (N,) whether enough of the frames around, by their steps, show something, on either side.

    What comes and goes shows before and after; dirt that stays for some frames has a first and a last one.
    """
    result = np.sum(list(shows.values()), axis=0) >= _PLACE.least_showing
    for side in (-1, 1):
        own = [there for step, there in shows.items() if step * side > 0]
        if own:
            result &= np.any(own, axis=0)
    return np.asarray(result, bool)


def _spots_of(spike: Plane) -> tuple[_Spots, _Marks]:
    """The strongest spots of a frame of which this stands out, (H, W) grey levels, and where they are."""
    measured: list[NDArray] = []
    places: list[NDArray[np.intp]] = []
    numbers: list[NDArray[np.int32]] = []
    for sign, over in ((1.0, spike > _SPOT.levels), (-1.0, spike < -_SPOT.levels)):
        parts = Parts(over)
        contrast = parts.means(np.abs(spike.ravel()[parts.places]))
        kept = np.flatnonzero(parts.areas >= _SPOT.least_area)
        numbering = np.zeros(parts.count, np.int32)
        numbering[kept] = np.arange(len(kept)) + 1 + sum(len(rows) for rows in measured)
        places.append(parts.places)
        numbers.append(numbering[parts.numbers])
        row = (parts.centres[kept], np.full(len(kept), sign), parts.areas[kept], contrast[kept])
        measured.append(np.column_stack(row))
    every = np.concatenate(measured)
    strongest = np.sort(np.argsort(-every[:, 4] * np.sqrt(every[:, 3]), kind="stable")[: _SPOT.most])
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

"""Whether a spot that a network takes for dirt is something that moves, because a neighbour shows it elsewhere.

A network sees how far things stand out, but cannot search. Here each spot is searched in the neighbouring frames by
its grey levels, as `dirt_spots` does for its own spots. What is found in the same place is no reason to doubt: dirt may
stay for a few frames.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane
from .parts import Parts


@dataclass(frozen=True, kw_only=True)
class TwinSearch:
    """How a spot is searched in another frame; the spots of `spots` and those of the network are searched alike.

    Attributes:
        searches: Up to which area of its box, pixels, a spot is searched; how many pixels far, because larger things go
            faster; and on a grid how many times as coarse. What is larger still is a patch, and patches of a smooth
            picture find twins everywhere.
        margin: Pixels around a spot's box that are compared with it.
        rim: Pixels on each side of the ellipse by which a spot is widened when it is compared: its soft rim, two wide.
        rim_share: Share that the rim has in the comparison of a larger thing: what runs has another background
            elsewhere, so its rim does not fit.
        same_thing: Misfit, as a share of the spot's own excess, below which the thing is there, whatever else speaks
            for dirt; one spot of dirt in a hundred finds a twin by chance.
        body: Share of a coarse pixel that must be the spot for it to belong to its body.
        swerve: Pixels by which a thing found in both neighbours may be off an even course whatever its way.
        swerve_of_way: Share of its way by which it may be off besides.
    """

    searches: tuple[tuple[int, int, int], ...] = ((100, 32, 1), (1000, 64, 1), (6000, 64, 2))
    margin: int = 3
    rim: int = 5
    rim_share: float = 0.3
    same_thing: float = 0.25
    body: float = 0.5
    swerve: float = 3
    swerve_of_way: float = 0.5

    def reach_and_scale(self, area: int) -> tuple[int, int]:
        """How far, in pixels, and on how coarse a grid a spot with a box of an area is searched; 0, 0 = not at all."""
        return next(((reach, scale) for largest, reach, scale in self.searches if area <= largest), (0, 0))

    def is_small(self, area: int) -> bool:
        """Whether a spot with a box of an area is so small that its background goes with it."""
        return area <= self.searches[0][0]


@dataclass(frozen=True, kw_only=True)
class NetworkDoubts:
    """What makes something that moves of a spot that the network takes for dirt.

    Attributes:
        least_shift: Pixels from its place at which a twin counts: dirt may stay in place for a few frames.
        sure: Mean probability of a spot from which on the twin must be a closer one: specks find some by chance.
        very_same_thing: Misfit of such a closer twin, as `TwinSearch.same_thing`.
    """

    least_shift: float = 2.0
    sure: float = 0.95
    very_same_thing: float = 0.1


TWIN = TwinSearch()
_COURSE = NetworkDoubts()
RIM = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (TWIN.rim, TWIN.rim))
"""The ellipse by which a spot is widened when it is compared."""


def moving_spots(
    certainty: Plane, doubtful: float, frame: Plane, references: tuple[Plane, Plane], excess: Plane, *, ratio: float
) -> NDArray[np.bool_]:
    """Tell which spots a neighbour shows elsewhere.

    Args:
        certainty: (H, W), the network's probability of dirt.
        doubtful: Pixels at or above this probability are joined to spots.
        frame: (H, W), grey levels.
        references: The two frames it was compared with, (H, W) each.
        excess: (H, W), grey levels by which the frame differs from both along the motion.
        ratio: How much further away in time the second reference is than the first; negative on the other side.

    Returns:
        (H, W), those of the spots that move.
    """
    moving = np.zeros(frame.shape, bool)
    height, width = frame.shape
    parts = Parts(certainty >= doubtful)
    sureness = parts.means(certainty.ravel()[parts.places])
    for number in range(1, parts.count):
        x, y, w, h = (int(value) for value in parts.boxes[number])
        reach, scale = TWIN.reach_and_scale(w * h)
        if not reach:
            continue
        alike = _COURSE.very_same_thing if sureness[number] >= _COURSE.sure else TWIN.same_thing
        top, left = max(y - TWIN.margin, 0), max(x - TWIN.margin, 0)
        bottom, right = min(y + h + TWIN.margin, height), min(x + w + TWIN.margin, width)
        here = slice(top, bottom), slice(left, right)
        above, before = min(reach, top), min(reach, left)
        around = slice(top - above, bottom + reach), slice(left - before, right + reach)
        body = (parts.labels[here] == number).astype(np.uint8)
        rim = cv2.dilate(body, RIM).astype(np.float32)
        planes = frame[here], rim, body.astype(np.float32), excess[here], *(other[around] for other in references)
        patch, rim, core, over, first, second = (shrunk(plane, scale) for plane in planes)
        home = np.array([before // scale, above // scale])
        gone = _elsewhere((first, second), patch, rim, over, home, _COURSE.least_shift / scale, alike)
        if not gone and not TWIN.is_small(w * h):
            # What runs has another background elsewhere, so the rim of a larger thing does not fit.
            gone = _runs(
                (first, second), patch, np.where(core >= TWIN.body, 1, TWIN.rim_share * rim), over, home, ratio
            )
        if gone:
            moving[here] |= body > 0
    return moving


def _elsewhere(
    areas: tuple[Plane, Plane],
    patch: Plane,
    rim: Plane,
    excess: Plane,
    home: NDArray[np.int_],
    least_shift: float,
    alike: float,
) -> bool:
    """Tell whether the better of both matches is a good one, and not in place."""
    misfit, place = min((best_match(area, patch, rim, excess) for area in areas), key=lambda match: match[0])
    return misfit < alike and float(np.hypot(*(place - home))) >= least_shift


def _runs(
    areas: tuple[Plane, Plane], patch: Plane, weight: Plane, excess: Plane, home: NDArray[np.int_], ratio: float
) -> bool:
    """Tell whether a thing is found in both references on an even course, whatever is behind it there."""
    first, gone = best_match(areas[0], patch, weight, excess)
    if first >= TWIN.same_thing:
        return False
    second, came = best_match(areas[1], patch, weight, excess)
    shift, onward = gone - home, came - home
    steady = float(np.hypot(*(onward - ratio * shift))) < TWIN.swerve + TWIN.swerve_of_way * float(np.hypot(*shift))
    return second < TWIN.same_thing and steady and bool(shift.any())


def best_match(area: Plane, patch: Plane, weight: Plane, excess: Plane) -> tuple[float, NDArray[np.int_]]:
    """Best misfit of a weighted patch in an area, as a share of the patch's own excess, and where (x, y)."""
    energy = float((np.square(excess) * weight).sum()) + 1.0
    least, _, place, _ = cv2.minMaxLoc(cv2.matchTemplate(area, patch, cv2.TM_SQDIFF, mask=weight))
    return max(least, 0.0) / energy, np.array(place)


def shrunk(plane: Plane, scale: int) -> Plane:
    """Reduce a plane (H, W) by a whole factor."""
    if scale == 1:
        return plane
    height, width = plane.shape
    return cv2.resize(plane, (max(1, width // scale), max(1, height // scale)), interpolation=cv2.INTER_AREA)

"""Spots that may be dirt, and how sure that is.

A spot is a connected set of pixels that stand out with one sign, seeded by at least one pixel that is new against its
surroundings too. Whether it is dirt or motion that the flow missed shows in the spot as a whole: how far it stands out,
against the detail it lies on, against what motion compensation leaves unexplained around it, and against what moves
there; and whether the same thing is found elsewhere in a neighbour, which then did not appear but came.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane
from .evidence import Evidence

_ACTIVITY_WINDOW = (15, 15)
_FLOW_WINDOW = (9, 9)
_RING_INNER = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_RING_OUTER = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
_MOST_SPOTS = 4000

# Weight and floor of the logarithms in the certainty, fitted by logistic regression to 2000 spots of dirt (the
# simulation of this package, and scanned dirt textures) and 8500 false alarms on moving pictures with grain; leaving a
# whole scene out of the fit costs nothing.
_WEIGHTS = {
    "contrast": (3.26, 1.0),
    "unexplained": (-2.82, 1.0),
    "activity": (-1.87, 1.0),
    "detail": (-0.44, 4.0),
    "inconsistency": (-0.57, 0.3),
    "area": (0.49, 1.0),
}
_OFFSET = -1.41
_STRUCTURE_WEIGHT = -4.2
_SEARCH_WEIGHT = 1.66
_SEARCH_FLOOR = 0.02
# Below this the thing is there, whatever else speaks for dirt; one spot of dirt in a hundred finds a twin by chance.
_SAME_THING = 0.25
# Up to which area of box a spot is searched, how many pixels far (larger things go faster), and on how coarse a grid.
# What is larger still is a patch, and patches of a smooth picture find twins everywhere.
_RIM_SHARE = np.float32(0.3)
_SEARCHES = ((100, 32, 1), (1000, 64, 1), (6000, 64, 2))
# What appears for several frames, or can be judged from one side alone, must be clearer: things come and go in films.
_ONE_SIDED_PENALTY = 0.7
_LASTING_PENALTY = 2.5
_STEADINESS_WEIGHT = 2.0
_LARGEST_CHANGE = 0.6


@dataclass(frozen=True)
class Spots:
    """Candidate spots of one frame, numbered from 1.

    Attributes:
        labels: (H, W) uint16, 0 = no spot.
        boxes: (N, 4) x, y, width, height.
        area: (N,) pixels.
        contrast: (N,) mean spike, grey levels.
        unexplained: (N,) mean residual in a ring around the spot, grey levels.
        activity: (N,) mean temporal activity, grey levels.
        structure: (N,) mean structure of the spot's own sign under it, grey levels, ≥ 0.
        detail: (N,) mean detail under the spot, grey levels.
        inconsistency: (N,) mean flow error in the spot, pixels.
        residual: (H, W) what the frame has over its references, grey levels.
    """

    labels: NDArray[np.uint16]
    boxes: NDArray[np.int32]
    area: Plane
    contrast: Plane
    unexplained: Plane
    activity: Plane
    structure: Plane
    detail: Plane
    inconsistency: Plane
    residual: Plane

    def mean(self, plane: Plane) -> Plane:
        """Return the mean of a plane (H, W) over each spot, (N,)."""
        where = np.flatnonzero(self.labels)
        sums = np.bincount(self.labels.ravel()[where], weights=plane.ravel()[where], minlength=len(self.area) + 1)
        return sums[1:] / self.area


def activity_of(evidence: Evidence) -> Plane:
    """Local temporal activity (H, W), grey levels: what moves or is grainy, whatever the frame itself shows."""
    return cv2.blur(evidence.disagreement, _ACTIVITY_WINDOW)


def find_spots(evidence: Evidence, *, threshold: float, min_size: int, signs: tuple[int, ...] = (1, -1)) -> Spots:
    """Collect the candidates of one frame.

    Args:
        evidence: Of the frame.
        threshold: Grey levels by which a seed stands out from the surroundings of the place, in a calm region.
        min_size: Pixels.
        signs: 1 for bright spots, -1 for dark ones.
    """
    activity = activity_of(evidence)
    guard = activity + 0.5 * cv2.blur(evidence.inconsistency, _FLOW_WINDOW)
    busy = 0.05 * evidence.detail
    seed_level, weak_level = threshold + guard, 0.75 * threshold + 0.5 * guard
    labels = np.zeros(activity.shape, np.uint16)
    boxes: list[NDArray[np.int32]] = []
    for sign in signs:
        texture = sign * evidence.structure
        np.maximum(texture, 0, out=texture)
        texture *= np.float32(0.4)
        texture += busy
        seeds = sign * evidence.novelty - 2 * texture > seed_level
        if not seeds.any():
            continue
        weak = sign * evidence.spike - texture > weak_level
        weak |= seeds
        # A faint patch hides in the grain pixel by pixel, but not on the average over a few pixels.
        weak |= sign * evidence.soft - texture > weak_level
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(weak.view(np.uint8), connectivity=8)
        wanted = np.zeros(len(statistics), bool)
        wanted[parts[seeds]] = True
        wanted &= statistics[:, cv2.CC_STAT_AREA] >= min_size
        wanted[0] = False
        chosen = np.flatnonzero(wanted)[: _MOST_SPOTS - len(boxes)]
        numbers = np.zeros(len(statistics), np.uint16)
        numbers[chosen] = np.arange(len(chosen), dtype=np.uint16) + 1 + len(boxes)
        placed = numbers[parts]
        labels = np.where(placed > 0, placed, labels)
        boxes += list(statistics[chosen, :4])
    return _measure(labels, np.array(boxes, np.int32).reshape(-1, 4), evidence, activity)


def _measure(labels: NDArray[np.uint16], boxes: NDArray[np.int32], evidence: Evidence, activity: Plane) -> Spots:
    count = len(boxes)
    where = np.flatnonzero(labels)
    which = labels.ravel()[where]
    area = np.maximum(np.bincount(which, minlength=count + 1)[1:], 1)

    def inside(plane: Plane) -> Plane:
        return np.bincount(which, weights=plane.ravel()[where], minlength=count + 1)[1:] / area

    ring: NDArray = labels
    if count:
        ring = cv2.dilate(labels, _RING_OUTER)
        np.copyto(ring, 0, where=cv2.dilate((labels > 0).astype(np.uint8), _RING_INNER) > 0)
    places = np.flatnonzero(ring)
    owner = ring.ravel()[places]
    size = np.bincount(owner, minlength=count + 1)[1:]
    around = np.bincount(owner, weights=evidence.residual.ravel()[places], minlength=count + 1)[1:]
    mean_activity = inside(activity)
    return Spots(
        labels=labels,
        boxes=boxes,
        area=area,
        contrast=inside(np.abs(evidence.spike)),
        # Where spots crowd, no ring is left; the activity of the region stands in.
        unexplained=np.where(size > 3, around / np.maximum(size, 1), mean_activity),
        activity=mean_activity,
        structure=np.maximum(inside(evidence.structure) * np.sign(inside(evidence.spike)), 0),
        detail=inside(evidence.detail),
        inconsistency=inside(evidence.inconsistency),
        residual=evidence.residual,
    )


def certainty_of(
    spots: Spots, shown: Sequence[Plane], references: Sequence[Plane], *, wanted: float, one_sided: bool
) -> Plane:
    """Return how sure it is that each spot is dirt.

    The scale is that of a logistic regression on the logarithms of what was measured on the spots; see `_WEIGHTS`.

    Args:
        spots: Candidates.
        shown: Frames (H, W) that show the spots in place, one or a few consecutive ones.
        references: The frames (H, W) they were compared with.
        wanted: Certainty that the caller asks for, 0 … 1: the costly search for the thing elsewhere is left out where
            its outcome cannot matter.
        one_sided: Whether both references lie on one side of the frames.

    Returns:
        (N,) in 0 … 1.
    """
    score = _OFFSET + sum(weight * np.log(getattr(spots, name) + floor) for name, (weight, floor) in _WEIGHTS.items())
    score += _STRUCTURE_WEIGHT * np.log(1 + spots.structure / (spots.contrast + 1))
    if one_sided:
        score -= _ONE_SIDED_PENALTY
    if len(shown) > 1:
        change = np.zeros(len(spots.area))
        for frame, following in itertools.pairwise(shown):
            change = np.maximum(change, spots.mean(np.abs(frame - following)))
        steadiness = _STEADINESS_WEIGHT * np.log((spots.contrast + 1) / (change + 1))
        score += np.minimum(steadiness, _LASTING_PENALTY) - _LASTING_PENALTY
        score[change > _LARGEST_CHANGE * spots.contrast + 2.0] = -np.inf
    for spot in np.flatnonzero(score >= np.log(max(wanted, 1e-6) / max(1 - wanted, 1e-6))):
        found = _found_elsewhere(spots, int(spot), shown[0], references)
        score[spot] += _SEARCH_WEIGHT * np.log(min(found, 1.0) + _SEARCH_FLOOR) if found >= _SAME_THING else -np.inf
    return 1 / (1 + np.exp(-np.clip(score, -50, 50)))


def _found_elsewhere(spots: Spots, spot: int, frame: Plane, references: Sequence[Plane]) -> float:
    """Return how badly the best match of a spot nearby in a reference fits, relative to the spot's own energy.

    0 means that the same thing is there, 1 or more that it is not.
    """
    height, width = frame.shape
    x, y, w, h = (int(value) for value in spots.boxes[spot])
    small = w * h <= _SEARCHES[0][0]
    reach, scale = next(((reach, scale) for largest, reach, scale in _SEARCHES if w * h <= largest), (0, 0))
    if not reach:
        return 1.0
    top, bottom, left, right = max(y - 3, 0), min(y + h + 3, height), max(x - 3, 0), min(x + w + 3, width)
    up, back = min(reach, top), min(reach, left)
    areas = [reference[top - up : bottom + reach, left - back : right + reach] for reference in references]
    body = (spots.labels[top:bottom, left:right] == spot + 1).astype(np.uint8)
    rim = cv2.dilate(body, _RING_INNER).astype(np.float32)
    patch, excess = frame[top:bottom, left:right], spots.residual[top:bottom, left:right]
    if scale > 1:
        patch, rim, excess, *areas = (_shrunk(plane, scale) for plane in (patch, rim, excess, *areas))
    best = min(_match(area, patch, rim, excess)[0] for area in areas)
    if small or best < _SAME_THING:
        return best
    # What runs has another background elsewhere, so the rim of a larger thing does not fit; but the thing itself is
    # found on both sides, in opposite directions.
    weight = np.where(_shrunk(body.astype(np.float32), scale) >= 0.5, np.float32(1), _RIM_SHARE * rim)
    (first, gone), (second, came) = (_match(area, patch, weight, excess) for area in areas)
    shift, onward = gone - (back // scale, up // scale), came - (back // scale, up // scale)
    swerve = float(np.hypot(*(shift + onward)))
    if max(first, second) < _SAME_THING and swerve < 3 + 0.5 * float(np.hypot(*shift)):
        return max(first, second)
    return best


def _match(area: Plane, patch: Plane, weight: Plane, excess: Plane) -> tuple[float, NDArray[np.int_]]:
    """Best relative misfit of a weighted patch in an area, and where (x, y)."""
    energy = float((np.square(excess) * weight).sum()) + 1.0
    misfit = cv2.matchTemplate(area, patch, cv2.TM_SQDIFF, mask=weight)
    least, _, place, _ = cv2.minMaxLoc(misfit)
    return max(least, 0.0) / energy, np.array(place)


def _shrunk(plane: Plane, scale: int) -> Plane:
    height, width = plane.shape
    return cv2.resize(plane, (max(1, width // scale), max(1, height // scale)), interpolation=cv2.INTER_AREA)

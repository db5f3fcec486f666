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
from .moving_objects import RIM, TWIN, best_match, shrunk


@dataclass(frozen=True, kw_only=True)
class SpotTests:
    """What makes a spot a candidate.

    Attributes:
        activity_window: Pixels on each side of the square over which temporal activity is averaged: several specks
            wide, so that a speck is judged by its region.
        flow_window: Pixels on each side of the square over which errors of the flow are averaged.
        ring: Inner and outer width in pixels of the ellipses between which lie the surroundings of a spot: beyond its
            soft rim, and still near it.
        fewest_in_ring: Pixels of a ring above which its mean tells something.
        most: Candidates of a frame that are judged, in each call: a frame of snow must not take
            minutes.
        flow_guard: Grey levels by which one pixel of flow error raises the level that a seed must reach.
        weak_share: Share of the threshold that the rest of a spot must reach, once a seed has: its flanks are fainter.
        weak_guard: Share of the guard (activity and flow errors) on that.
        busy: Share of the detail under a spot by which the levels rise: interpolation takes as much off a peak.
        texture: Share of a structure of the spot's own sign by which they rise: it may be that structure, seen more
            sharply.
    """

    activity_window: int = 15
    flow_window: int = 9
    ring: tuple[int, int] = (5, 13)
    fewest_in_ring: int = 3
    most: int = 4000
    flow_guard: float = 0.5
    weak_share: float = 0.75
    weak_guard: float = 0.5
    busy: float = 0.05
    texture: float = 0.4


@dataclass(frozen=True, kw_only=True)
class SpotCertainty:
    """The logistic regression that tells how sure it is that a spot is dirt.

    Fitted to 2000 spots of dirt (the simulation of this package, and scanned dirt textures) and 8500 false alarms on
    moving pictures with grain; leaving a whole scene out of the fit costs nothing.

    Attributes:
        weights: Of each measure of a spot: log odds per unit of the logarithm, and the floor added before it is taken,
            in the unit of the measure (see `Spots`).
        offset: Log odds that are added to all.
        structure_weight: Log odds per unit of the logarithm of 1 plus structure over contrast, a ratio.
        search_weight: Log odds per unit of the logarithm of the misfit of the best twin, a ratio.
        search_floor: Floor of that misfit.
    """

    weights: tuple[tuple[str, float, float], ...] = (
        ("contrast", 3.26, 1.0),
        ("unexplained", -2.82, 1.0),
        ("activity", -1.87, 1.0),
        ("detail", -0.44, 4.0),
        ("inconsistency", -0.57, 0.3),
        ("area", 0.49, 1.0),
    )
    offset: float = -1.41
    structure_weight: float = -4.2
    search_weight: float = 1.66
    search_floor: float = 0.02


@dataclass(frozen=True, kw_only=True)
class SpotDoubts:
    """What appears for several frames, or can be judged from one side alone, must be clearer: things come and go.

    Attributes:
        one_sided: Log odds taken off where both references lie on one side.
        lasting: Log odds taken off what stays for several frames.
        steadiness_weight: Log odds per unit of the logarithm of contrast over change by which what stays the same in
            all of its frames wins the penalty back, and no more.
        steadiness_floor: Grey levels added to both before.
        largest_change: Share of its contrast by which a spot may change from frame to frame; dirt on the film is the
            same dirt.
        change_floor: Grey levels by which it may change besides: grain.
    """

    one_sided: float = 0.7
    lasting: float = 2.5
    steadiness_weight: float = 2.0
    steadiness_floor: float = 1
    largest_change: float = 0.6
    change_floor: float = 2.0


_SPOTS = SpotTests()
_CERTAINTY = SpotCertainty()
_DOUBT = SpotDoubts()
_ACTIVITY_WINDOW = (_SPOTS.activity_window, _SPOTS.activity_window)
_FLOW_WINDOW = (_SPOTS.flow_window, _SPOTS.flow_window)
_RING_INNER, _RING_OUTER = (cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)) for size in _SPOTS.ring)


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
    guard = activity + _SPOTS.flow_guard * cv2.blur(evidence.inconsistency, _FLOW_WINDOW)
    busy = _SPOTS.busy * evidence.detail
    seed_level, weak_level = threshold + guard, _SPOTS.weak_share * threshold + _SPOTS.weak_guard * guard
    labels = np.zeros(activity.shape, np.uint16)
    boxes: list[NDArray[np.int32]] = []
    for sign in signs:
        texture = sign * evidence.structure
        np.maximum(texture, 0, out=texture)
        texture *= np.float32(_SPOTS.texture)
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
        chosen = np.flatnonzero(wanted)[: _SPOTS.most - len(boxes)]
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
        unexplained=np.where(size > _SPOTS.fewest_in_ring, around / np.maximum(size, 1), mean_activity),
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

    The scale is that of a logistic regression on the logarithms of what was measured on the spots; see `SpotCertainty`.

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
    score = _CERTAINTY.offset + sum(
        weight * np.log(getattr(spots, name) + floor) for name, weight, floor in _CERTAINTY.weights
    )
    score += _CERTAINTY.structure_weight * np.log(1 + spots.structure / (spots.contrast + 1))
    if one_sided:
        score -= _DOUBT.one_sided
    if len(shown) > 1:
        change = np.zeros(len(spots.area))
        for frame, following in itertools.pairwise(shown):
            change = np.maximum(change, spots.mean(np.abs(frame - following)))
        steadiness = _DOUBT.steadiness_weight * np.log(
            (spots.contrast + _DOUBT.steadiness_floor) / (change + _DOUBT.steadiness_floor)
        )
        score += np.minimum(steadiness, _DOUBT.lasting) - _DOUBT.lasting
        score[change > _DOUBT.largest_change * spots.contrast + _DOUBT.change_floor] = -np.inf
    for spot in np.flatnonzero(score >= np.log(max(wanted, 1e-6) / max(1 - wanted, 1e-6))):
        found = _found_elsewhere(spots, int(spot), shown[0], references)
        score[spot] += (
            _CERTAINTY.search_weight * np.log(min(found, 1.0) + _CERTAINTY.search_floor)
            if found >= TWIN.same_thing
            else -np.inf
        )
    return 1 / (1 + np.exp(-np.clip(score, -50, 50)))


def _found_elsewhere(spots: Spots, spot: int, frame: Plane, references: Sequence[Plane]) -> float:
    """Return how badly the best match of a spot nearby in a reference fits, relative to the spot's own energy.

    0 means that the same thing is there, 1 or more that it is not.
    """
    height, width = frame.shape
    x, y, w, h = (int(value) for value in spots.boxes[spot])
    reach, scale = TWIN.reach_and_scale(w * h)
    if not reach:
        return 1.0
    top, left = max(y - TWIN.margin, 0), max(x - TWIN.margin, 0)
    bottom, right = min(y + h + TWIN.margin, height), min(x + w + TWIN.margin, width)
    up, back = min(reach, top), min(reach, left)
    areas = [reference[top - up : bottom + reach, left - back : right + reach] for reference in references]
    body = (spots.labels[top:bottom, left:right] == spot + 1).astype(np.uint8)
    rim = cv2.dilate(body, RIM).astype(np.float32)
    patch, excess = frame[top:bottom, left:right], spots.residual[top:bottom, left:right]
    patch, rim, excess, *areas = (shrunk(plane, scale) for plane in (patch, rim, excess, *areas))
    best = min(best_match(area, patch, rim, excess)[0] for area in areas)
    if TWIN.is_small(w * h) or best < TWIN.same_thing:
        return best
    # What runs has another background elsewhere, so the rim of a larger thing does not fit; but the thing itself is
    # found on both sides, in opposite directions.
    weight = np.where(shrunk(body.astype(np.float32), scale) >= TWIN.body, np.float32(1), TWIN.rim_share * rim)
    (first, gone), (second, came) = (best_match(area, patch, weight, excess) for area in areas)
    shift, onward = gone - (back // scale, up // scale), came - (back // scale, up // scale)
    swerve = float(np.hypot(*(shift + onward)))
    if max(first, second) < TWIN.same_thing and swerve < TWIN.swerve + TWIN.swerve_of_way * float(np.hypot(*shift)):
        return max(first, second)
    return best

"""Whether a spot that a network takes for dirt is something that moves, because a neighbour shows it elsewhere.

A network sees how far things stand out, but cannot search. Here each spot is searched in the neighbouring frames by
its grey levels, as `dirt_spots` does for its own spots. What is found in the same place is no reason to doubt: dirt may
stay for a few frames.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane

_RIM = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_MARGIN = 3
# Up to which area of box a spot is searched, how many pixels far, and on how coarse a grid, as in `dirt_spots`; what is
# larger is a patch, and patches of a smooth picture find twins everywhere.
_SEARCHES = ((100, 32, 1), (1000, 64, 1), (6000, 64, 2))
_RIM_SHARE = np.float32(0.3)
_SAME_THING = 0.25
_LEAST_SHIFT = 2.0
# Where the network is surer than this on the average, the twin must be a closer one: specks find some by chance.
_SURE = 0.95
_VERY_SAME_THING = 0.1


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
    spots = (certainty >= doubtful).astype(np.uint8)
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(spots, connectivity=8)
    for number in range(1, count):
        x, y, w, h = (int(value) for value in statistics[number, :4])
        reach, scale = next(((reach, scale) for most, reach, scale in _SEARCHES if w * h <= most), (0, 0))
        inside = parts[y : y + h, x : x + w] == number
        if not reach:
            continue
        sure = float(certainty[y : y + h, x : x + w][inside].mean()) >= _SURE
        alike = _VERY_SAME_THING if sure else _SAME_THING
        top, left = max(y - _MARGIN, 0), max(x - _MARGIN, 0)
        bottom, right = min(y + h + _MARGIN, height), min(x + w + _MARGIN, width)
        here = slice(top, bottom), slice(left, right)
        above, before = min(reach, top), min(reach, left)
        around = slice(top - above, bottom + reach), slice(left - before, right + reach)
        body = (parts[here] == number).astype(np.uint8)
        rim = cv2.dilate(body, _RIM).astype(np.float32)
        planes = frame[here], rim, body.astype(np.float32), excess[here], *(other[around] for other in references)
        patch, rim, core, over, first, second = (_shrunk(plane, scale) for plane in planes)
        home = np.array([before // scale, above // scale])
        gone = _elsewhere((first, second), patch, rim, over, home, _LEAST_SHIFT / scale, alike)
        if not gone and w * h > _SEARCHES[0][0]:
            # What runs has another background elsewhere, so the rim of a larger thing does not fit.
            gone = _runs((first, second), patch, np.where(core >= 0.5, 1, _RIM_SHARE * rim), over, home, ratio)
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
    misfit, place = min((_match(area, patch, rim, excess) for area in areas), key=lambda match: match[0])
    return misfit < alike and float(np.hypot(*(place - home))) >= least_shift


def _runs(
    areas: tuple[Plane, Plane], patch: Plane, weight: Plane, excess: Plane, home: NDArray[np.int_], ratio: float
) -> bool:
    """Tell whether a thing is found in both references on an even course, whatever is behind it there."""
    (first, gone), (second, came) = (_match(area, patch, weight.astype(np.float32), excess) for area in areas)
    shift, onward = gone - home, came - home
    steady = float(np.hypot(*(onward - ratio * shift))) < 3 + 0.5 * float(np.hypot(*shift))
    return max(first, second) < _SAME_THING and steady and bool(shift.any())


def _match(area: Plane, patch: Plane, weight: Plane, excess: Plane) -> tuple[float, NDArray[np.int_]]:
    """Best misfit of a weighted patch in an area, as a share of the patch's own excess, and where (x, y)."""
    energy = float((np.square(excess) * weight).sum()) + 1.0
    least, _, place, _ = cv2.minMaxLoc(cv2.matchTemplate(area, patch, cv2.TM_SQDIFF, mask=weight))
    return max(least, 0.0) / energy, np.array(place)


def _shrunk(plane: Plane, scale: int) -> Plane:
    if scale == 1:
        return plane
    height, width = plane.shape
    return cv2.resize(plane, (max(1, width // scale), max(1, height // scale)), interpolation=cv2.INTER_AREA)

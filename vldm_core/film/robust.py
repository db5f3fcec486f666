"""Spread and order of measured values of which some are wrong."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..arrays import Plane

MAD_TO_SIGMA = 1.4826
"""Standard deviations of normal noise in one median absolute value of it: a ratio, 1 / Φ⁻¹(3/4)."""

_NETWORKS: dict[int, tuple[tuple[int, int], ...]] = {
    0: (),
    1: (),
    2: ((0, 1),),
    3: ((0, 2), (0, 1), (1, 2)),
    4: ((0, 2), (1, 3), (0, 1), (2, 3), (1, 2)),
    5: ((0, 3), (1, 4), (0, 2), (1, 3), (0, 1), (2, 4), (1, 2), (3, 4), (2, 3)),
    6: ((0, 5), (1, 3), (2, 4), (1, 2), (3, 4), (0, 3), (2, 5), (0, 1), (2, 3), (4, 5), (1, 2), (3, 4)),
}
"""Sorting networks by the number of planes: which two are put in order, one after the other (D. E. Knuth, "The Art of
Computer Programming", volume 3, section 5.3.4)."""


def robust_sigma(values: npt.ArrayLike) -> float:
    """Return the standard deviation of the bulk of the values about 0 (median absolute value, scaled)."""
    array = np.asarray(values, dtype=np.float64)
    return float(MAD_TO_SIGMA * np.median(np.abs(array))) if array.size else 0.0


def sorted_planes(planes: Sequence[Plane]) -> list[Plane]:
    """Sort up to six planes (H, W) pixel by pixel, the smallest first; the planes given are left as they are."""
    result = list(planes)
    for low, high in _NETWORKS[len(result)]:
        result[low], result[high] = cv2.min(result[low], result[high]), cv2.max(result[low], result[high])
    return result

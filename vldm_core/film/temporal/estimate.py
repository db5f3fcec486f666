"""What the neighbours of a frame say about it without the frame itself: mean, spread and order, pixel by pixel.

Each neighbour counts by how well it fits beside the best of them: the frame's own defects spoil the fit of all of them
alike, so they do not change what counts. All of it are sums and sorting networks over whole planes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import Plane
from .neighbours import Compensated, CompensatedBand, Neighbours

FAR = 1e4
"""Grey levels that no plane reaches: what stands for a neighbour that is not valid, at one end of the order."""
_LEAST = np.float32(1e-6)
"""Sum of weights, a share of one neighbour, that is divided by at least."""


@dataclass(frozen=True, kw_only=True)
class EstimateTests:
    """How neighbours are weighed against each other.

    Attributes:
        misfit_levels: Grey levels of misfit beyond the best neighbour's at which one counts half, without grain.
        misfit_grain: Deviations of the grain that are added to that.
        inlier_levels: Grey levels from the median within which a neighbour agrees, without grain.
        inlier_grain: Deviations of the grain that are added to that.
    """

    misfit_levels: float = 1.0
    misfit_grain: float = 1.0
    inlier_levels: float = 3.0
    inlier_grain: float = 2.5


_TESTS = EstimateTests()

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


@dataclass(frozen=True, eq=False)
class TemporalEstimate:
    """What the neighbours say about some rows of a frame. All planes are (n, W), luma in grey levels.

    Where no neighbour is valid, the values are those of the frame, and variance and counts are 0.

    Attributes:
        mean: Weighted by how well neighbours fit.
        variance: About that mean, grey levels².
        inliers: uint8, valid neighbours that agree with the median.
        valid: uint8, valid neighbours.
        minimum: Of the valid ones.
        median: Of the valid ones, the mean of the middle two where their number is even.
        maximum: Of the valid ones.
    """

    mean: Plane
    variance: Plane
    inliers: Plane
    valid: Plane
    minimum: Plane
    median: Plane
    maximum: Plane


def sorted_planes(planes: Sequence[Plane]) -> list[Plane]:
    """Sort up to six planes (n, W) pixel by pixel, the smallest first; the planes given are left as they are."""
    result = list(planes)
    for low, high in _NETWORKS[len(result)]:
        result[low], result[high] = cv2.min(result[low], result[high]), cv2.max(result[low], result[high])
    return result


def weights_beside_the_best(looks: Sequence[Compensated], grain: float) -> list[Plane]:
    """Weigh neighbours by their misfit beyond the best one's, each (n, W), 0 … 1; 0 where one is not valid.

    Args:
        looks: One or more.
        grain: Deviation of the grain in the difference of two frames, grey levels.
    """
    half = float(_TESTS.misfit_levels + _TESTS.misfit_grain * grain) ** 2
    squares = [cv2.multiply(look.misfit, look.misfit) for look in looks]
    best = squares[0]
    for square in squares[1:]:
        best = cv2.min(best, square)
    base = best - np.float32(half)
    weights = []
    for look, square in zip(looks, squares, strict=True):
        cv2.subtract(square, base, dst=square)
        weights.append(cv2.copyTo(cv2.divide(half, square), look.valid))
    return weights


def estimate_of(band: CompensatedBand, grain: float) -> TemporalEstimate:
    """Make the estimate of a band of rows.

    Args:
        band: The neighbours; see `Neighbours.compensated`.
        grain: Deviation of the grain in the difference of two frames, grey levels; see `FrameWindow.grain`.
    """
    frame, seen = band.frame, band.neighbours
    if not seen:
        zero = np.zeros(frame.shape, np.uint8)
        return TemporalEstimate(frame, np.zeros(frame.shape, np.float32), zero, zero, frame, frame, frame)
    total, first, second = (np.zeros(frame.shape, np.float32) for _ in range(3))
    for look, weight in zip(seen, weights_beside_the_best(seen, grain), strict=True):
        # Squares are taken of the difference to the frame, which is small, so that single precision suffices.
        apart = cv2.subtract(look.luma, frame)
        cv2.accumulate(weight, total)
        cv2.accumulateProduct(weight, apart, first)
        cv2.accumulateProduct(cv2.multiply(weight, apart), apart, second)
    np.maximum(total, _LEAST, out=total)
    first /= total
    second /= total
    variance = np.maximum(second - first * first, np.float32(0))
    low, middle, high, count = _order(seen, frame)
    within = np.float32(_TESTS.inlier_levels + _TESTS.inlier_grain * grain)
    inliers = np.zeros(frame.shape, np.uint8)
    for look in seen:
        agrees = cv2.absdiff(look.luma, middle) <= within
        inliers += agrees & (look.valid > 0)
    return TemporalEstimate(first + frame, variance, inliers, count, low, middle, high)


def _order(looks: Sequence[Compensated], frame: Plane) -> tuple[Plane, Plane, Plane, Plane]:
    """Minimum, median and maximum of the valid neighbours, and how many these are.

    Those that are not valid take turns at the two ends of the order, so the middle stays the middle.
    """
    planes: list[Plane] = []
    count = np.zeros(frame.shape, np.uint8)
    far: Plane = np.full(frame.shape, np.float32(FAR))
    at_top: Plane = np.full(frame.shape, np.uint8(255))
    low, high = far, -far
    for look in looks:
        missing = cv2.bitwise_not(look.valid)
        count += look.valid > 0
        low = cv2.min(low, cv2.copyTo(far, missing, look.luma.copy()))
        high = cv2.max(high, cv2.copyTo(-far, missing, look.luma.copy()))
        plane = cv2.copyTo(far, cv2.bitwise_and(missing, at_top), look.luma.copy())
        planes.append(cv2.copyTo(-far, cv2.bitwise_and(missing, cv2.bitwise_not(at_top)), plane))
        at_top = cv2.bitwise_xor(at_top, missing)
    order = sorted_planes(planes)
    half = len(order) // 2
    # Of the missing ones the first is at the top: where their number is odd, one more lies there than at the bottom.
    if len(order) % 2:
        middle = order[half].copy()
        lower = order[half - 1] if half else order[0]
        mixed = cv2.addWeighted(lower, 0.5, order[half], 0.5, 0.0)
        cv2.copyTo(mixed, cv2.bitwise_not(at_top), middle)
    else:
        middle = cv2.addWeighted(order[half - 1], 0.5, order[half], 0.5, 0.0)
        cv2.copyTo(order[half - 1], cv2.bitwise_not(at_top), middle)
    nothing = (count == 0).view(np.uint8)
    for plane in (low, middle, high):
        cv2.copyTo(frame, nothing, plane)
    return low, middle, high, count


def temporal_estimate(neighbours: Neighbours, index: int, grain: float) -> TemporalEstimate:
    """Make the estimate of a whole frame.

    Args:
        neighbours: Of the frames of a window.
        index: Of the frame in the window.
        grain: Deviation of the grain in the difference of two frames, grey levels.
    """
    parts = [estimate_of(band, grain) for band in neighbours.compensated(index)]
    if len(parts) == 1:
        return parts[0]
    return TemporalEstimate(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))

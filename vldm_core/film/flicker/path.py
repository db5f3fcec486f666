"""The path of the brightness over a shot: changes between frames, summed up, and what of it is flicker."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded

from ...arrays import DoubleArray
from ..weave.trend import slow_part
from .brightness import BrightnessChange


@dataclass(frozen=True, kw_only=True)
class PathNoise:
    """How far comparisons of brightness are believed when they are summed up.

    Attributes:
        least_confidence: Confidence (0 … 1) of a comparison below which it does not connect two frames. Higher breaks
            the path into more pieces, within which alone flicker is taken out.
        bridge: Weight of a tie between neighbours, beside `least_confidence` or more for a measured change: it decides
            nothing but where a frame lies that could not be compared.
        gain_floor: Noise of the light of a frame that is assumed at least, a share of it: changes of a tenth of a per
            cent cannot be seen, and the slow part would be given a knot for each.
        contrast_floor: The same of the exponent of the gamma curve.
        field_floor: The same of the log gain of a control point, which fewer pixels tell.
        light: Shares of the usual light between which the noise is taken to grow with the light; beyond, a path that
            has gone astray would make it nothing or endless.
    """

    least_confidence: float = 0.02
    bridge: float = 1e-6
    gain_floor: float = 0.001
    contrast_floor: float = 0.002
    field_floor: float = 0.002
    light: tuple[float, float] = (0.05, 20.0)


_PATH = PathNoise()


def summed_path(single: list[BrightnessChange], double: list[BrightnessChange]) -> tuple[DoubleArray, list[int]]:
    """Sum the changes up to a path.

    The change over two frames is measured too, so a frame that cannot be compared (a white flash) does not break the
    path, and the error of the sum grows more slowly. The path is the least-squares solution of all of them.

    Returns:
        (T, values) path relative to the start of its piece, and the first frame of every piece; a new piece begins
        where nothing connects a frame with those before it.
    """
    count = len(single) + 1
    # Rows of the normal matrix in SciPy's upper banded form: second and first superdiagonal, diagonal.
    banded = np.zeros((3, count))
    target = np.zeros((count, len(single[0].values)))
    reach = np.arange(count)
    for lag, changes in ((1, single), (2, double)):
        for t, change in enumerate(changes, start=lag):
            if change.confidence < _PATH.least_confidence:
                continue
            weight = change.confidence / lag
            banded[2, [t, t - lag]] += weight
            banded[2 - lag, t] -= weight
            target[t] += weight * change.values
            target[t - lag] -= weight * change.values
            reach[t - lag] = max(reach[t - lag], t)
    furthest = np.maximum.accumulate(reach)
    starts = [0, *(int(t) for t in range(1, count) if furthest[t - 1] < t)]
    banded[2, starts] += 1.0
    # A frame that only its neighbours bridge lies between them.
    bridged = np.setdiff1d(np.arange(1, count), starts)
    banded[2, bridged] += _PATH.bridge
    banded[2, bridged - 1] += _PATH.bridge
    banded[1, bridged] -= _PATH.bridge
    return np.asarray(solveh_banded(banded, target)), starts


def bridged_over(path: DoubleArray, events: npt.NDArray[np.bool_]) -> DoubleArray:
    """Draw a path (T, values) straight through its events."""
    calm = np.flatnonzero(~events)
    if len(calm) == 0:
        return np.zeros_like(path)
    frames = np.arange(len(path))
    return np.stack([np.interp(frames, calm, path[calm, k]) for k in range(path.shape[1])], axis=1)


def fast_part(path: DoubleArray, period: float) -> DoubleArray:
    """Return the part of a path (T, values) that is flicker."""
    result = np.empty_like(path)
    # A fade is a straight line in light, not in its logarithm; exposure noise grows with the light.
    light = np.exp(path[:, 0] - np.median(path[:, 0]))
    scale = np.clip(light, *_PATH.light)
    slow = slow_part(light, period=period, floor=_PATH.gain_floor, scale=scale, keep_steps=True)
    result[:, 0] = np.log(light / np.maximum(slow, 0.1 * light))
    for k in range(1, path.shape[1]):
        floor = _PATH.contrast_floor if k == 1 else _PATH.field_floor
        result[:, k] = path[:, k] - slow_part(path[:, k], period=period, floor=floor, keep_steps=True)
    return result

"""The path of the brightness over a shot: changes between frames, summed up, and what of it is flicker."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded

from ...arrays import DoubleArray
from ..weave.trend import slow_part
from .model import BrightnessChange


@dataclass(frozen=True, kw_only=True)
class PathNoise:
    """How far comparisons of brightness are believed when they are summed up.

    Attributes:
        usual_error: Standard deviation of a log gain that gives a comparison half the weight of an exact one.
        largest_error: Standard deviation of a log gain above which a comparison does not connect two frames. Lower
            breaks the path into more pieces, within which alone flicker is taken out.
        bridge: Weight of a tie between neighbours, beside a fiftieth or more for a measured change: it decides
            nothing but where a frame lies that could not be compared.
        gain_floor: Noise of the light of a frame that is assumed at least, a share of it: changes of a tenth of a per
            cent cannot be seen, and the slow part would be given a knot for each.
        contrast_floor: The same of the exponent of the gamma curve.
        field_floor: The same of the log gain of a control point, which fewer pixels tell.
        light: Shares of the usual light between which the noise is taken to grow with the light; beyond, a path that
            has gone astray would make it nothing or endless.
        doubt: Times by which the variance of a measurement counts against it: 4 halves what is twice its error.
        restless: Ratio of a frame's distance from the mean of its neighbours to the size of the change of light: up to
            the lower one the light moves too smoothly for flicker, such as a wave of ten frames, from the upper one on
            it is taken out. Noise has 1.2, the flicker of a cranked camera .6, a wave of seven frames .38.
        restless_span: Frames on each side over which both are averaged.
    """

    usual_error: float = 0.01
    largest_error: float = 0.07
    bridge: float = 1e-6
    gain_floor: float = 0.001
    contrast_floor: float = 0.002
    field_floor: float = 0.002
    light: tuple[float, float] = (0.05, 20.0)
    doubt: float = 2.0
    restless: tuple[float, float] = (0.2, 0.35)
    restless_span: int = 12


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
            if change.whole_error > _PATH.largest_error:
                continue
            weight = 1 / (1 + (change.whole_error / _PATH.usual_error) ** 2) / lag
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


def believed(fast: DoubleArray, single: Sequence[BrightnessChange]) -> DoubleArray:
    """Take back of the flicker of a shot what its own error may have made (J. W. Tukey; W. James, C. Stein, 1961).

    Args:
        fast: (T, values), the fast part of the path.
        single: Every frame compared with the one before, T - 1.

    Returns:
        (T, values): each of gain, contrast and field by the share by which it stands out of its error.
    """
    if not single:
        return np.zeros_like(fast)
    result = fast.copy()
    level, spread = (_on_both_sides(single, name) for name in ("level", "level_spread"))
    # Of a dark or bright scene gain and contrast may each be noise, and what both do to it is not.
    scene = fast[:, 0] + fast[:, 1] * level.mean(axis=0)
    whole = np.square(scene) + np.square(fast[:, 1]) * np.square(spread).mean(axis=0)
    field = np.square(fast[:, 2:]).mean(axis=1) if fast.shape[1] > 2 else np.zeros(len(fast))
    for part, light, power, name, floor in (
        (np.s_[:, :2], scene[:, None], whole, "whole_error", _PATH.gain_floor),
        (np.s_[:, 2:], fast[:, 2:], field, "field_error", _PATH.field_floor),
    ):
        # A frame is placed by the comparisons on both sides of it.
        error = _on_both_sides(single, name)
        variance = np.square(np.where(np.isfinite(error), error, 0.0)).mean(axis=0) + floor**2
        usual = np.maximum(np.median(power) - np.median(variance), 0)
        share = np.maximum(power, usual) / (np.maximum(power, usual) + _PATH.doubt * variance)
        result[part] *= (share * _restlessness(light))[:, None]
    return result


def _restlessness(fast: DoubleArray) -> DoubleArray:
    """How surely each frame of a path (T, values) is in the midst of flicker, (T,) 0..1.

    Flicker hardly knows of the frame before. A lamp that swings, a fire that dies down, a cloud: such light is near
    the mean of the frames before and after it.
    """
    if len(fast) < 3:
        return np.ones(len(fast))
    bend = np.zeros_like(fast)
    bend[1:-1] = fast[1:-1] - (fast[:-2] + fast[2:]) / 2
    around = np.ones(2 * _PATH.restless_span + 1)

    def power(values: DoubleArray) -> DoubleArray:
        return np.convolve(np.square(values).sum(axis=1), around)[_PATH.restless_span : -_PATH.restless_span]

    ends = np.zeros_like(fast)
    ends[1:-1] = fast[1:-1]
    ratio = np.sqrt(power(bend) / np.maximum(power(ends), 1e-18))
    least, most = _PATH.restless
    return np.asarray(np.clip((ratio - least) / (most - least), 0, 1))


def _on_both_sides(single: Sequence[BrightnessChange], name: str) -> DoubleArray:
    """What comparisons say on both sides of every frame, (2, T)."""
    values = np.array([getattr(change, name) for change in single])
    return np.stack([np.r_[values[:1], values], np.r_[values, values[-1:]]])

"""The slow part of a measured path: what the camera operator or the printer meant, without what the machine added.

Brightness and camera position are measured from frame to frame and summed up to a path over the shot. Flicker and gate
weave are the fast part of that path; fades, sunrises, pans and tilts are the slow part. The slow part is a piecewise
linear fit (l1 trend filter: Kim, Koh, Boyd, Gorinevsky, "l1 Trend Filtering", SIAM Review 51(2), 2009) because it has
no lag, no bias at the first and last frame, keeps a ramp exactly and needs few knots where a low-pass would ring.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpbsv

from ...arrays import DoubleArray
from ..robust import robust_sigma


@dataclass(frozen=True, kw_only=True)
class TrendFit:
    """How the straight pieces of a slow part are fitted.

    Attributes:
        iterations: Reweighted fits. The pieces come out step by step: fewer leave the knots round, and each
            more costs one banded solution.
        outlier: Standard deviations of the noise from the trend beyond which a sample (a flash, the jump of a splice)
            pulls no harder than at this distance. Larger lets single frames bend the trend.
        stiffness: Height of the double sum of white noise over N samples, in units of sigma · N^1.5: so that noise
            alone seldom makes a knot within N frames. Larger gives fewer and longer pieces.
    """

    iterations: int = 40
    outlier: float = 3.0
    stiffness: float = 0.12


@dataclass(frozen=True, kw_only=True)
class Leavers:
    """What counts as a sample that leaves the path for a moment, or for good.

    Attributes:
        spike_span: Frames on each side whose median says where the path is: enough that a spike of two frames, the
            longest looked for, does not move it.
        spike_sigmas: Standard deviations from that median from which on a sample is a spike. Twice what an outlier of
            the fit is, because a spike loses its say almost wholly.
        spike_trust: Share of its weight that a spike keeps. Not 0, because the equations need every sample.
        step_span: Frames before and after a lasting step whose medians are its levels. A change that comes back within
            half of that is a flash.
        step_sigmas: Standard deviations of the differences from frame to frame from which on one may be a step. Lower
            would take strong flicker for lamps that are switched.
    """

    spike_span: int = 3
    spike_sigmas: float = 6.0
    spike_trust: float = 1e-4
    step_span: int = 6
    step_sigmas: float = 5.0


_FIT = TrendFit()
_LEAVERS = Leavers()


def _penalised_fit(values: DoubleArray, weights: DoubleArray, bend_weights: DoubleArray) -> DoubleArray:
    """Minimise Σ w (y − x)² + Σ v (x[i] − 2 x[i+1] + x[i+2])² (Whittaker 1923), a pentadiagonal system."""
    count = len(values)
    banded = np.zeros((3, count))
    banded[2] = weights
    banded[2, :-2] += bend_weights
    banded[2, 1:-1] += 4 * bend_weights
    banded[2, 2:] += bend_weights
    banded[1, 1:-1] -= 2 * bend_weights
    banded[1, 2:] -= 2 * bend_weights
    banded[0, 2:] += bend_weights
    # What solveh_banded calls; around it, that one does more work than there is in a shot of some hundred frames.
    _, fit, failed = dpbsv(banded, weights * values, overwrite_ab=True, overwrite_b=True)
    if failed:
        raise LinAlgError(f"the weights of a path leave its equations without a solution (dpbsv says {failed})")
    return np.asarray(fit, dtype=np.float64)


def slow_part(
    path: npt.ArrayLike, *, period: float, floor: float, scale: npt.ArrayLike | None = None, keep_steps: bool = False
) -> DoubleArray:
    """Fit the slow part of a path.

    The stiffness follows the noise of the path itself: a quiet path is followed closely, a noisy one is fitted with
    ramps at least about ``period`` long. Single outliers (a flash, a splice) hardly move the fit.

    Args:
        path: (T,) samples, one per frame, of one shot.
        period: Changes that take longer than this many frames are slow.
        floor: Smallest noise to assume, in units of the path times ``scale``.
        scale: (T,) positive, relative size of the noise at every sample; None means 1 throughout.
        keep_steps: Whether a lasting change from one frame to the next (a lamp is switched on) belongs to the slow
            part too, or is turned into a short ramp.

    Returns:
        (T,) the slow part.
    """
    values = np.asarray(path, dtype=np.float64)
    count = len(values)
    if count < 3:
        return np.full(count, values.mean()) if count else values.copy()
    noise = np.ones(count) if scale is None else np.asarray(scale, dtype=np.float64)
    steps = _lasting_steps(values, noise, floor) if keep_steps else np.zeros(count)
    return steps + _ramps(values - steps, noise, period, floor)


def _ramps(values: DoubleArray, noise: DoubleArray, period: float, floor: float) -> DoubleArray:
    """Fit few linear pieces; single outliers hardly count."""
    start_weights = np.ones(len(values) - 2)
    trust = noise**-2
    # A plain quadratic smoother with its half-power point at the period starts the iteration and gives the noise.
    stiffness = (2 * np.sin(np.pi / max(period, 4.0))) ** -4
    trend = _penalised_fit(values, trust, stiffness * float(np.median(trust)) * start_weights)
    residual = (values - trend) / noise
    trust[_spikes(values, noise, trend, floor)] *= _LEAVERS.spike_trust
    sigma = max(robust_sigma(residual), floor)
    bend_price = _FIT.stiffness * period**1.5 / sigma
    smallest_bend = 0.01 * sigma / period
    for _ in range(_FIT.iterations):
        residual = np.abs(values - trend) / noise
        data = trust * np.minimum(1.0, _FIT.outlier * sigma / np.maximum(residual, 1e-12)) / sigma**2
        bends = np.abs(np.diff(trend, 2))
        trend = _penalised_fit(values, data, bend_price / np.maximum(bends, smallest_bend))
    return trend


def _spikes(values: DoubleArray, noise: DoubleArray, trend: DoubleArray, floor: float) -> npt.NDArray[np.bool_]:
    """Tell the samples, (T,) bool, that leave the path for a frame or two and come back (F. Hampel's filter, 1974).

    A spike stands out of the path itself, which the corner of a ramp does not, and of what a first fit leaves over,
    which a noisy ramp does not.
    """
    if len(values) <= 2 * _LEAVERS.spike_span:
        return np.zeros(len(values), dtype=bool)

    def stands_out(samples: DoubleArray) -> npt.NDArray[np.bool_]:
        padded = np.pad(samples, _LEAVERS.spike_span, mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _LEAVERS.spike_span + 1)
        away = (samples - np.median(windows, axis=1)) / noise
        return np.asarray(np.abs(away) > _LEAVERS.spike_sigmas * max(robust_sigma(away), floor))

    return stands_out(values) & stands_out(values - trend)


def _lasting_steps(values: DoubleArray, noise: DoubleArray, floor: float) -> DoubleArray:
    """Return the staircase (T,) of changes that happen from one frame to the next and last.

    A step stands out of the other differences, and the levels before and after it differ by as much; a flash comes
    back and a ramp needs longer.
    """
    count = len(values)
    staircase = np.zeros(count)
    if count < 2 * _LEAVERS.step_span:
        return staircase
    differences = np.diff(values)
    threshold = _LEAVERS.step_sigmas * np.maximum(robust_sigma(differences / noise[1:]), floor) * noise
    for t in np.flatnonzero(np.abs(differences) > threshold[1:]) + 1:
        before, after = values[max(0, t - _LEAVERS.step_span) : t], values[t : t + _LEAVERS.step_span]
        if min(len(before), len(after)) < _LEAVERS.step_span // 2:
            continue
        height = float(np.median(after) - np.median(before))
        if abs(height) > threshold[t] and 0.7 < differences[t - 1] / height < 1.4:
            staircase[t:] += height
    return staircase

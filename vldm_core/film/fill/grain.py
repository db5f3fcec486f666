"""Give repaired places the grain that averaging, interpolation and inpainting took off them.

The grain of a frame is measured around its holes: the difference to a neighbour in time, looked up without
interpolation, holds twice its variance where the scene is flat. Places are chosen by how flat the scene is there, which
does not depend on the grain, as in :mod:`vldm_core.decode.regrain`. Strength is measured in every box, because grain
depends on brightness; correlation and the covariance of the channels over all boxes. What a fill has kept of its
grain follows from its weights and its interpolation kernel, and only the missing variance is added.

The noise is drawn from a generator seeded by the content of the frame, so it does not depend on how a film is cut into
windows.
"""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from ...video.luma import LUMA_WEIGHTS
from .atlas import Atlas

_FLAT_SHARE = 0.4
_FEWEST_PIXELS = 64
_PRIOR_PIXELS = 200
_LARGEST_CORRELATION = 0.8
_OUTLIER = 3.0
_LEAST_EIGENVALUE = 1e-3
# The noise repeats after so many pixels; holes are smaller.
_TILE = 128
_KERNEL_REACH = 6
_SHARPNESS = np.geomspace(0.05, 6.0, 64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Grain:
    """Grain around the holes of a frame.

    Attributes:
        variance: (h, w) of the luma on the atlas, grey levels², one value for every box.
        correlation: Between neighbours in a row and in a column, 0 … 0.8.
        mixing: (C, K) matrix that makes of K independent noises one with the covariance of the channels, for a luma of
            variance 1; K is 1 on a black-and-white film.
    """

    variance: Plane
    correlation: tuple[float, float]
    mixing: Plane


def measure_grain(atlas: Atlas, frame: Plane, reference: Plane, usable: BoolArray, colour: Plane) -> Grain | None:
    """Measure the grain in the boxes of a frame.

    Args:
        atlas: Boxes around the holes.
        frame: (h, w) luma on the atlas, grey levels.
        reference: (h, w) luma of a neighbour along the flow, without interpolation, in the brightness of the frame.
        usable: (h, w) where both show undamaged scene.
        colour: (H, W, C) the frame.

    Returns:
        None where too little can be measured.
    """
    structure = _structure(frame, reference)
    if int(usable.sum()) < _FEWEST_PIXELS:
        return None
    usual = float(np.quantile(structure[usable][::3], _FLAT_SHARE))
    variance = np.empty_like(frame)
    flat = np.zeros(frame.shape, bool)
    readings: list[tuple[tuple[slice, slice], float, int]] = []
    for _, _, row, column, high, wide in atlas.tiles:
        box = np.s_[row : row + high, column : column + wide]
        # Half of a box is flat enough if nothing in it is flat.
        known = usable[box]
        own = structure[box][known]
        if not len(own):
            readings.append((box, 0.0, 0))
            continue
        chosen = known & (structure[box] <= max(usual, float(np.quantile(own, 0.25))))
        flat[box] = chosen
        value, number = _spread((frame[box] - reference[box])[chosen])
        readings.append((box, value, number))
    total = sum(number for _, _, number in readings)
    if total < _FEWEST_PIXELS:
        return None
    mean = sum(value * number for _, value, number in readings) / total
    for box, value, number in readings:
        variance[box] = (min(value, 4 * mean) * number + mean * _PRIOR_PIXELS) / (number + _PRIOR_PIXELS) / 2
    difference = np.clip(frame - reference, -_OUTLIER * mean**0.5, _OUTLIER * mean**0.5)
    return Grain(
        variance=variance, correlation=_correlation(difference, flat, mean), mixing=_mixing(atlas, colour, flat)
    )


def _structure(frame: Plane, reference: Plane) -> Plane:
    """What the scene shows beside its slope: (h, w), from the sum of the two, on which grain has averaged out."""
    smooth = cv2.GaussianBlur(frame + reference, (0, 0), 1.5)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return cv2.blur(np.square(across) + np.square(down), (5, 5))


def _spread(difference: Plane) -> tuple[float, int]:
    """Variance without outliers, and of how many values."""
    if not len(difference):
        return 0.0, 0
    difference = difference - np.median(difference)
    limit = _OUTLIER * 1.4826 * float(np.median(np.abs(difference))) + 1e-3
    inner = difference[np.abs(difference) <= limit]
    # Within three standard deviations lies 0.9733 of the variance of a normal distribution.
    return float(np.square(inner).mean()) / 0.9733, len(inner)


def _correlation(difference: Plane, flat: BoolArray, variance: float) -> tuple[float, float]:
    found = []
    for axis in (1, 0):
        first, second = (np.s_[:, :-1], np.s_[:, 1:]) if axis else (np.s_[:-1], np.s_[1:])
        both = flat[first] & flat[second]
        one, two = difference[first][both], difference[second][both]
        energy = float((np.square(one) + np.square(two)).mean()) / 2 if len(one) else 0.0
        value = float((one * two).mean()) / energy if energy > 0.01 * variance else 0.0
        found.append(min(max(value, 0.0), _LARGEST_CORRELATION))
    return found[0], found[1]


def _mixing(atlas: Atlas, colour: Plane, flat: BoolArray) -> Plane:
    """Square root of the covariance of the channels' fine detail in flat places, for a luma of variance 1."""
    channels = colour.shape[2]
    alike = np.ones((channels, 1), np.float32)
    if channels == 1 or not flat.any():
        return alike
    picture = atlas.cut(colour)
    fine = (picture - cv2.GaussianBlur(picture, (0, 0), 1.5))[flat]
    weights = np.array(LUMA_WEIGHTS)
    covariance = fine.T.astype(np.float64) @ fine / len(fine)
    brightness = float(weights @ covariance @ weights)
    if brightness <= 1e-6:
        return alike
    values, vectors = np.linalg.eigh(covariance / brightness)
    # Grain of a black-and-white film is one noise in all channels.
    strong = np.flatnonzero(values > _LEAST_EIGENVALUE * values[-1])[::-1]
    vectors = vectors * np.where(weights @ vectors < 0, -1, 1)
    return (vectors[:, strong] * np.sqrt(values[strong])).astype(np.float32)


def kept_by_kernel(taps: tuple[NDArray, ...], correlation: float) -> Plane:
    """Share (N,) of the variance of grain of some correlation that an interpolation kernel keeps."""
    total = np.zeros_like(taps[0])
    for i, one in enumerate(taps):
        for j, other in enumerate(taps):
            total += one * other * np.float32(correlation ** ((i - j) ** 2))
    return total


def seed_of(frame: Plane) -> int:
    """Seed that depends on what a frame (H, W), grey levels, shows and on nothing else."""
    return zlib.crc32(np.rint(frame[::3, ::3]).astype(np.int16).tobytes())


def grain_noise(
    place: tuple[NDArray[np.intp], NDArray[np.intp]], correlation: tuple[float, float], channels: int, seed: int
) -> Plane:
    """Noise (N, C) of variance 1 at places (rows, columns), correlated between neighbours in a row and in a column."""
    stream = np.random.default_rng(seed)
    field = stream.standard_normal((_TILE + 2 * _KERNEL_REACH, _TILE + 2 * _KERNEL_REACH, channels), np.float32)
    across, down = (_kernel(value) for value in correlation)
    inner = slice(_KERNEL_REACH, -_KERNEL_REACH)
    filtered = cv2.sepFilter2D(field, -1, across, down).reshape(field.shape)[inner, inner]
    return filtered[place[0] % _TILE, place[1] % _TILE]


def _kernel(correlation: float) -> NDArray[np.float32]:
    """Gaussian kernel of energy 1 that gives white noise a correlation between neighbours."""
    table = np.stack([np.exp(-np.square(np.arange(-_KERNEL_REACH, _KERNEL_REACH + 1)) * k) for k in _SHARPNESS])
    reached = (table[:, 1:] * table[:, :-1]).sum(axis=1) / np.square(table).sum(axis=1)
    kernel = table[int(np.argmin(np.abs(reached - correlation)))]
    return (kernel / np.sqrt(np.square(kernel).sum())).astype(np.float32)

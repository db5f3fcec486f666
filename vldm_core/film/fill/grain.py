"""Give repaired places the grain that averaging, interpolation and inpainting took off them.

The grain of a frame is measured around its holes: the difference to a neighbour in time, looked up without
interpolation, holds twice its variance where the scene is flat. Places are chosen by how flat the scene is there, which
does not depend on the grain, as in `decode.grain_measure`. Strength is measured in every box, because grain
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
from ..robust import MAD_TO_SIGMA
from .atlas import Atlas


@dataclass(frozen=True, kw_only=True)
class GrainMeasure:
    """Where and how grain is measured around holes.

    Attributes:
        flat_share: Share of the usable pixels that count as flat; the quantile of the scene's structure. More measures
            edges for grain, fewer leave too few pixels.
        box_share: The same in a box of its own, so that one in a busy place is measured too.
        fewest_pixels: Pixels from which on a variance is worth having.
        prior_pixels: Pixels that the mean of all boxes counts for in each: a box of fewer follows the others.
        largest_variance: A ratio: the variance of a box counts up to this many times the mean; what is more is motion.
        outlier: Standard deviations beyond which a difference is cut off: dirt and motion, not grain.
        largest_correlation: Of neighbouring pixels, 0 … 1. More would be blur of the scene and not grain.
        least_correlated: Share of the variance that must be left at the flat pairs for a correlation to be told.
        structure_sigma: Pixels of the blur before the scene's structure is measured, on which grain is averaged out;
            and the blur that parts the fine detail of the channels from the rest.
        structure_window: Pixels on each side of the square over which structure is averaged.
        least_eigenvalue: Share of the largest eigenvalue of the channels' covariance below which a direction is none:
            a black-and-white film has one noise in all channels.
    """

    flat_share: float = 0.4
    box_share: float = 0.25
    fewest_pixels: int = 64
    prior_pixels: int = 200
    largest_variance: float = 4
    outlier: float = 3.0
    largest_correlation: float = 0.8
    least_correlated: float = 0.01
    structure_sigma: float = 1.5
    structure_window: int = 5
    least_eigenvalue: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class NoiseField:
    """The noise that is drawn for a frame.

    Attributes:
        tile: Pixels after which the noise repeats in each direction; holes are smaller, so nobody sees it.
        kernel_reach: Pixels on each side of the kernel that correlates it: the widest, of correlation 0.8, has fallen
            to nothing there.
        sharpness: Least and largest factor on the squared distance in the exponent of the kernel, 1 / pixels²; from
            wide kernels to none.
        kernels: Number of kernels between them, in even ratios: the correlation is met to a hundredth or two.
    """

    tile: int = 128
    kernel_reach: int = 6
    sharpness: tuple[float, float] = (0.05, 6.0)
    kernels: int = 64


_MEASURE = GrainMeasure()
_NOISE = NoiseField()


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
    if int(usable.sum()) < _MEASURE.fewest_pixels:
        return None
    usual = float(np.quantile(structure[usable][::3], _MEASURE.flat_share))
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
        chosen = known & (structure[box] <= max(usual, float(np.quantile(own, _MEASURE.box_share))))
        flat[box] = chosen
        value, number = _spread((frame[box] - reference[box])[chosen])
        readings.append((box, value, number))
    total = sum(number for _, _, number in readings)
    if total < _MEASURE.fewest_pixels:
        return None
    mean = sum(value * number for _, value, number in readings) / total
    for box, value, number in readings:
        variance[box] = (
            (min(value, _MEASURE.largest_variance * mean) * number + mean * _MEASURE.prior_pixels)
            / (number + _MEASURE.prior_pixels)
            / 2
        )
    difference = np.clip(frame - reference, -_MEASURE.outlier * mean**0.5, _MEASURE.outlier * mean**0.5)
    return Grain(
        variance=variance, correlation=_correlation(difference, flat, mean), mixing=_mixing(atlas, colour, flat)
    )


def _structure(frame: Plane, reference: Plane) -> Plane:
    """What the scene shows beside its slope: (h, w), from the sum of the two, on which grain has averaged out."""
    smooth = cv2.GaussianBlur(frame + reference, (0, 0), _MEASURE.structure_sigma)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return cv2.blur(np.square(across) + np.square(down), (_MEASURE.structure_window,) * 2)


def _spread(difference: Plane) -> tuple[float, int]:
    """Variance without outliers, and of how many values."""
    if not len(difference):
        return 0.0, 0
    difference = difference - np.median(difference)
    limit = _MEASURE.outlier * MAD_TO_SIGMA * float(np.median(np.abs(difference))) + 1e-3
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
        value = float((one * two).mean()) / energy if energy > _MEASURE.least_correlated * variance else 0.0
        found.append(min(max(value, 0.0), _MEASURE.largest_correlation))
    return found[0], found[1]


def _mixing(atlas: Atlas, colour: Plane, flat: BoolArray) -> Plane:
    """Square root of the covariance of the channels' fine detail in flat places, for a luma of variance 1."""
    channels = colour.shape[2]
    alike = np.ones((channels, 1), np.float32)
    if channels == 1 or not flat.any():
        return alike
    picture = atlas.cut(colour)
    fine = (picture - cv2.GaussianBlur(picture, (0, 0), _MEASURE.structure_sigma))[flat]
    weights = np.array(LUMA_WEIGHTS)
    covariance = fine.T.astype(np.float64) @ fine / len(fine)
    brightness = float(weights @ covariance @ weights)
    if brightness <= 1e-6:
        return alike
    values, vectors = np.linalg.eigh(covariance / brightness)
    # Grain of a black-and-white film is one noise in all channels.
    strong = np.flatnonzero(values > _MEASURE.least_eigenvalue * values[-1])[::-1]
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
    field = stream.standard_normal(
        (_NOISE.tile + 2 * _NOISE.kernel_reach, _NOISE.tile + 2 * _NOISE.kernel_reach, channels), np.float32
    )
    across, down = (_kernel(value) for value in correlation)
    inner = slice(_NOISE.kernel_reach, -_NOISE.kernel_reach)
    filtered = cv2.sepFilter2D(field, -1, across, down).reshape(field.shape)[inner, inner]
    return filtered[place[0] % _NOISE.tile, place[1] % _NOISE.tile]


def _kernel(correlation: float) -> NDArray[np.float32]:
    """Gaussian kernel of energy 1 that gives white noise a correlation between neighbours."""
    squared = np.square(np.arange(-_NOISE.kernel_reach, _NOISE.kernel_reach + 1))
    table = np.stack([np.exp(-squared * k) for k in np.geomspace(*_NOISE.sharpness, _NOISE.kernels)])
    reached = (table[:, 1:] * table[:, :-1]).sum(axis=1) / np.square(table).sum(axis=1)
    kernel = table[int(np.argmin(np.abs(reached - correlation)))]
    return (kernel / np.sqrt(np.square(kernel).sum())).astype(np.float32)

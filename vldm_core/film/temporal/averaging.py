"""Motion-compensated averaging: a frame and its neighbours become one picture with less grain and compression.

How much a neighbour counts at a pixel follows from how well it fits around it, as in the Degrain of MVTools for
AviSynth: (T² − m²) / (T² + m²) with the misfit m, and nothing beyond T. T is a multiple of what grain alone makes of a
difference at that brightness, so film without grain, drawings and titles come out as they went in. The squares over
which m is taken lie around every pixel, so there are no blocks and no edges of blocks.

What is left of the grain goes by a local Wiener filter, which sees the deviation of the grain and the frames that were
averaged: three neighbours each way take eight decibels off, a pan or a shot's end less.

Where a frame shows what was missed by the search for damage, the neighbours count alone; see `missed_damage`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ...arrays import BoolArray, Plane
from ...errors import SettingsError
from ...video.luma import LUMA_WEIGHTS
from ..flicker.local_gain import GAIN
from .missed_damage import AROUND as AROUND_SPOTS
from .missed_damage import StandOut, missed_damage, moving_past, stands_out
from .neighbours import REACH, CompensatedBand, Neighbours, NeighbourSettings, doubled, halved
from .noise import by_brightness


@dataclass(frozen=True, kw_only=True)
class AveragingSettings:
    """How frames are averaged along the motion.

    Attributes:
        strength: Share of the change that is applied, 0 … 1; 0 leaves the frames as they are.
        reach: Neighbours on each side that are averaged with a frame, 0 … 3 frames; 0 leaves the frames as they are.
        keep_grain: Share of the grain that is kept, 0 … 1; with 1 only missed damage is taken off.
        missed_damage: Whether small things that a frame shows against all its neighbours are taken off, too, where
            nothing was marked. It needs a reach of 2 or 3.
    """

    strength: float = 1.0
    reach: int = REACH
    keep_grain: float = 0.0
    missed_damage: bool = True

    def __post_init__(self) -> None:
        for name in ("strength", "keep_grain"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"averaging {name} is {getattr(self, name)}; use 0 … 1")
        if not 0 <= self.reach <= REACH:
            raise SettingsError(f"averaging reach is {self.reach} frames; use 0 … {REACH}")


@dataclass(frozen=True, kw_only=True)
class AveragingWeights:
    """How much neighbours count. Squares of two by two pixels share a weight.

    Attributes:
        box: Such squares on each side of the one over which the misfit is averaged, odd: about the size of the blocks
            that motion compensation is judged by in denoisers of video.
        grain: Ratio of the misfit at which a neighbour counts nothing to the one that grain alone makes.
        levels: Grey levels that are added to that misfit: what rounding leaves of the same picture.
        sure: Neighbours, the sum of their weights, that must be there where they count alone.
        window: Pixels on each side of the square over which the average is told from the grain that is left in it, odd.
        difference: Ratio of the mean |difference| of two frames to the deviation of the grain in one: 2 / √π.
        most_left: Share of the grain's variance that is taken to be left in an average at most. Where no neighbour fits
            there is more, and one frame alone does not tell it from detail.
    """

    box: int = 5
    grain: float = 3.0
    levels: float = 0.3
    sure: float = 1.0
    window: int = 5
    difference: float = 1.128
    most_left: float = 0.25


_WEIGHTS = AveragingWeights()
_BOX, _SQUARE = ((side, side) for side in (_WEIGHTS.box, _WEIGHTS.window))
_LEAST = np.float32(1e-6)
"""Sum of weights, a share of one neighbour, and variance, that is divided by at least."""
_RED, _GREEN, _BLUE = LUMA_WEIGHTS
_TO_RGB = np.array([[1, 1, 0], [1, -_RED / _GREEN, -_BLUE / _GREEN], [1, 0, 1]], np.float32)
"""Factors of luma, R − Y and B − Y in red, green and blue."""


def neighbour_settings(settings: AveragingSettings) -> NeighbourSettings:
    """How neighbours are brought to a frame for an average: misfit tells where they do not show it."""
    return NeighbourSettings(reach=max(1, settings.reach))


@dataclass(frozen=True, eq=False)
class _Weights:
    """How much the neighbours of some rows of a frame count.

    Attributes:
        parts: (n, W) each, what the light of a neighbour is multiplied by, 0 … 1.
        total: (n, W), their sum.
        left: (n / 2, W / 2), share of the grain's variance that the average has.
        lone: (n, W), where they count alone; None where they do so nowhere.
    """

    parts: list[Plane]
    total: Plane
    left: Plane
    lone: BoolArray | None


def averaged(
    neighbours: Neighbours, index: int, grain: Plane, settings: AveragingSettings, *, chroma: Plane | None = None
) -> Plane:
    """Average a frame with its neighbours.

    Args:
        neighbours: Of frames, with `neighbour_settings`.
        index: Of the frame.
        grain: (256,), see `noise.grain_by_brightness`.
        settings: How.
        chroma: (H, W, 2), R − Y and B − Y of the frame, grey levels; None where the film is monochrome.

    Returns:
        What is to be added to the frame, grey levels: (H, W) where it is monochrome, else (H, W, 3), RGB.
    """
    bands = list(neighbours.looked_up(index, AROUND_SPOTS))
    shape = (bands[-1].rows.stop, bands[-1].frame.shape[1])
    alone, expected = np.zeros(shape, bool), None
    if settings.missed_damage:
        parts = [stands_out(band, index, grain).cut(band.core) for band in bands]
        seen = parts[0] if len(parts) == 1 else _joined(parts)
        if seen.found.any():
            alone, expected = missed_damage(seen, moving_past(neighbours.nearest_motions(index))), seen.expected
    made = []
    for band in bands:
        rows = slice(band.rows.start - band.core.start, band.rows.start - band.core.start + len(band.frame))
        weights = _weights(band, alone[rows], None if expected is None else expected[rows], grain)
        change = _change([shown.light for shown in band.neighbours], weights, band.frame)
        average = cv2.add(band.frame, change)
        to_mean = _to_mean(average)
        share = _share(average, to_mean, weights, grain)
        cv2.accumulateProduct(to_mean, share, change)
        if chroma is not None:
            came = chroma[rows]
            colours = _change([neighbours.chroma(shown) for shown in band.neighbours], weights, came)
            cv2.accumulateProduct(_to_mean(cv2.add(came, colours)), _for(share, came), colours)
            change = cv2.transform(cv2.merge([change, *cv2.split(colours)]), _TO_RGB)
        made.append(_kept(change, weights.lone, settings)[band.core])
    return made[0] if len(made) == 1 else np.concatenate(made)


def _weights(band: CompensatedBand, alone: BoolArray, expected: Plane | None, grain: Plane) -> _Weights:
    """How much each neighbour counts.

    Args:
        band: The neighbours.
        alone: (n, W), where they are to count alone.
        expected: (n, W), the light of the frame there, or None.
        grain: (256,), see `noise.grain_by_brightness`.
    """
    frame, lone = band.frame, None
    shape = (frame.shape[0], frame.shape[1])
    if expected is not None and alone.any():
        # What the neighbours fit is the frame without its damage.
        frame, lone = np.where(alone, expected, frame), alone
    smooth = cv2.blur(halved(frame), _BOX, borderType=cv2.BORDER_REFLECT)
    curve = (grain * np.float32(_WEIGHTS.grain) + np.float32(_WEIGHTS.levels)) ** 2
    limit = by_brightness(curve, smooth, GAIN.pedestal)
    fits = []
    total, squares = np.zeros_like(limit), np.zeros_like(limit)
    for shown in band.neighbours:
        misfit = cv2.blur(halved(cv2.absdiff(frame, shown.light)), _BOX, borderType=cv2.BORDER_REFLECT)
        cv2.multiply(misfit, misfit, dst=misfit)
        fit: Plane = np.maximum(cv2.divide(cv2.subtract(limit, misfit), cv2.add(limit, misfit)), np.float32(0))
        if shown.valid is not None:
            fit = cv2.copyTo(fit, shown.valid)
        fits.append(fit)
        cv2.accumulate(fit, total)
        cv2.accumulateSquare(fit, squares)
    own = np.ones_like(total)
    if lone is not None:
        # Where too few neighbours fit to count alone, the frame stays.
        lone = lone & (doubled(total, shape) >= np.float32(_WEIGHTS.sure))
        own -= halved(lone.astype(np.float32))
    whole = np.maximum(total + own, _LEAST)
    left = (squares + own * own) / (whole * whole)
    parts = [doubled(cv2.divide(fit, whole), shape) for fit in fits]
    sums = doubled(cv2.divide(total, whole), shape)
    if lone is not None:
        # A square on the rim of damage has pixels of both kinds.
        there = np.maximum(sums[lone], _LEAST)
        for part in parts:
            part[lone] /= there
        sums[lone] = 1.0
    return _Weights(parts, sums, np.minimum(left, np.float32(_WEIGHTS.most_left)), lone)


def _change(looks: Sequence[Plane], weights: _Weights, came: Plane) -> Plane:
    """What the weighted neighbours add to a picture (n, W) or (n, W, 2)."""
    change = cv2.multiply(_for(weights.total, came), came, scale=-1.0)
    for look, part in zip(looks, weights.parts, strict=True):
        cv2.accumulateProduct(look, _for(part, came), change)
    return change


def _to_mean(average: Plane) -> Plane:
    """What leads from every pixel of a picture (n, W) or (n, W, 2) to the mean around it."""
    mean = cv2.blur(average, _SQUARE, borderType=cv2.BORDER_REFLECT)
    return cv2.subtract(mean, average, dst=mean)


def _share(average: Plane, to_mean: Plane, weights: _Weights, grain: Plane) -> Plane:
    """How far an average (n, W) goes towards the mean around each pixel, (n, W): the share of grain in its variance.

    The local Wiener filter (J. S. Lee, "Digital Image Enhancement and Noise Filtering by Use of Local Statistics", IEEE
    PAMI 2 (2), 1980), with the mean square of the way to the mean for the variance: it does not hang on the sums of
    what lies above.
    """
    variance = cv2.blur(cv2.multiply(to_mean, to_mean), _SQUARE, borderType=cv2.BORDER_REFLECT)
    noise = by_brightness((grain / np.float32(_WEIGHTS.difference)) ** 2, cv2.add(average, to_mean), GAIN.pedestal)
    cv2.multiply(noise, doubled(weights.left, (average.shape[0], average.shape[1])), dst=noise)
    share: Plane = np.minimum(cv2.divide(noise, np.maximum(variance, _LEAST)), np.float32(1))
    return cv2.blur(share, _SQUARE, borderType=cv2.BORDER_REFLECT)


def _kept(change: Plane, lone: BoolArray | None, settings: AveragingSettings) -> Plane:
    """The part of a change that is wanted."""
    scale = np.float32(settings.strength * (1 - settings.keep_grain))
    if scale == 1:
        return change
    scaled = change * scale
    if lone is not None:
        # What was missed goes whatever is kept of the grain.
        scaled[lone] = change[lone] * np.float32(settings.strength)
    return np.asarray(scaled)


def _joined(parts: Sequence[StandOut]) -> StandOut:
    fields = {name: [vars(part)[name] for part in parts] for name in vars(parts[0])}
    blank = np.zeros_like
    whole: dict[str, Any] = {
        # What one band has nothing of another one may have.
        name: None
        if all(plane is None for plane in planes)
        else np.concatenate(
            [blank(part.apart) if plane is None else plane for plane, part in zip(planes, parts, strict=True)]
        )
        for name, planes in fields.items()
    }
    return StandOut(**whole)


def _for(plane: Plane, picture: Plane) -> Plane:
    """A plane (n, W) for each channel of a picture."""
    return plane if picture.ndim == 2 else cv2.merge([plane] * picture.shape[2])

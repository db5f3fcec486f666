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
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ...arrays import BoolArray, Plane
from ...errors import SettingsError
from ...video.luma import LUMA_WEIGHTS
from .missed_damage import AROUND as AROUND_SPOTS
from .missed_damage import StandOut, missed_damage, moving_past, stands_out
from .neighbours import NOT_ASKED, REACH, Compensated, CompensatedBand, Neighbours, NeighbourSettings, misfit
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
    """How much neighbours count.

    Attributes:
        box: Pixels on each side of the square over which the misfit is averaged, odd.
        grain: Ratio of the misfit at which a neighbour counts nothing to the one that grain alone makes.
        levels: Grey levels that are added to that misfit: what rounding leaves of the same picture.
        sure: Neighbours, the sum of their weights, that must be there where they count alone.
        window: Pixels on each side of the square over which the average is told from the grain that is left in it, odd.
        difference: Ratio of the mean |difference| of two frames to the deviation of the grain in one: 2 / √π.
        most_left: Share of the grain's variance that is taken to be left in an average at most. Where no neighbour fits
            there is more, and one frame alone does not tell it from detail.
    """

    box: int = 9
    grain: float = 3.0
    levels: float = 0.3
    sure: float = 1.0
    window: int = 5
    difference: float = 1.128
    most_left: float = 0.25


_WEIGHTS = AveragingWeights()
_LUMA = np.array([LUMA_WEIGHTS], np.float32)
_LEAST = np.float32(1e-6)
"""Sum of weights, a share of one neighbour, that is divided by at least."""


def neighbour_settings(settings: AveragingSettings) -> NeighbourSettings:
    """How neighbours are brought to a frame for an average: misfit tells where they do not show it."""
    return NeighbourSettings(reach=max(1, settings.reach), box=_WEIGHTS.box, both_ways=False)


def averaged(neighbours: Neighbours, index: int, frame: Plane, grain: Plane, settings: AveragingSettings) -> Plane:
    """Average a frame with its neighbours.

    Args:
        neighbours: Of frames, with `neighbour_settings`.
        index: Of the frame.
        frame: (H, W) where the film is monochrome, or (H, W, 3) RGB; grey levels.
        grain: (256,), see `noise.grain_by_brightness`.
        settings: How.

    Returns:
        Like `frame`.
    """
    in_colour = frame.ndim == 3
    bands = [
        band if in_colour else replace(band, neighbours=[_without_places(shown) for shown in band.neighbours])
        for band in neighbours.looked_up(index, AROUND_SPOTS)
    ]
    alone, expected = np.zeros(frame.shape[:2], bool), None
    if settings.missed_damage:
        parts = [stands_out(band, index, grain).cut(band.core) for band in bands]
        seen = parts[0] if len(parts) == 1 else _joined(parts)
        if seen.found.any():
            alone, expected = missed_damage(seen, moving_past(neighbours.nearest_motions(index))), seen.expected
    result = np.empty(frame.shape, np.float32)
    for band in bands:
        rows = slice(band.rows.start - band.core.start, band.rows.start - band.core.start + len(band.frame))
        weights, own = _weights(band, alone[rows], expected if expected is None else expected[rows], grain)
        factor = _share(weights, own)
        colours = (neighbours.colour(shown) if in_colour else shown.luma for shown in band.neighbours)
        came = frame[rows]
        change: Plane = np.zeros(came.shape, np.float32)
        for colour, weight in zip(colours, weights, strict=True):
            cv2.accumulateProduct(cv2.subtract(colour, came), _for(weight, came), change)
        change *= _for(factor, came)
        change += _left_grain(came + change, weights, own, grain)
        change *= _for(_scale(own, settings), came)
        result[band.rows] = (came + change)[band.core]
    return result


def _left_grain(average: Plane, weights: Sequence[Plane], own: Plane, grain: Plane) -> Plane:
    """What takes the grain out of an average that is left in it where it shows nothing else, like `average`.

    The local Wiener filter (J. S. Lee, "Digital Image Enhancement and Noise Filtering by Use of Local Statistics", IEEE
    PAMI 2 (2), 1980): a pixel goes towards the mean around it by the share that the grain has in the variance there.
    """
    square = (_WEIGHTS.window, _WEIGHTS.window)
    total, squares = own.copy(), cv2.multiply(own, own)
    for weight in weights:
        cv2.accumulate(weight, total)
        cv2.accumulateProduct(weight, weight, squares)
    left = squares / np.maximum(cv2.multiply(total, total), _LEAST)
    np.minimum(left, np.float32(_WEIGHTS.most_left), out=left)
    mean = cv2.blur(average, square, borderType=cv2.BORDER_REFLECT)
    luma, smooth = (plane if plane.ndim == 2 else cv2.transform(plane, _LUMA) for plane in (average, mean))
    variance = cv2.blur(cv2.multiply(luma, luma), square, borderType=cv2.BORDER_REFLECT) - cv2.multiply(smooth, smooth)
    noise = by_brightness((grain / np.float32(_WEIGHTS.difference)) ** 2, smooth)
    share = np.minimum(noise * left / np.maximum(variance, _LEAST), np.float32(1))
    share = cv2.blur(share, square, borderType=cv2.BORDER_REFLECT)
    return cv2.multiply(cv2.subtract(mean, average), _for(share, average))


def _scale(own: Plane, settings: AveragingSettings) -> Plane:
    """Share of a change that is applied: all of it where the neighbours count alone, less where grain is kept."""
    return np.asarray(np.float32(settings.strength) * (1 - np.float32(settings.keep_grain) * own), np.float32)


def _without_places(shown: Compensated) -> Compensated:
    """Let go of what only colours are looked up with."""
    return replace(shown, place=NOT_ASKED, gain=NOT_ASKED)


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


def _weights(
    band: CompensatedBand, alone: BoolArray, expected: Plane | None, grain: Plane
) -> tuple[list[Plane], Plane]:
    """How much each neighbour counts, (n, W) each, and the frame itself, 0 … 1."""
    frame = band.frame
    own: Plane = np.ones(frame.shape, np.float32)
    if expected is not None and alone.any():
        # What the neighbours fit is the frame without its damage.
        frame = np.where(alone, expected, frame)
        own[alone] = 0.0
    smooth = cv2.blur(frame, (_WEIGHTS.box,) * 2, borderType=cv2.BORDER_REFLECT)
    curve = (grain * np.float32(_WEIGHTS.grain) + np.float32(_WEIGHTS.levels)) ** 2
    limit = by_brightness(curve, smooth)
    weights = []
    for shown in band.neighbours:
        square = misfit(frame, shown.luma, _WEIGHTS.box)
        cv2.multiply(square, square, dst=square)
        weight = cv2.divide(cv2.subtract(limit, square), cv2.add(limit, square))
        weights.append(cv2.copyTo(np.maximum(weight, np.float32(0)), shown.valid))
    return weights, own


def _share(weights: Sequence[Plane], own: Plane) -> Plane:
    """What the weighted sum of the differences to the neighbours is multiplied by, (n, W)."""
    total: Plane = np.zeros(own.shape, np.float32)
    for weight in weights:
        cv2.accumulate(weight, total)
    # Where too few neighbours fit to count alone, the frame stays.
    own = np.where((own < 1) & (total < np.float32(_WEIGHTS.sure)), np.float32(1), own)
    return 1 / np.maximum(total + own, _LEAST)

"""Things that cross a shot: pieces of a photograph with a soft outline, fast enough to cover and uncover the scene."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..ageing.randomness import log_uniform
from ..ageing.units import REFERENCE_LINES
from ..arrays import ByteArray, FloatArray
from .camera import Positions

_MOST_EXPOSURES = 10
"""Positions that are averaged to smear an object; more cost time and are not told apart."""

_LEAST_SIDE = 8
"""px; the smallest object."""

_PLACES = 4
"""Places of a photograph that are looked at for a texture."""


@dataclass(frozen=True, kw_only=True)
class MovingObject:
    """A piece of a picture that moves.

    Attributes:
        colours: (S, S, 4) RGB times alpha, and alpha.
        place: (T, 2) x and y of its middle in the frame, px.
        velocity: (T, 2) px per frame.
        angle: (T,) radians.
    """

    colours: FloatArray
    place: Positions
    velocity: Positions
    angle: Positions

    def cover(self, frame: FloatArray, index: int, shutter: float) -> None:
        """Draw the object into a frame (H, W, 3), smeared over the share of a frame for which the shutter is open."""
        size = self.colours.shape[0]
        smear = shutter * self.velocity[index]
        exposures = int(np.clip(np.ceil(np.hypot(*smear)), 1, _MOST_EXPOSURES))
        reach = 0.75 * size + float(np.abs(smear).max()) / 2 + 2
        x, y = self.place[index]
        left, right = max(0, int(x - reach)), min(frame.shape[1], int(x + reach) + 1)
        top, bottom = max(0, int(y - reach)), min(frame.shape[0], int(y + reach) + 1)
        if left >= right or top >= bottom:
            return
        turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), float(np.rad2deg(self.angle[index])), 1.0)
        drawn = np.zeros((bottom - top, right - left, 4), dtype=np.float32)
        for share in (np.arange(exposures) + 0.5) / exposures - 0.5:
            matrix = turn.copy()
            matrix[0, 2] += x + share * smear[0] - left - (size - 1) / 2
            matrix[1, 2] += y + share * smear[1] - top - (size - 1) / 2
            drawn += cv2.warpAffine(self.colours, matrix, drawn.shape[1::-1], flags=cv2.INTER_LINEAR)
        drawn /= exposures
        part = frame[top:bottom, left:right]
        part *= 1 - drawn[..., 3:]
        part += drawn[..., :3]


def draw_object(
    stream: np.random.Generator,
    photo: ByteArray,
    frames: int,
    height: int,
    width: int,
    *,
    size: tuple[float, float],
    speed: tuple[float, float],
) -> MovingObject:
    """Draw an object and its way through the frame, which it is sure to be in at one time.

    Args:
        stream: Random stream.
        photo: Where its texture is cut out, RGB (h, w, 3).
        frames: Length of the shot.
        height: Of the frame, px.
        width: The same.
        size: Smallest and largest size, share of the height.
        speed: Smallest and largest speed, px of a 480-line frame per frame.
    """
    side = max(_LEAST_SIDE, round(height * log_uniform(stream, *size)))
    # Cut out at one to three times the size, so that its texture is as sharp as a scene's.
    source = min(int(side * stream.uniform(1, 3)), *photo.shape[:2])
    cut = _liveliest(stream, photo, source).astype(np.float32) / 255
    texture = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA if source >= side else cv2.INTER_LINEAR)
    alpha = blob(stream, side)[..., None]
    pace = log_uniform(stream, *speed) * height / REFERENCE_LINES
    heading = stream.uniform(0, 2 * np.pi) + stream.normal(0, 0.03) * np.arange(frames)
    velocity = pace * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    way = np.cumsum(velocity, axis=0)
    meeting = int(stream.integers(frames))
    place = way - way[meeting] + stream.uniform(0, 1, 2) * (width, height)
    angle = stream.uniform(0, 2 * np.pi) + np.deg2rad(stream.normal(0, 1.5)) * np.arange(frames)
    return MovingObject(
        colours=np.ascontiguousarray(np.concatenate([texture * alpha, alpha], axis=2), dtype=np.float32),
        place=place,
        velocity=velocity,
        angle=angle,
    )


def blob(stream: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Return the alpha (side, side) of a smooth random shape, from round to six times as long as wide."""
    order = np.arange(2, 7)
    strength = stream.normal(0, 0.35, len(order)) / order
    phase = stream.uniform(0, 2 * np.pi, len(order))
    # A sliver that is narrower than its soft edge would hardly be there.
    aspect = float(np.exp(stream.uniform(0, np.log(np.clip(side / 8, 1, 6)))))
    axis = (np.arange(side) - (side - 1) / 2) / (side / 2)
    x, y = axis[None, :], axis[:, None] * aspect
    bearing = np.arctan2(y, x)
    outline = 1 + np.tensordot(strength, np.cos(order[:, None, None] * bearing + phase[:, None, None]), axes=1)
    # The outline stays inside the square whatever was drawn.
    outline *= 0.92 / (1 + np.abs(strength).sum())
    softness = stream.uniform(1, 2.5)
    inside = (outline - np.hypot(x, y)) * side / 2 / aspect**0.5 / softness + 0.5
    return np.asarray(np.clip(inside, 0, 1), dtype=np.float32)


def _liveliest(stream: np.random.Generator, photo: ByteArray, side: int) -> ByteArray:
    """Return the square of a photograph with most contrast among a few: an evenly coloured one would show no motion."""
    tops = stream.integers(photo.shape[0] - side + 1, size=_PLACES)
    lefts = stream.integers(photo.shape[1] - side + 1, size=_PLACES)
    cuts = [photo[top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)]
    return max(cuts, key=lambda cut: float(cut[::4, ::4].std()))

"""Simulated camera moves: where the camera points in each frame, and how a picture looks from there."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..ageing.randomness import log_uniform
from ..ageing.units import line_scale
from ..arrays import FloatArray

Positions = NDArray[np.float64]

_LEAST_BLUR = 1.2
"""px; a shorter smear is not seen."""


@dataclass(frozen=True, kw_only=True)
class CameraMove:
    """Where the camera points, frame by frame, relative to the middle of what it sees during the shot.

    Attributes:
        place: (T, 2) x and y, px of the frame.
        zoom: (T,) picture pixels per frame pixel, at most 1.
        angle: (T,) rotation, radians.
    """

    place: Positions
    zoom: Positions
    angle: Positions

    @property
    def locked(self) -> bool:
        """Whether the camera never moves."""
        return not self.place.any() and not self.angle.any() and bool((self.zoom == 1).all())

    def reach(self, height: int, width: int) -> tuple[float, float]:
        """Return height and width of the part of the picture that is seen during the shot, px of the frame."""
        cosine, sine = np.abs(np.cos(self.angle)), np.abs(np.sin(self.angle))
        half_width = self.zoom * (width * cosine + height * sine) / 2
        half_height = self.zoom * (width * sine + height * cosine) / 2
        return (
            2 * float((np.abs(self.place[:, 1]) + half_height).max()),
            2 * float((np.abs(self.place[:, 0]) + half_width).max()),
        )

    def matrix(self, index: int, height: int, width: int, centre: tuple[float, float]) -> NDArray[np.float64]:
        """Return the map from frame to picture pixels, (2, 3), with the picture's `centre` (x, y) in the middle."""
        scale, angle = self.zoom[index], self.angle[index]
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        offset = np.array(centre) + self.place[index] - turn @ middle
        return np.concatenate([turn, offset[:, None]], axis=1)


def still(frames: int) -> CameraMove:
    """Return a camera on a tripod."""
    return CameraMove(place=np.zeros((frames, 2)), zoom=np.ones(frames), angle=np.zeros(frames))


def draw_move(
    stream: np.random.Generator,
    frames: int,
    height: int,
    *,
    speed: tuple[float, float],
    zoom_share: float,
    turn_share: float,
    shake_share: float,
    shake: tuple[float, float],
) -> CameraMove:
    """Draw a camera move: an eased pan along a slight curve, with or without zoom, turn and the shake of a hand.

    Args:
        stream: Random stream.
        frames: Length of the shot.
        height: Of the frame, px.
        speed: Smallest and largest speed of the pan, px of a 480-line frame per frame.
        zoom_share: Probability of a zoom, by up to 1 % a frame and 30 % in all.
        turn_share: Probability of a rotation, by up to 0.15° a frame and 4° in all.
        shake_share: Probability that the camera is held by hand.
        shake: Smallest and largest standard deviation of the shake, px of a 480-line frame.
    """
    unit = line_scale(height)
    velocity = log_uniform(stream, *speed) * unit * eased(stream, frames)
    heading = stream.uniform(0, 2 * np.pi) + stream.normal(0, 0.02) * np.arange(frames)
    place = np.cumsum(velocity[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
    zoom, angle = np.zeros(frames), np.zeros(frames)
    if stream.random() < zoom_share:
        rate = min(0.01, 0.3 / frames) * stream.uniform(-1, 1)
        zoom = np.cumsum(rate * eased(stream, frames))
    if stream.random() < turn_share:
        rate = min(0.15, 4 / frames) * stream.uniform(-1, 1)
        angle = np.deg2rad(np.cumsum(rate * eased(stream, frames)))
    if stream.random() < shake_share:
        strength = log_uniform(stream, *shake)
        place = place + strength * unit * _smooth_noise(stream, frames, 2)
        angle = angle + np.deg2rad(0.06 * strength) * _smooth_noise(stream, frames, 1)[:, 0]
    return CameraMove(
        place=place - (place.min(axis=0) + place.max(axis=0)) / 2,
        zoom=np.exp(zoom - zoom.max()),
        angle=angle,
    )


def eased(stream: np.random.Generator, frames: int) -> Positions:
    """Return a speed (T,) around 1 that grows or falls smoothly."""
    first, last = stream.uniform(0.2, 1.8, 2)
    time = np.linspace(0, 1, frames)
    return np.asarray(first + (last - first) * time * time * (3 - 2 * time))


def seen(picture: FloatArray, move: CameraMove, index: int, height: int, width: int) -> FloatArray:
    """Return what the camera sees of a picture in one frame, at the instant of the exposure's middle.

    Args:
        picture: (h, w, 3), its middle in the middle of the move.
        move: The camera move.
        index: Frame number.
        height: Of the frame, px.
        width: The same.

    Returns:
        (height, width, 3); the interpolation may overshoot.
    """
    centre = ((picture.shape[1] - 1) / 2, (picture.shape[0] - 1) / 2)
    # Lanczos, because the cubic of cv2 displaces the picture by 0.05 px and softens it between the pixels.
    return np.asarray(
        cv2.warpAffine(
            picture,
            move.matrix(index, height, width, centre),
            (width, height),
            flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        ),
        dtype=np.float32,
    )


def smeared(frame: FloatArray, motion: Positions) -> FloatArray:
    """Return a frame with the motion blur of a pan.

    Args:
        frame: (H, W, 3).
        motion: (2,) px by which the picture moves while the shutter is open.
    """
    length = float(np.hypot(*motion))
    if length < _LEAST_BLUR:
        return frame
    radius = int(np.ceil(length / 2))
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), dtype=np.float64)
    steps = 4 * radius + 1
    for share in np.linspace(-0.5, 0.5, steps):
        x, y = radius + share * motion[0], radius + share * motion[1]
        left, top = int(np.floor(x)), int(np.floor(y))
        for row, column, weight in (
            (top, left, (1 - x + left) * (1 - y + top)),
            (top, left + 1, (x - left) * (1 - y + top)),
            (top + 1, left, (1 - x + left) * (y - top)),
            (top + 1, left + 1, (x - left) * (y - top)),
        ):
            if weight > 0:
                kernel[row, column] += weight
    return np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _smooth_noise(stream: np.random.Generator, frames: int, channels: int) -> Positions:
    """Return noise (T, channels) of unit deviation that changes over about three frames."""
    bell = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    white = stream.standard_normal((frames + 10, channels))
    smooth = np.stack([np.convolve(white[:, k], bell, mode="valid") for k in range(channels)], axis=1)
    return np.asarray(smooth / np.sqrt(np.sum(bell**2)))

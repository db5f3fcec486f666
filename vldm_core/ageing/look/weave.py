"""Gate weave: the film does not lie in quite the same place for every frame."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import FloatArray
from ..randomness import Autoregressive
from ..units import line_scale
from ..validation import require_within


@dataclass(frozen=True, kw_only=True)
class WeaveModel:
    """How much a gate weaves.

    Attributes:
        horizontal: Standard deviation of the horizontal shift, px at 480 lines, 0 … 20.
        vertical: Standard deviation of the vertical shift, px at 480 lines, 0 … 20; usually the larger.
        rotation: Standard deviation of the rotation, degrees, 0 … 2.
        rho: Correlation of neighbouring frames, 0 … 0.98.
    """

    horizontal: float = 0.5
    vertical: float = 0.8
    rotation: float = 0.03
    rho: float = 0.5

    def __post_init__(self) -> None:
        require_within("weave.horizontal", self.horizontal, 0, 20)
        require_within("weave.vertical", self.vertical, 0, 20)
        require_within("weave.rotation", self.rotation, 0, 2)
        require_within("weave.rho", self.rho, 0, Autoregressive.LARGEST_RHO)


@dataclass(frozen=True, kw_only=True)
class Displacement:
    """Where a frame lies: what was at p is at R(p - c) + c + d, with c the centre of the frame.

    Attributes:
        dx: Shift to the right, px.
        dy: Shift down, px.
        angle: Rotation, degrees; positive turns the picture clockwise as seen on the screen (y points down).
    """

    dx: float
    dy: float
    angle: float

    def __add__(self, other: "Displacement") -> "Displacement":
        return Displacement(dx=self.dx + other.dx, dy=self.dy + other.dy, angle=self.angle + other.angle)


class WeaveLayer:
    """Displaces any frame."""

    def __init__(self, model: WeaveModel, seed: int, name: str, height: int, width: int) -> None:
        self._model, self._height, self._width = model, height, width
        self._scale = line_scale(height)
        self._series = Autoregressive(seed, name, rho=model.rho, channels=3)

    def displacement(self, index: int) -> Displacement:
        """Return where frame ``index`` lies."""
        dx, dy, angle = (float(value) for value in self._series.at(index))
        return Displacement(
            dx=dx * self._model.horizontal * self._scale,
            dy=dy * self._model.vertical * self._scale,
            angle=angle * self._model.rotation,
        )

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` displaced; the border is mirrored."""
        return displaced(image, self.displacement(index))


def displaced(image: FloatArray, place: Displacement, *, outside: float | None = None) -> FloatArray:
    """Return an image (H, W, 3) where a displacement puts it.

    The border is mirrored, which suits small displacements, or has the brightness ``outside``.
    """
    size = (image.shape[1], image.shape[0])
    matrix = _matrix(place, image.shape[0], image.shape[1])
    if outside is None:
        moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    else:
        moved = cv2.warpAffine(
            image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=(outside,) * 3
        )
    return np.clip(moved, 0, 1)


def displaced_mask(mask: FloatArray, place: Displacement) -> FloatArray:
    """Return a mask (H, W) displaced like a picture; the border is empty."""
    if not mask.any():
        return mask
    height, width = mask.shape
    moved = cv2.warpAffine(mask, _matrix(place, height, width), (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(moved, dtype=np.float32)


def _matrix(place: Displacement, height: int, width: int) -> np.ndarray:
    cos, sin = math.cos(math.radians(place.angle)), math.sin(math.radians(place.angle))
    x, y = (width - 1) / 2, (height - 1) / 2
    return np.array(
        [[cos, -sin, x - cos * x + sin * y + place.dx], [sin, cos, y - sin * x - cos * y + place.dy]],
        dtype=np.float64,
    )

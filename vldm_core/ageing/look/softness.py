"""Softness: the blur of old lenses and copies, and scans of few lines."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import FloatArray
from ..randomness import generator
from ..units import REFERENCE_LINES
from ..validation import require_span


@dataclass(frozen=True, kw_only=True)
class SoftnessModel:
    """How soft the scanned picture is; both values are drawn once per film.

    Attributes:
        blur: Smallest and largest standard deviation of the blur, px at 480 lines, 0 … 10.
        scale: Smallest and largest share of the resolution that the scan kept, 0.1 … 1.
    """

    blur: tuple[float, float] = (0.3, 2.0)
    scale: tuple[float, float] = (0.5, 1.0)

    def __post_init__(self) -> None:
        require_span("softness.blur", self.blur, 0, 10)
        require_span("softness.scale", self.scale, 0.1, 1)


class SoftnessLayer:
    """Softens every frame alike."""

    def __init__(self, model: SoftnessModel, seed: int, height: int, width: int, *, name: str = "softness") -> None:
        stream = generator(seed, name)
        self._size = (width, height)
        self._sigma = stream.uniform(*model.blur) * height / REFERENCE_LINES
        scale = stream.uniform(*model.scale)
        self._small = (max(round(width * scale), 8), max(round(height * scale), 8))

    def apply(self, image: FloatArray) -> FloatArray:
        """Return an image (H, W, 3) blurred and brought through fewer pixels."""
        if self._sigma > 0.05:
            side = 2 * math.ceil(3 * self._sigma) + 1
            image = cv2.GaussianBlur(image, (side, side), self._sigma, borderType=cv2.BORDER_REFLECT).astype(np.float32)
        if self._small != self._size:
            small = cv2.resize(image, self._small, interpolation=cv2.INTER_AREA)
            image = cv2.resize(small, self._size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
        return np.clip(image, 0, 1)

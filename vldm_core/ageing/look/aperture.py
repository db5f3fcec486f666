"""The gate's aperture: a dark border with round corners, where no light fell on the film."""

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray
from ..randomness import SmoothNoise, generator
from ..units import line_scale
from ..validation import require_span, require_within


@dataclass(frozen=True, kw_only=True)
class ApertureModel:
    """Shape of the aperture; each side and the corner are drawn once per film.

    Attributes:
        border: Smallest and largest breadth of the border on a side, as a share of the height, 0 … 0.2.
        corner: Smallest and largest radius of the corners, as a share of the height, 0 … 0.5.
        softness: Breadth of the soft edge, px at 480 lines, 0.5 … 30.
        roughness: Deviation of the edge from a straight line, px at 480 lines, 0 … 5: burrs and fluff in the gate.
        level: Brightness of the border, 0 … 0.3; dense film is never quite black.
    """

    border: tuple[float, float] = (0.0, 0.03)
    corner: tuple[float, float] = (0.03, 0.08)
    softness: float = 2.5
    roughness: float = 0.5
    level: float = 0.02

    def __post_init__(self) -> None:
        require_span("aperture.border", self.border, 0, 0.2)
        require_span("aperture.corner", self.corner, 0, 0.5)
        require_within("aperture.softness", self.softness, 0.5, 30)
        require_within("aperture.roughness", self.roughness, 0, 5)
        require_within("aperture.level", self.level, 0, 0.3)


class ApertureLayer:
    """Frames every picture with the same border."""

    def __init__(self, model: ApertureModel, seed: int, height: int, width: int) -> None:
        stream = generator(seed, "aperture")
        scale = line_scale(height)
        left, right, top, bottom = (stream.uniform(*model.border) * height for _ in range(4))
        # A corner is never rounder than half of the opening.
        corner = min(stream.uniform(*model.corner) * height, (height - top - bottom) / 2, (width - left - right) / 2)
        bends = SmoothNoise(seed, "aperture edge", pitch=max(70 * scale, 2), channels=4)
        burrs = SmoothNoise(seed, "aperture burrs", pitch=max(3.5 * scale, 1), channels=4)
        edge = model.roughness * scale

        def course(length: int) -> FloatArray:
            """Deviation of the four sides, (length, 4): gentle bends, and here and there a burr or a fibre."""
            positions = np.arange(length, dtype=np.float64)
            return 0.8 * bends.at(positions) + 3 * np.maximum(burrs.at(positions) - np.float32(2.1), 0)

        along_rows, along_columns = course(height), course(width)
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        # Distance to the nearest side counts inwards, with the centre of the corner's circle as its origin.
        x = np.minimum(
            columns - left - edge * along_rows[:, :1], width - 1 - right - columns - edge * along_rows[:, 1:2]
        )
        y = np.minimum(rows - top - edge * along_columns[:, 2], height - 1 - bottom - rows - edge * along_columns[:, 3])
        outside = np.hypot(np.maximum(corner - x, 0), np.maximum(corner - y, 0))
        inside = corner - np.where((x < corner) & (y < corner), outside, np.maximum(corner - x, corner - y))
        softness = max(model.softness * scale, 0.5)
        opening = np.clip(inside / softness + 0.5, 0, 1)
        opening = opening * opening * (3 - 2 * opening)
        self._opening: FloatArray = np.asarray(opening[..., None], dtype=np.float32)
        self._level = np.float32(model.level)

    def apply(self, image: FloatArray) -> FloatArray:
        """Return an image (H, W, 3) within its border."""
        return self._level + (image - self._level) * self._opening

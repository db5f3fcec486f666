"""Vignette: lenses give less light to the corners."""

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray
from ..randomness import generator
from ..validation import require_span, require_within


@dataclass(frozen=True, kw_only=True)
class VignetteModel:
    """How dark the corners are.

    Attributes:
        strength: Smallest and largest loss of light in a corner, 0 … 0.8; one value is drawn per film.
        power: Exponent of the fall-off with the distance from the centre, 1 … 8.
        offset: Largest distance of its centre from that of the picture, as a share of the height, 0 … 0.3.
    """

    strength: tuple[float, float] = (0.1, 0.4)
    power: float = 2.5
    offset: float = 0.05

    def __post_init__(self) -> None:
        require_span("vignette.strength", self.strength, 0, 0.8)
        require_within("vignette.power", self.power, 1, 8)
        require_within("vignette.offset", self.offset, 0, 0.3)


class VignetteLayer:
    """Darkens the corners of frames; the same for every frame."""

    def __init__(self, model: VignetteModel, seed: int, height: int, width: int) -> None:
        stream = generator(seed, "vignette")
        strength = stream.uniform(*model.strength)
        x = (width - 1) / 2 + stream.uniform(-1, 1) * model.offset * height
        y = (height - 1) / 2 + stream.uniform(-1, 1) * model.offset * height
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        radius = np.hypot(columns - x, rows - y)
        gain = 1 - strength * (radius / radius.max()) ** model.power
        self._gain: FloatArray = np.asarray(gain[..., None], dtype=np.float32)

    def apply(self, image: FloatArray) -> FloatArray:
        """Return an image (H, W, 3) with dark corners."""
        return image * self._gain

"""Fading and tint: the dyes or the silver of the print lose density, and drift slowly along the reel."""

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray
from ...errors import SettingsError
from ..randomness import SmoothNoise
from ..validation import require_within


@dataclass(frozen=True, kw_only=True)
class FadingModel:
    """What happened to the density D = -log10(I) of each channel: D' = contrast D + offset.

    Attributes:
        contrast: Factor on the density of red, green and blue, 0.2 … 2; below 1 the picture fades.
        offset: Density added to red, green and blue, -0.5 … 0.5; unequal offsets tint.
        drift: Standard deviation of a slow change of the offsets, D. It is the same in all channels.
        drift_period: Frames between turning points of that change.
    """

    contrast: tuple[float, float, float] = (0.85, 0.85, 0.85)
    offset: tuple[float, float, float] = (0.03, 0.03, 0.03)
    drift: float = 0.02
    drift_period: float = 120.0

    def __post_init__(self) -> None:
        if len(self.contrast) != 3 or len(self.offset) != 3:
            raise SettingsError(
                f"fading.contrast is {self.contrast!r} and fading.offset is {self.offset!r}; give three numbers each, "
                "for red, green and blue."
            )
        for value in self.contrast:
            require_within("fading.contrast", value, 0.2, 2)
        for value in self.offset:
            require_within("fading.offset", value, -0.5, 0.5)
        require_within("fading.drift", self.drift, 0, 0.3)
        require_within("fading.drift_period", self.drift_period, 2, 1e6)


class FadingLayer:
    """Fades any frame."""

    def __init__(self, model: FadingModel, seed: int) -> None:
        self._model = model
        self._drift = SmoothNoise(seed, "fading", pitch=model.drift_period)

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` faded."""
        drift = self._model.drift * float(self._drift.at(np.array([float(index)]))[0, 0])
        transmission = np.power(10.0, -(np.array(self._model.offset) + drift)).astype(np.float32)
        contrast = self._model.contrast
        if contrast[0] == contrast[1] == contrast[2]:
            faded = image if contrast[0] == 1 else np.power(image, np.float32(contrast[0]))
        else:
            faded = np.power(image, np.array(contrast, dtype=np.float32))
        return np.clip(faded * transmission, 0, 1)

"""Flicker: the exposure of hand-cranked and worn machines changes from frame to frame."""

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import FloatArray
from ..randomness import Autoregressive
from ..validation import require_within

_GRID = 4  # cells of the spatial gain field per side


@dataclass(frozen=True, kw_only=True)
class FlickerModel:
    """How strongly the exposure flickers.

    Attributes:
        gain: Standard deviation of the gain of the whole frame, 0 … 0.3.
        gamma: Standard deviation of the logarithm of gamma, 0 … 0.3.
        spatial: Standard deviation of the smooth gain field, 0 … 0.3.
        rho: Correlation of neighbouring frames, 0 … 0.98.
    """

    gain: float = 0.04
    gamma: float = 0.02
    spatial: float = 0.03
    rho: float = 0.4

    def __post_init__(self) -> None:
        require_within("flicker.gain", self.gain, 0, 0.3)
        require_within("flicker.gamma", self.gamma, 0, 0.3)
        require_within("flicker.spatial", self.spatial, 0, 0.3)
        require_within("flicker.rho", self.rho, 0, Autoregressive.LARGEST_RHO)


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Exposure of one frame: I' = gain field I^gamma.

    Attributes:
        gain: Gain of the whole frame.
        gamma: Exponent.
        field: Gains of a 4x4 grid of cells spread over the frame, (4, 4); bicubic in between.
    """

    gain: float
    gamma: float
    field: FloatArray


class FlickerLayer:
    """Changes the exposure of any frame."""

    def __init__(self, model: FlickerModel, seed: int, height: int, width: int) -> None:
        self._model, self._height, self._width = model, height, width
        self._series = Autoregressive(seed, "flicker", rho=model.rho, channels=2 + _GRID**2)

    def exposure(self, index: int) -> Exposure:
        """Return the exposure of frame ``index``."""
        series = self._series.at(index)
        return Exposure(
            gain=max(1 + self._model.gain * float(series[0]), 0.2),
            gamma=float(np.exp(self._model.gamma * series[1])),
            field=np.maximum(1 + self._model.spatial * series[2:].reshape(_GRID, _GRID), 0.2).astype(np.float32),
        )

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with its exposure changed."""
        exposure = self.exposure(index)
        field = cv2.resize(exposure.field, (self._width, self._height), interpolation=cv2.INTER_CUBIC)
        if exposure.gamma != 1:
            image = np.power(image, np.float32(exposure.gamma))
        return np.clip(image * (field * np.float32(exposure.gain))[..., None], 0, 1)

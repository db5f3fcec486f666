"""Film grain: fresh in every frame, band-limited, strongest in the mid-tones."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import FloatArray
from ..randomness import generator
from ..units import REFERENCE_LINES
from ..validation import require_within


@dataclass(frozen=True, kw_only=True)
class GrainModel:
    """How grainy the film is.

    Attributes:
        sigma: Standard deviation in the mid-tones, grey levels (of 255), 0 … 40.
        correlation: Distance at which the autocorrelation has fallen to 1/e, px at 480 lines, 0.3 … 10.
        colour: Share of the variance that is independent in the three channels; 0 for black-and-white film.
        density: Whether the grain disturbs the density, I' = I 10^-dD, with a standard deviation of dD that grows with
            the square root of the density, as in Selwyn's law for silver grains of one size; otherwise the brightness,
            with an amplitude that is largest at half brightness. ``sigma`` holds at half brightness in both.
    """

    sigma: float = 3.0
    correlation: float = 1.2
    colour: float = 0.0
    density: bool = False

    def __post_init__(self) -> None:
        require_within("grain.sigma", self.sigma, 0, 40)
        require_within("grain.correlation", self.correlation, 0.3, 10)
        require_within("grain.colour", self.colour, 0, 1)


class GrainLayer:
    """Adds grain to any frame."""

    def __init__(self, model: GrainModel, seed: int, height: int, width: int) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        # White noise under a Gaussian of sigma s has the autocorrelation exp(-d^2 / 4 s^2).
        spread = model.correlation * height / REFERENCE_LINES / 2
        kernel = cv2.getGaussianKernel(2 * int(np.ceil(3 * spread)) + 1, spread, cv2.CV_32F)
        self._kernel = kernel / np.sqrt(np.sum(kernel**2))  # keeps unit variance

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with grain."""
        stream = generator(self._seed, "grain", index)
        colour = self._model.colour
        noise: FloatArray = np.float32(1 - colour) ** np.float32(0.5) * self._noise(stream, 1)[..., None]
        if colour > 0:
            noise = noise + np.float32(colour) ** np.float32(0.5) * self._noise(stream, 3)
        if self._model.density:
            # Grey levels to density at half brightness: dI = -I ln(10) dD, and the square root of -log10(0.5) there.
            scale = self._model.sigma / 255 / (0.5 * math.log(10) * math.sqrt(math.log10(2)))
            depth = np.sqrt(np.minimum(-np.log10(np.maximum(image, np.float32(1e-3))), 2))
            # Even clear film holds a little fog, so white is not quite free of grain.
            change = noise * np.maximum(depth, np.float32(0.15)) * np.float32(scale)
            return np.clip(image * np.power(np.float32(10), -change), 0, 1)
        # Clear film and full density hold few visible grains; a quarter of the amplitude is left there.
        amplitude = np.float32(0.25) + np.float32(3) * image * (1 - image)
        return np.clip(image + noise * amplitude * np.float32(self._model.sigma / 255), 0, 1)

    def _noise(self, stream: np.random.Generator, channels: int) -> FloatArray:
        shape = (self._height, self._width) if channels == 1 else (self._height, self._width, channels)
        white = stream.standard_normal(shape, dtype=np.float32)
        return np.asarray(cv2.sepFilter2D(white, cv2.CV_32F, self._kernel, self._kernel), dtype=np.float32)

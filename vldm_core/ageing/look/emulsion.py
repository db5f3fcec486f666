"""The film stock: which colours it saw, how steep its tones are, and how bright places glow in it."""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from ...arrays import FloatArray
from ...errors import SettingsError
from ..units import REFERENCE_LINES
from ..validation import require_within

Response = Literal["colour", "panchromatic", "orthochromatic"]

# Shares of red, green and blue light in the exposure. Orthochromatic stock, the rule until the late 1920s, is blind to
# red: blue skies come out white, lips and bricks black.
_WEIGHTS: dict[Response, tuple[float, float, float]] = {
    "panchromatic": (0.32, 0.45, 0.23),
    "orthochromatic": (0.05, 0.50, 0.45),
}
_DISPLAY_GAMMA = np.float32(2.2)
_GLOWING = np.float32(0.7)  # brightness above which light scatters visibly


@dataclass(frozen=True, kw_only=True)
class EmulsionModel:
    """What the stock makes of the light.

    Attributes:
        response: ``"colour"`` leaves the colours; the two others make the picture grey as such stock does.
        contrast: Share of an S-curve in the tones, 0 (straight) … 1; negative flattens, to -0.5.
        halation: How much of the light of bright places spreads around them, 0 … 0.5. Stock without a backing glows.
        radius: Standard deviation of that spread, px at 480 lines.
    """

    response: Response = "colour"
    contrast: float = 0.0
    halation: float = 0.0
    radius: float = 6.0

    def __post_init__(self) -> None:
        if self.response not in get_args(Response):
            raise SettingsError(
                f"emulsion.response is {self.response!r}; choose one of {', '.join(get_args(Response))}."
            )
        require_within("emulsion.contrast", self.contrast, -0.5, 1)
        require_within("emulsion.halation", self.halation, 0, 0.5)
        require_within("emulsion.radius", self.radius, 0.5, 60)


class EmulsionLayer:
    """Exposes frames on the stock; the same for every frame."""

    def __init__(self, model: EmulsionModel, height: int) -> None:
        self._model = model
        self._spread = model.radius * height / REFERENCE_LINES

    def apply(self, image: FloatArray) -> FloatArray:
        """Return an image (H, W, 3) as the stock records it."""
        model = self._model
        if model.halation > 0:
            glow = np.maximum(image - _GLOWING, 0) / (1 - _GLOWING)
            glow = cv2.GaussianBlur(glow, (0, 0), max(self._spread, 0.3), borderType=cv2.BORDER_REFLECT)
            image = image + np.float32(model.halation) * glow * (1 - image)
        if model.response != "colour":
            red, green, blue = (np.float32(weight) for weight in _WEIGHTS[model.response])
            light = np.power(np.clip(image, 0, 1), _DISPLAY_GAMMA)
            grey = np.power(red * light[..., 0] + green * light[..., 1] + blue * light[..., 2], 1 / _DISPLAY_GAMMA)
            image = np.repeat(grey[..., None], 3, axis=2)
        if model.contrast != 0:
            steep = image * image * (3 - 2 * image)
            image = image + np.float32(model.contrast) * (steep - image)
        return np.clip(image, 0, 1).astype(np.float32)

"""Blotches: large soft patches of thin or thick emulsion, drops and stains, seen for one frame."""

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray
from ..randomness import generator
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import draw_blend, require_blends, stamp
from .texture_folder import TextureFolder
from .textures import speck


@dataclass(frozen=True, kw_only=True)
class BlotchModel:
    """How many blotches there are and what they look like.

    Attributes:
        rate: Mean number per frame (Poisson), 0 … 20.
        size: Smallest and largest diameter, px at 480 lines; drawn log-uniformly.
        opacity: Smallest and largest opacity; blotches are low in contrast.
        white_share: Share of light blotches.
        hard_share: Share whose rim is as hard as that of dirt: drops, and emulsion that has come off.
        blends: Shares of the ways in which they mix with the picture, see :data:`~.marks.BLENDS`.
    """

    rate: float = 0.15
    size: tuple[float, float] = (18.0, 90.0)
    opacity: tuple[float, float] = (0.1, 0.5)
    white_share: float = 0.5
    hard_share: float = 0.0
    blends: tuple[float, ...] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        require_within("blotches.rate", self.rate, 0, 20)
        require_span("blotches.size", self.size, 4, 400)
        require_span("blotches.opacity", self.opacity, 0, 1)
        require_within("blotches.white_share", self.white_share, 0, 1)
        require_within("blotches.hard_share", self.hard_share, 0, 1)
        require_blends("blotches.blends", self.blends)


class BlotchLayer:
    """Draws the blotches of any frame."""

    def __init__(
        self, model: BlotchModel, seed: int, height: int, width: int, textures: TextureFolder | None = None
    ) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._scale = line_scale(height)
        self._textures = textures

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with blotches on it."""
        image = image.copy()
        model = self._model
        stream = generator(self._seed, "blotches", index)
        low, high = model.size
        for number in range(stream.poisson(model.rate)):
            size = float(low * (high / low) ** stream.random()) * self._scale
            centre = stream.uniform(0, self._width), stream.uniform(0, self._height)
            patch = speck(
                centre=centre,
                size=size,
                elongation=1 + stream.exponential(0.8),
                angle=stream.uniform(0, np.pi),
                raggedness=stream.uniform(0.2, 0.6),
                edge=self._edge(stream.uniform(0.1, 0.5), size),
                blur=max(1.2 * self._scale, 0.4),
                mottle=stream.uniform(0.05, 0.3),
                offset=(stream.uniform(0, 256), stream.uniform(0, 256)),
                height=self._height,
                width=self._width,
            )
            if self._textures is not None:
                # Chosen from its own stream, so that place, size and strength stay as they are without textures.
                choice = generator(self._seed, "blotch textures", index, number)
                patch = self._textures.stamp(
                    "stain",
                    choice.uniform(0, 256),
                    centre=centre,
                    size=1.6 * size,
                    angle=choice.uniform(0, 2 * np.pi),
                    height=self._height,
                    width=self._width,
                )
            opacity = stream.uniform(*model.opacity)
            white = bool(stream.random() < model.white_share)
            if patch is not None:
                rows, columns, coverage = patch
                blend = draw_blend(model.blends, size * 97 % 256)
                stamp(image, rows, columns, coverage, opacity, white=white, blend=blend)
        return image

    def _edge(self, softness: float, size: float) -> float:
        """Width of a rim, px, from a softness in 0.1 … 0.5."""
        hard = generator(self._seed, "blotch rims", int(softness * 1e9)).random() < self._model.hard_share
        return 1.5 * self._scale if hard else size * softness

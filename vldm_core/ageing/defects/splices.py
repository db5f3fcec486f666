"""Splices: where the film was cut and cemented, a line crosses the picture, frames are lost and the film jumps."""

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import FloatArray
from ..look.weave import Displacement
from ..randomness import Population, SmoothNoise
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import INVISIBLE, cover
from .textures import fractal_tile

_SETTLING = 5  # frames until the film lies still again
_REBOUND = -0.4  # share of a jump that is left, on the other side, one frame later


@dataclass(frozen=True, kw_only=True)
class SpliceModel:
    """How many splices there are and what they do.

    Attributes:
        rate: Mean number per frame, 0 … 0.5.
        dropped: Fewest and most frames lost, 0 … 48; what follows comes earlier by as many frames.
        jump: Smallest and largest vertical jump of the picture, px at 480 lines, 0 … 60; sideways it is a third.
        thickness: Smallest and largest thickness of the line, px at 480 lines.
        bright_share: Share of bright lines, where the emulsion was scraped off; the others are dark dirt in the seam.
    """

    rate: float = 1 / 240
    dropped: tuple[int, int] = (1, 8)
    jump: tuple[float, float] = (5.0, 15.0)
    thickness: tuple[float, float] = (1.5, 5.0)
    bright_share: float = 0.85

    def __post_init__(self) -> None:
        require_within("splices.rate", self.rate, 0, 0.5)
        require_span("splices.dropped", self.dropped, 0, 48)
        require_span("splices.jump", self.jump, 0, 60)
        require_span("splices.thickness", self.thickness, 0.5, 60)
        require_within("splices.bright_share", self.bright_share, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Splice:
    """One splice, in pixels of the frame.

    Attributes:
        key: Number that selects its unevenness.
        first: Last frame before it.
        cut: First frame after it.
        last: First frame in which nothing of it is left.
        dropped: Frames lost at the cut.
        dx: Jump to the right in the frame after the cut.
        dy: Jump down in the frame after the cut.
        y: Height of the line in the frame after the cut.
        tail: How far the overlap reaches up into the frame before the cut; 0 for not at all.
        thickness: Thickness of the line.
        tilt: Rise of the line over the width of the picture.
        opacity: Opacity of the line.
        bright: Whether the line is bright.
    """

    key: int
    first: int
    cut: int
    last: int
    dropped: int
    dx: float
    dy: float
    y: float
    tail: float
    thickness: float
    tilt: float
    opacity: float
    bright: bool


class SpliceLayer:
    """Draws the splices of any frame, and tells how they move it."""

    def __init__(self, model: SpliceModel, seed: int, height: int, width: int) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._scale = line_scale(height)
        self._population = Population(
            seed, "splices", births_per_frame=model.rate, longest_life=_SETTLING + 1, draw=self._draw
        )

    def between(self, first: int, last: int) -> tuple[Splice, ...]:
        """Return the splices seen or felt in at least one of the frames first … last - 1."""
        return tuple(self._population.between(first, last))

    def displacement(self, index: int) -> Displacement:
        """Return how far the splices make frame ``index`` jump: a swing that dies out within a few frames."""
        dx = dy = 0.0
        for splice in self.between(index, index + 1):
            if index >= splice.cut:
                share = _REBOUND ** (index - splice.cut)
                dx, dy = dx + share * splice.dx, dy + share * splice.dy
        return Displacement(dx=dx, dy=dy, angle=0.0)

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with the seams of its splices; itself when there are none."""
        seams = [splice for splice in self.between(index, index + 1) if index <= splice.cut]
        if not seams:
            return image
        image = image.copy()
        for splice in seams:
            if index == splice.cut:
                self._seam(splice, image, splice.y, cement=0.25)
            elif splice.tail > 0:
                self._seam(splice, image, self._height - splice.tail, cement=-0.25)
        return image

    def _seam(self, splice: Splice, image: FloatArray, y: float, *, cement: float) -> None:
        """Draw the scraped edge, its shadow and the cement beside it (below when positive), in place."""
        positions = np.arange(self._width, dtype=np.float64)
        uneven = SmoothNoise(self._seed, "splice", splice.key, pitch=max(14 * self._scale, 2), channels=3).at(positions)
        rough = SmoothNoise(self._seed, "splice edge", splice.key, pitch=max(2.5 * self._scale, 1), channels=2)
        fine = rough.at(positions)
        centre = y + splice.tilt * (positions / self._width - 0.5) + (0.35 * uneven[:, 0] + 0.3 * fine[:, 0])
        half = 0.5 * splice.thickness * np.clip(1 + 0.3 * uneven[:, 1] + 0.2 * fine[:, 1], 0.15, 2)
        rows = np.arange(self._height, dtype=np.float32)[:, None]
        distance = np.abs(rows - centre[None, :])
        line = np.clip(half[None, :] - distance + 0.5, 0, 1) * np.clip(0.85 + 0.2 * uneven[:, 2], 0.4, 1)
        shadow = np.exp(-(((distance - half[None, :] - 1.2) / 1.1) ** 2)) * 0.3
        # Cement runs a little beyond the seam and dries in blotches.
        breadth = max(abs(cement) * 0.12 * self._height, 3.0)
        beyond = (rows - centre[None, :]) * np.sign(cement)
        tile = np.clip(cv2.resize(fractal_tile(), (self._width, self._height), interpolation=cv2.INTER_LINEAR), -1, 1.5)
        smear = ((beyond > 0) * np.exp(-((beyond / breadth) ** 2)) * np.clip(0.10 + 0.08 * tile, 0, 1)).astype(
            np.float32
        )
        everything = slice(0, self._height), slice(0, self._width)
        cover(image, *everything, _cut(smear), white=False)
        cover(image, *everything, _cut(shadow * (1 - line)), white=not splice.bright)
        cover(image, *everything, _cut(line * splice.opacity), white=splice.bright)

    def _draw(self, stream: np.random.Generator, first: int) -> Splice:
        model, scale = self._model, self._scale
        jump = stream.uniform(*model.jump) * scale * stream.choice([-1, 1], p=[0.25, 0.75])
        return Splice(
            key=int(stream.integers(1 << 39)),
            first=first,
            cut=first + 1,
            last=first + 1 + _SETTLING,
            dropped=int(stream.integers(model.dropped[0], model.dropped[1] + 1)),
            dx=float(jump * stream.uniform(-1 / 3, 1 / 3)),
            dy=float(jump),
            y=stream.uniform(0.004, 0.05) * self._height,
            tail=stream.uniform(0.004, 0.03) * self._height if stream.random() < 0.6 else 0.0,
            thickness=stream.uniform(*model.thickness) * scale,
            tilt=stream.normal(0, 1.5) * scale,
            opacity=stream.uniform(0.7, 1.0),
            bright=bool(stream.random() < model.bright_share),
        )


def _cut(alpha: FloatArray) -> FloatArray:
    """Return opacities with the invisible tails cut off, so that the rest of the picture stays as it is."""
    return np.where(alpha < INVISIBLE, 0, np.clip(alpha, 0, 1)).astype(np.float32)

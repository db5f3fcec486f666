"""Stains and mould: large damage by water and fungi that spreads along the film over a few or many frames."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ...arrays import FloatArray
from ..randomness import Population, SmoothNoise
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import INVISIBLE, box_around, cover, offsets
from .texture_folder import TextureFolder
from .textures import fractal_noise

StainKind = Literal["water", "mould"]


@dataclass(frozen=True, kw_only=True)
class StainModel:
    """How much staining there is and what it looks like.

    Attributes:
        rate: Mean number of stains that begin in a frame, 0 … 1.
        area: Smallest and largest share of the picture a stain spreads over, 0.001 … 0.6; drawn log-uniformly.
        life: Fewest and most frames it lasts, 1 … 200; drawn log-uniformly.
        opacity: Smallest and largest opacity; stains are low in contrast.
        white_share: Share of stains that lighten.
        mould_share: Share of mould, a net of fine threads and spots; the others are dried water with its tide marks.
    """

    rate: float = 0.01
    area: tuple[float, float] = (0.01, 0.15)
    life: tuple[int, int] = (3, 30)
    opacity: tuple[float, float] = (0.1, 0.4)
    white_share: float = 0.5
    mould_share: float = 0.5

    def __post_init__(self) -> None:
        require_within("stains.rate", self.rate, 0, 1)
        require_span("stains.area", self.area, 0.001, 0.6)
        require_span("stains.life", self.life, 1, 200)
        require_span("stains.opacity", self.opacity, 0, 1)
        require_within("stains.white_share", self.white_share, 0, 1)
        require_within("stains.mould_share", self.mould_share, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Stain:
    """One stain, in pixels of the frame; ``first`` … ``last`` - 1 are the frames in which it is seen."""

    key: int
    kind: StainKind
    first: int
    last: int
    x: float
    y: float
    radius: float
    opacity: float
    white: bool
    offset: tuple[float, float]


class StainLayer:
    """Draws the stains of any frame."""

    def __init__(
        self, model: StainModel, seed: int, height: int, width: int, textures: TextureFolder | None = None
    ) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._scale = line_scale(height)
        self._textures = textures
        self._population = Population(
            seed, "stains", births_per_frame=model.rate, longest_life=model.life[1], draw=self._draw
        )

    def between(self, first: int, last: int) -> tuple[Stain, ...]:
        """Return the stains seen in at least one of the frames first … last - 1."""
        return tuple(self._population.between(first, last))

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with stains on it; itself when there are none."""
        found = self.between(index, index + 1)
        if not found:
            return image
        image = image.copy()
        for stain in found:
            # It swells to its full strength and fades again, and wanders as the film runs past.
            age = (index - stain.first + 0.5) / (stain.last - stain.first)
            strength = stain.opacity * min(1.0, 0.3 + 1.6 * np.sin(np.pi * age))
            path = SmoothNoise(self._seed, "stain path", stain.key, pitch=4, channels=3)
            dx, dy, growth = (float(value) for value in path.at(np.array([float(index)]))[0])
            x, y = stain.x + 0.12 * stain.radius * dx, stain.y + 0.25 * stain.radius * dy
            radius = stain.radius * float(np.clip(0.9 + 0.15 * growth, 0.5, 1.2))
            if self._textures is not None:
                patch = self._textures.stamp(
                    "stain",
                    (stain.offset[0] + index * 13 % 256) % 256,
                    centre=(x, y),
                    size=2.6 * radius,
                    angle=2 * np.pi * stain.offset[1] / 256 + 0.4 * dx,
                    height=self._height,
                    width=self._width,
                )
            else:
                patch = self._render(stain, index, x, y, radius)
            if patch is not None:
                rows, columns, coverage = patch
                cover(image, rows, columns, coverage * np.float32(strength), white=stain.white)
        return image

    def _render(
        self, stain: Stain, index: int, x: float, y: float, radius: float
    ) -> tuple[slice, slice, FloatArray] | None:
        """Coverage of one stain in one frame; None when it lies outside."""
        reach = 1.7 * radius
        box = box_around(x, y, reach, self._height, self._width)
        if box is None:
            return None
        dx, dy = offsets(*box, x, y)
        # The stain lies on the strip of film: each frame shows the next piece of the same pattern.
        along = np.float32(stain.offset[1] + index * 37)
        coarse = _noise(dx, dy, 34 / radius, (stain.offset[0], float(along)))
        distance = 1 - (dx**2 + dy**2) / np.float32(radius) ** 2 + np.float32(0.55) * coarse
        if stain.kind == "water":
            edge = np.exp(-((distance / np.float32(0.09)) ** 2))
            second = np.exp(-(((distance - np.float32(0.45)) / np.float32(0.16)) ** 2))
            coverage = 0.45 * np.clip(distance * 6, 0, 1) * (0.75 + 0.25 * coarse) + 0.75 * edge + 0.3 * second
        else:
            threads = _noise(dx, dy, 0.85 / self._scale, (stain.offset[1], float(along) * 1.7))
            spots = _noise(dx, dy, 2.1 / self._scale, (float(along), stain.offset[0]))
            net = np.exp(-((threads / np.float32(0.16)) ** 2))
            growth = np.clip(distance * np.float32(1.3) + np.float32(0.25) * spots, 0, 1)
            coverage = growth * (0.25 + 0.75 * net) + growth**2 * np.clip(1.3 * spots - 0.9, 0, 1)
        coverage = cv2.GaussianBlur(coverage.astype(np.float32), (0, 0), max(0.8 * self._scale, 0.4))
        coverage[coverage < INVISIBLE] = 0
        return *box, np.clip(coverage, 0, 1)

    def _draw(self, stream: np.random.Generator, first: int) -> Stain:
        model = self._model
        share, life = (
            low * (high / low) ** stream.random() for low, high in (model.area, (model.life[0], model.life[1] + 1))
        )
        # Damp creeps in from the edges of the roll, so most stains lie towards a side.
        side = stream.beta(0.6, 0.6)
        return Stain(
            key=int(stream.integers(1 << 39)),
            kind="mould" if stream.random() < model.mould_share else "water",
            first=first,
            last=first + max(int(life), 1),
            x=float(side) * self._width,
            y=stream.uniform(0, self._height),
            radius=float(np.sqrt(share * self._height * self._width / np.pi)),
            opacity=stream.uniform(*model.opacity),
            white=bool(stream.random() < model.white_share),
            offset=(stream.uniform(0, 256), stream.uniform(0, 256)),
        )


def _noise(dx: FloatArray, dy: FloatArray, zoom: float, offset: tuple[float, float]) -> FloatArray:
    """Fractal noise (h, w), see `fractal_noise`, without its rare extremes: they would look like spots."""
    return np.clip(fractal_noise(dx, dy, zoom, offset), -2, 2)

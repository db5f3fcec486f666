"""Dust and dirt: small specks that lie on the print for one frame, rarely for two or three."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...arrays import FloatArray
from ..randomness import generator
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import draw_blend, require_blends, stamp
from .texture_folder import TextureFolder
from .textures import speck

LONGEST_LIFE = 3  # frames


@dataclass(frozen=True, kw_only=True)
class DirtModel:
    """How much dust and dirt there is and what it looks like.

    Attributes:
        rate: Mean number of particles per frame (Poisson), 0 … 500. A cluster counts once.
        size: Smallest and largest diameter, px at 480 lines.
        median_size: Median of the lognormal diameter, px at 480 lines.
        spread: Standard deviation of the logarithm of the diameter.
        opacity: Smallest and largest opacity of the core of a particle.
        white_share: Share of white particles (dirt on the negative) in [0, 1]; None draws 0.18 … 0.88 once per seed,
            the range seen on real films.
        lasting_share: Share of particles that stay in place for two or three frames.
        cluster_share: Share of particles that are a loose cluster of crumbs.
        blends: Shares of the ways in which particles mix with the picture, see :data:`~.marks.BLENDS`.
    """

    rate: float = 20.0
    size: tuple[float, float] = (2.0, 25.0)
    median_size: float = 4.5
    spread: float = 0.6
    opacity: tuple[float, float] = (0.4, 1.0)
    white_share: float | None = None
    lasting_share: float = 0.05
    cluster_share: float = 0.04
    blends: tuple[float, ...] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        require_within("dirt.rate", self.rate, 0, 500)
        require_span("dirt.size", self.size, 1, 200)
        require_within("dirt.median_size", self.median_size, self.size[0], self.size[1])
        require_within("dirt.spread", self.spread, 0, 2)
        require_span("dirt.opacity", self.opacity, 0, 1)
        if self.white_share is not None:
            require_within("dirt.white_share", self.white_share, 0, 1)
        require_within("dirt.lasting_share", self.lasting_share, 0, 1)
        require_within("dirt.cluster_share", self.cluster_share, 0, 1)
        require_blends("dirt.blends", self.blends)


@dataclass(frozen=True, kw_only=True)
class Particle:
    """One particle of dirt, in pixels of the frame."""

    x: float
    y: float
    size: float
    elongation: float
    angle: float
    raggedness: float
    edge: float
    mottle: float
    opacity: float
    white: bool
    offset: tuple[float, float]
    life: int


class DirtLayer:
    """Draws the dirt of any frame."""

    def __init__(
        self, model: DirtModel, seed: int, height: int, width: int, textures: TextureFolder | None = None
    ) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._scale = line_scale(height)
        self._textures = textures
        share = generator(seed, "dirt polarity").uniform(0.18, 0.88)
        self.white_share = share if model.white_share is None else model.white_share
        self._born = lru_cache(maxsize=LONGEST_LIFE + 1)(self._draw)

    def particles(self, index: int) -> tuple[Particle, ...]:
        """Return the particles seen in frame ``index``."""
        return tuple(
            particle for age in range(LONGEST_LIFE) for particle in self._born(index - age) if particle.life > age
        )

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with dirt on it."""
        image = image.copy()
        for particle in self.particles(index):
            patch = self._patch(particle)
            if patch is not None:
                rows, columns, coverage = patch
                stamp(
                    image, rows, columns, coverage, particle.opacity, white=particle.white,
                    blend=draw_blend(self._model.blends, particle.offset[1]),
                )  # fmt: skip
        return image

    def _patch(self, particle: Particle) -> tuple[slice, slice, FloatArray] | None:
        """Rows, columns and coverage of one particle; None outside the frame."""
        if self._textures is not None:
            # A shape of a folder does not fill its box as an ellipse does.
            return self._textures.stamp(
                "dirt",
                particle.offset[0],
                centre=(particle.x, particle.y),
                size=1.6 * particle.size,
                angle=particle.angle,
                height=self._height,
                width=self._width,
            )
        return speck(
            centre=(particle.x, particle.y),
            size=particle.size,
            elongation=particle.elongation,
            angle=particle.angle,
            raggedness=particle.raggedness,
            edge=particle.edge,
            mottle=particle.mottle,
            blur=max(0.75 * self._scale, 0.4),
            offset=particle.offset,
            height=self._height,
            width=self._width,
        )

    def _draw(self, index: int) -> tuple[Particle, ...]:
        model = self._model
        stream = generator(self._seed, "dirt", index)
        particles: list[Particle] = []
        for _ in range(stream.poisson(model.rate)):
            x, y = stream.uniform(0, self._width), stream.uniform(0, self._height)
            life = int(stream.integers(2, LONGEST_LIFE + 1)) if stream.random() < model.lasting_share else 1
            white = bool(stream.random() < self.white_share)
            if stream.random() < model.cluster_share:
                radius = stream.uniform(6, 30) * self._scale
                for _ in range(stream.integers(4, 16)):
                    dx, dy = stream.normal(0, radius / 2, 2)
                    size = min(model.size[0] * stream.uniform(1, 2.2), model.size[1])
                    particles.append(self._particle(stream, x + dx, y + dy, size, white=white, life=life))
            else:
                size = np.clip(
                    model.median_size * np.exp(model.spread * stream.standard_normal()), model.size[0], model.size[1]
                )
                particles.append(self._particle(stream, x, y, float(size), white=white, life=life))
        return tuple(particles)

    def _particle(
        self, stream: np.random.Generator, x: float, y: float, size: float, *, white: bool, life: int
    ) -> Particle:
        sliver = stream.random() < 0.12
        if sliver:
            # Splinters and short abrasions; the running film leaves most of them lengthwise.
            size = min(size, max(7.0, self._model.size[0]))
            angle = stream.normal(np.pi / 2, 0.25) if stream.random() < 0.6 else stream.uniform(0, np.pi)
        else:
            angle = stream.uniform(0, np.pi)
        kind = stream.random()
        if kind < 0.5:
            raggedness = stream.uniform(0.15, 0.4)
        elif kind < 0.85 or size < 6:
            raggedness = stream.uniform(0.4, 0.65)
        else:
            raggedness = stream.uniform(0.65, 1.0)
        return Particle(
            x=x,
            y=y,
            size=max(size * self._scale, 1.2),
            elongation=stream.uniform(3, 7) if sliver else 1 + stream.exponential(0.4),
            angle=float(angle),
            raggedness=raggedness,
            edge=stream.uniform(1.0, 2.6) * max(self._scale, 0.6),
            mottle=stream.uniform(0, 0.3),
            opacity=stream.uniform(*self._model.opacity),
            white=white,
            offset=(stream.uniform(0, 256), stream.uniform(0, 256)),
            life=life,
        )

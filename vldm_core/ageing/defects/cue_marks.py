"""Cue marks: dots in the upper right corner that tell the projectionist to change the reel."""

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray
from ..randomness import Population
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import INVISIBLE, box_around, cover, offsets

_APART = 168  # frames between the motor cue and the changeover cue: 7 seconds
_LONGEST_MARK = 4  # frames


@dataclass(frozen=True, kw_only=True)
class CueModel:
    """How often cue marks are seen and what they look like.

    Attributes:
        rate: Mean number of pairs of marks per frame, 0 … 0.2.
        size: Smallest and largest diameter, px at 480 lines.
        scratched_share: Share of marks scratched into the emulsion by hand, a bright uneven ring; the others were
            punched: a disc, bright in a print and dark when copied from a punched negative.
    """

    rate: float = 1 / 2000
    size: tuple[float, float] = (12.0, 22.0)
    scratched_share: float = 0.4

    def __post_init__(self) -> None:
        require_within("cues.rate", self.rate, 0, 0.2)
        require_span("cues.size", self.size, 3, 100)
        require_within("cues.scratched_share", self.scratched_share, 0, 1)


@dataclass(frozen=True, kw_only=True)
class CuePair:
    """A motor cue in frames first … first + length - 1 and a changeover cue 168 frames later."""

    first: int
    last: int
    length: int
    x: float
    y: float
    size: float
    scratched: bool
    bright: bool
    phase: float

    def shown(self, index: int) -> bool:
        """Return whether a mark is in frame ``index``."""
        return any(start <= index < start + self.length for start in (self.first, self.first + _APART))


class CueLayer:
    """Draws the cue marks of any frame."""

    def __init__(self, model: CueModel, seed: int, height: int, width: int) -> None:
        self._model, self._height, self._width = model, height, width
        self._scale = line_scale(height)
        self._population = Population(
            seed, "cues", births_per_frame=model.rate, longest_life=_APART + _LONGEST_MARK, draw=self._draw
        )

    def between(self, first: int, last: int) -> tuple[CuePair, ...]:
        """Return the pairs whose time overlaps the frames first … last - 1."""
        return tuple(self._population.between(first, last))

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with its cue marks; itself when there are none."""
        shown = [pair for pair in self.between(index, index + 1) if pair.shown(index)]
        if not shown:
            return image
        image = image.copy()
        for pair in shown:
            self._mark(pair, index, image)
        return image

    def _mark(self, pair: CuePair, index: int, image: FloatArray) -> None:
        box = box_around(pair.x, pair.y, pair.size, self._height, self._width)
        if box is None:
            return
        dx, dy = offsets(*box, pair.x, pair.y)
        radius = np.hypot(dx, dy)
        edge = 0.5 * pair.size
        if pair.scratched:
            # Scratched by hand in each frame: the ring wobbles and its groove is uneven.
            turn = np.arctan2(dy, dx)
            phase = pair.phase + 1.9 * index
            wobble = edge * (1 + 0.06 * np.sin(2 * turn + phase) + 0.05 * np.sin(3 * turn + 2 * phase))
            groove = max(0.06 * pair.size, 0.8) * (1 + 0.35 * np.sin(turn + phase))
            alpha = np.exp(-(((radius - wobble) / groove) ** 2)) * 0.9
            alpha[alpha < INVISIBLE] = 0
        else:
            alpha = np.clip(edge - radius + 0.5, 0, 1) * 0.95
        cover(image, *box, alpha.astype(np.float32), white=pair.bright)

    def _draw(self, stream: np.random.Generator, first: int) -> CuePair:
        length = int(stream.integers(3, _LONGEST_MARK + 1))
        scratched = bool(stream.random() < self._model.scratched_share)
        return CuePair(
            first=first,
            last=first + _APART + length,
            length=length,
            x=stream.uniform(0.91, 0.95) * self._width,
            y=stream.uniform(0.07, 0.12) * self._height,
            size=stream.uniform(*self._model.size) * self._scale,
            scratched=scratched,
            bright=scratched or bool(stream.random() < 0.5),
            phase=stream.uniform(0, 2 * np.pi),
        )

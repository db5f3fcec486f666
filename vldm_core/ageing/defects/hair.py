"""Hair and lint: thin curved strokes, lying on the print for a frame or caught in the gate."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...arrays import FloatArray
from ..randomness import Autoregressive, Population, generator
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import draw_blend, require_blends, stamp
from .texture_folder import TextureFolder

LONGEST_LIFE = 200  # frames
_SHORTEST_GATE_LIFE = 2
_SUPERSAMPLING = 4


@dataclass(frozen=True, kw_only=True)
class HairModel:
    """How much hair and lint there is and what it looks like.

    Attributes:
        transient_rate: Mean number of hairs per frame that lie on the print for that frame only, 0 … 20. Of the hairs
            seen in a frame about 60 % lie on the print and 40 % hang in the gate.
        gate_count: Mean number of hairs that hang into the picture from the gate, 0 … 10.
        length: Smallest and largest length, px at 480 lines; drawn log-uniformly.
        width: Smallest and largest width, px at 480 lines.
        opacity: Smallest and largest opacity.
        white_share: Share of white hairs on the print; gate hairs are always dark.
        sway: Standard deviation of the swing of a gate hair about its root, degrees.
        blends: Shares of the ways in which hairs mix with the picture, see :data:`~.marks.BLENDS`.
    """

    transient_rate: float = 0.3
    gate_count: float = 0.2
    length: tuple[float, float] = (20.0, 200.0)
    width: tuple[float, float] = (1.0, 2.4)
    opacity: tuple[float, float] = (0.5, 1.0)
    white_share: float = 0.4
    sway: float = 1.0
    blends: tuple[float, ...] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        require_within("hair.transient_rate", self.transient_rate, 0, 20)
        require_within("hair.gate_count", self.gate_count, 0, 10)
        require_span("hair.length", self.length, 4, 2000)
        require_span("hair.width", self.width, 0.5, 20)
        require_span("hair.opacity", self.opacity, 0, 1)
        require_within("hair.white_share", self.white_share, 0, 1)
        require_within("hair.sway", self.sway, 0, 20)
        require_blends("hair.blends", self.blends)


@dataclass(frozen=True, kw_only=True)
class Hair:
    """One hair, in pixels of the frame; ``first`` … ``last`` - 1 are the frames in which it is seen."""

    key: int
    first: int
    last: int
    x: float
    y: float
    angle: float
    length: float
    width: float
    curl: float
    opacity: float
    white: bool
    in_gate: bool


class HairLayer:
    """Draws the hairs of any frame."""

    def __init__(
        self, model: HairModel, seed: int, height: int, width: int, textures: TextureFolder | None = None
    ) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._scale = line_scale(height)
        self._textures = textures
        mean_life = (LONGEST_LIFE - _SHORTEST_GATE_LIFE) / np.log(LONGEST_LIFE / _SHORTEST_GATE_LIFE)
        self._transient = Population(
            seed, "hair", births_per_frame=model.transient_rate, longest_life=1, draw=self._draw_transient
        )
        self._gate = Population(
            seed,
            "gate hair",
            births_per_frame=model.gate_count / mean_life,
            longest_life=LONGEST_LIFE,
            draw=self._draw_gate,
        )

    def between(self, first: int, last: int) -> tuple[Hair, ...]:
        """Return the hairs seen in at least one of the frames first … last - 1."""
        return (*self._transient.between(first, last), *self._gate.between(first, last))

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with hairs on it."""
        image = image.copy()
        for hair in self.between(index, index + 1):
            if hair.in_gate:
                swing = Autoregressive(self._seed, "hair sway", hair.key, rho=0.7).at(index)[0]
                hair = replace(hair, angle=hair.angle + float(np.radians(self._model.sway) * swing))
            if self._textures is None:
                patch = _stroke(hair, self._path(hair), self._height, self._width)
            else:
                patch = self._textures.stamp(
                    "hair",
                    hair.key % 1024 / 4,
                    centre=(hair.x, hair.y),
                    size=0.7 * hair.length,
                    angle=hair.angle,
                    height=self._height,
                    width=self._width,
                )
            if patch is not None:
                rows, columns, coverage = patch
                blend = draw_blend(self._model.blends, hair.key / 97 % 256)
                stamp(image, rows, columns, coverage, hair.opacity, white=hair.white, blend=blend)
        return image

    def _path(self, hair: Hair) -> FloatArray:
        """Points (N, 2) along a hair, about 2 px apart: a direction that turns by a smooth random curvature."""
        points = max(int(hair.length / 2), 6)
        stream = generator(self._seed, "hair shape", hair.key)
        position = np.linspace(0, 1, points)
        turn = stream.normal(0, 1.1) * position  # an overall arc
        for waves in (1, 2, 4, 9):
            turn = turn + stream.normal(0, 0.55 / waves**0.6) * np.sin(
                2 * np.pi * (waves * position + stream.uniform(0, 1))
            )
        if stream.random() < 0.3:  # a kink
            turn = turn + stream.normal(0, 1.2) * (position > stream.uniform(0.2, 0.8))
        heading = hair.angle + hair.curl * (turn - turn[0])
        step = hair.length / (points - 1)
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1) * step, axis=0)
        return (path - path[0] + (hair.x, hair.y)).astype(np.float32)

    def _draw(self, stream: np.random.Generator) -> dict[str, float]:
        model = self._model
        low, high = model.length
        return {
            "length": float(low * (high / low) ** stream.random()) * self._scale,
            "width": stream.uniform(*model.width) * self._scale,
            "curl": float(np.clip(stream.lognormal(-0.1, 0.5), 0.2, 3)),
            "opacity": stream.uniform(*model.opacity),
        }

    def _draw_transient(self, stream: np.random.Generator, first: int) -> Hair:
        return Hair(
            key=int(stream.integers(1 << 39)),
            first=first,
            last=first + 1,
            x=stream.uniform(0, self._width),
            y=stream.uniform(0, self._height),
            angle=stream.uniform(0, 2 * np.pi),
            white=bool(stream.random() < self._model.white_share),
            in_gate=False,
            **self._draw(stream),
        )

    def _draw_gate(self, stream: np.random.Generator, first: int) -> Hair:
        # Gravity and the running film collect hairs at the top and the bottom of the gate more than at its sides.
        side = stream.choice(4, p=[0.35, 0.35, 0.15, 0.15])
        along = stream.uniform(0.05, 0.95)
        x, y, inward = (
            (along * self._width, 0.0, 0.5),
            (along * self._width, self._height - 1.0, -0.5),
            (0.0, along * self._height, 0.0),
            (self._width - 1.0, along * self._height, 1.0),
        )[side]
        life = _SHORTEST_GATE_LIFE * (LONGEST_LIFE / _SHORTEST_GATE_LIFE) ** stream.random()
        return Hair(
            key=int(stream.integers(1 << 39)),
            first=first,
            last=first + int(life),
            x=x,
            y=y,
            angle=inward * np.pi + stream.normal(0, 0.6),
            white=False,
            in_gate=True,
            **self._draw(stream),
        )


def _stroke(hair: Hair, path: FloatArray, height: int, width: int) -> tuple[slice, slice, FloatArray] | None:
    """Render a tapered stroke along a path; rows, columns and coverage, or None outside the frame."""
    margin = hair.width + 2
    left, top = np.maximum(np.floor(path.min(axis=0) - margin).astype(int), 0)
    right, bottom = np.minimum(np.ceil(path.max(axis=0) + margin).astype(int), (width, height))
    if left >= right or top >= bottom:
        return None
    canvas = np.zeros(((bottom - top) * _SUPERSAMPLING, (right - left) * _SUPERSAMPLING), dtype=np.uint8)
    corners = np.round(((path - (left, top) + 0.5) * _SUPERSAMPLING - 0.5) * 16).astype(np.int32)
    position = np.linspace(0, 1, len(path))
    taper = np.clip(np.minimum((position + 0.15) * 4, (1.05 - position) * 4), 0.35, 1)
    for start, end, share in zip(corners[:-1], corners[1:], taper[:-1], strict=True):
        thickness = max(round(hair.width * float(share) * _SUPERSAMPLING), 1)
        cv2.line(canvas, tuple(map(int, start)), tuple(map(int, end)), 255, thickness, cv2.LINE_8, shift=4)
    coverage = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(coverage.astype(np.float32) / np.float32(255), (3, 3), 0.5)
    return slice(int(top), int(bottom)), slice(int(left), int(right)), np.minimum(soft, 1)

"""Scratches of the second ageing model: of one frame, at rest along the film, and drifting."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .layers import Layer, Mix, log_even
from .marks import Frame
from .settings import Kind, LineDraws, ScratchDraws
from .textures import Plane, Textures, cut, placed, turned

_FINE = 4
"""Parts of a pixel in which lines are drawn before they are reduced."""


_SKIRT = 6.5
"""Standard deviations of its profile that a line reaches to each side, its ridges included."""


def _smooth(stream: np.random.Generator, length: int, knots: int) -> Plane:
    """Draw a smooth curve of standard deviation about 1, (length,)."""
    coarse = stream.standard_normal((1, max(2, knots))).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (length, 1), interpolation=cv2.INTER_CUBIC)[0], dtype=np.float32)


def _gaps(stream: np.random.Generator, height: int, share: float) -> Plane:
    """Draw where a line is there, (height,) in [0, 1], with soft ends."""
    if share < 0.02:
        return np.ones(height, np.float32)
    curve = _smooth(stream, height, max(6, height // 16)) + 0.5 * _smooth(stream, height, max(3, height // 70))
    return np.clip((curve - np.quantile(curve, share)) * 4 + 0.5, 0, 1).astype(np.float32)


def one_frame(
    stream: np.random.Generator, draws: ScratchDraws, frame: Frame, textures: Textures
) -> Iterator[tuple[int, Layer]]:
    """Yield scratches that last one frame as pairs of frame number and layer."""
    rate, torn = (stream.uniform(*bounds) for bounds in (draws.lines, draws.torn))
    for index in range(frame.count):
        for _ in range(stream.poisson(rate)):
            yield index, _drawn(stream, draws, frame)
        for _ in range(stream.poisson(torn * frame.share)):
            size = stream.uniform(*draws.torn_size) * frame.scale
            mask = np.clip(turned(textures.draw(stream, ("scratches",)), size, stream.uniform(0, 360)) * 2, 0, 1)
            spot = placed(mask, frame.height, frame.width, *(stream.uniform(0, 1, 2) * (frame.width, frame.height)))
            mix, amount = _how(stream, log_even(stream, draws.levels))
            yield index, Layer(kind="one-frame scratch", spot=spot, mix=mix, amount=amount)


def _how(stream: np.random.Generator, levels: float) -> tuple[Mix, float]:
    """How a scratch of a depth in mid-grey meets the picture: half add or take away, half work in density."""
    bright = bool(stream.random() < 0.5)
    if stream.random() < 0.5:
        return "add", levels if bright else -levels
    return "clearing" if bright else "density", -float(np.log10(max(0.03, 1 - levels / 128)))


def _drawn(stream: np.random.Generator, draws: ScratchDraws, frame: Frame) -> Layer:
    """Draw a line along a path that leans, bows and trembles."""
    length = stream.uniform(*draws.length) * frame.height
    steep = draws.upright if stream.random() < 0.5 else draws.slant
    lean = np.radians(stream.uniform(-steep, steep))
    along = np.linspace(-0.5, 0.5, 65)
    bow = stream.uniform(-1, 1) * draws.bend * frame.scale if stream.random() < 0.5 else 0.0
    aside = bow * (4 * along**2 - 0.5) + 0.8 * frame.scale * _smooth(stream, 65, 9)
    centre = stream.uniform(0, 1, 2) * (frame.width, frame.height)
    x = centre[0] + along * length * np.sin(lean) + aside * np.cos(lean)
    y = centre[1] + along * length * np.cos(lean) - aside * np.sin(lean)
    width = max(1.0, log_even(stream, draws.width) * frame.scale)
    # Drawn in a box of its own, whose corner lies on a whole pixel.
    reach = int(np.ceil(width)) + 2
    left, top = int(np.floor(x.min())) - reach, int(np.floor(y.min())) - reach
    columns, rows = int(np.ceil(x.max())) + reach - left, int(np.ceil(y.max())) + reach - top
    fine = np.zeros((rows * _FINE, columns * _FINE), np.uint8)
    path = np.round(np.stack([x - left, y - top], axis=1) * _FINE).astype(np.int32)
    cv2.polylines(fine, [path], False, 255, thickness=max(1, round(width * _FINE)))
    cover = cv2.resize(fine, (columns, rows), interpolation=cv2.INTER_AREA) / np.float32(255)
    spot = cut(cover.astype(np.float32), frame.height, frame.width, top, left)
    strength = _gaps(stream, frame.height, stream.uniform(0, 0.25)) * _uneven(stream, frame.height)
    mix, amount = _how(stream, log_even(stream, draws.levels))
    spot = replace(spot, cover=spot.cover * strength[spot.rows, None])
    return Layer(kind="one-frame scratch", spot=spot, mix=mix, amount=amount)


def _uneven(stream: np.random.Generator, height: int) -> Plane:
    """Draw the depth along a line, (height,), around 1."""
    return np.clip(1 + 0.25 * _smooth(stream, height, 7) + 0.1 * _smooth(stream, height, height // 8), 0.3, 1.6)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Course:
    """A line along the film: its place and strength in every frame."""

    x: np.ndarray
    first: int
    last: int


def along_film(stream: np.random.Generator, draws: LineDraws, frame: Frame) -> Iterator[tuple[int, Layer]]:
    """Yield lines that stay in the gate or drift as pairs of frame number and layer.

    The film runs through the gate: where a line has gaps and how deep it is goes on from one frame to the next, as one
    long strip that is cut into frames.
    """
    counts = (int(stream.integers(low, high + 1)) for low, high in (draws.persistent, draws.drifting))
    for drifting, count in zip((False, True), counts, strict=True):
        for _ in range(count):
            yield from _line(stream, draws, frame, drifting)


def _course(stream: np.random.Generator, draws: LineDraws, frame: Frame, drifting: bool) -> _Course:
    time = np.arange(frame.count, dtype=np.float64)
    start = stream.uniform(0.04, 0.96) * frame.width
    if not drifting:
        # Bounded: a line at rest is held by the grain of dust that cuts it.
        x = start + draws.wander * frame.scale * np.clip(stream.normal(0, 0.45, frame.count), -1, 1)
    elif stream.random() < 0.5:
        speed = log_even(stream, draws.drift) * frame.scale * stream.choice([-1, 1])
        x = start + speed * (time - frame.count / 2)
    else:
        swing = stream.uniform(*draws.sway) * frame.scale
        x = start + swing * np.sin(2 * np.pi * time / stream.uniform(*draws.period) + stream.uniform(0, 2 * np.pi))
    first, last = 0, frame.count
    if stream.random() < draws.born_late:
        part = int(stream.integers(frame.count // 4, max(frame.count // 4 + 1, 3 * frame.count // 4)))
        first, last = (part, frame.count) if stream.random() < 0.5 else (0, part)
    return _Course(x=x, first=first, last=last)


def _line(stream: np.random.Generator, draws: LineDraws, frame: Frame, drifting: bool) -> Iterator[tuple[int, Layer]]:
    course = _course(stream, draws, frame, drifting)
    strip = frame.height * frame.count
    strength = _gaps(stream, strip, stream.uniform(*draws.gap_share))
    strength *= np.clip(1 + 0.3 * _smooth(stream, strip, 4 * frame.count), 0.25, 1.8)
    tilt = np.tan(np.radians(stream.uniform(-draws.tilt, draws.tilt)))
    sigma = max(0.45, stream.uniform(*draws.width) * frame.scale)
    edged = stream.random() < 0.3
    mix, amount = _how(stream, log_even(stream, draws.depth))
    kind: Kind = "drifting" if drifting else "persistent"
    rows = np.arange(frame.height, dtype=np.float32)[:, None]
    for index in range(course.first, course.last):
        path = np.float32(course.x[index]) + np.float32(tilt) * (rows - frame.height / 2)
        left, right = (
            int(np.floor(edge + side * _SKIRT * sigma)) for edge, side in ((path.min(), -1), (path.max(), 1))
        )
        off = (np.arange(left, right + 1, dtype=np.float32)[None] - path) / np.float32(sigma)
        cover = np.exp(-0.5 * np.square(off))
        if edged:
            # The ridges of emulsion that a cutting grain throws up on both sides.
            cover = cover - 0.45 * (np.exp(-0.5 * np.square(off - 2.4)) + np.exp(-0.5 * np.square(off + 2.4)))
        # The film runs upwards through the gate: the strip of a later frame lies below.
        part = strength[index * frame.height : (index + 1) * frame.height]
        spot = cut((cover * part[:, None]).astype(np.float32), frame.height, frame.width, 0, left)
        yield index, Layer(kind=kind, spot=spot, mix=mix, amount=amount)

"""Dirt, hair, blotches and standing marks of the second ageing model."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from .layers import Layer, Mix, log_even
from .settings import BlotchDraws, DirtDraws, StandingDraws
from .textures import Plane, Textures, placed, turned

_SPECKS = ("dots", "lint", "smut", "hair-short", "dots", "smut")
"""Classes of single marks; a name twice is drawn twice as often."""

_SPRAYS = ("dirt", "spots", "sprinkles")
_HAIRS = ("hair", "hair", "lint")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a mark has to know of the film it falls on.

    Attributes:
        count: Frames.
        height: Lines.
        width: Columns.
    """

    count: int
    height: int
    width: int

    @property
    def scale(self) -> float:
        """Pixels of this frame to a pixel of a frame of 480 lines."""
        return self.height / 480

    @property
    def share(self) -> float:
        """Area of this frame as a share of that of 854×480, its pixels being as many times larger."""
        return self.height * self.width / (854 * 480) / self.scale**2


def _lasting(stream: np.random.Generator, share: float) -> int:
    return int(stream.integers(2, 4)) if stream.random() < share else 1


def _place(stream: np.random.Generator, frame: Frame) -> tuple[float, float]:
    return float(stream.uniform(0, frame.width)), float(stream.uniform(0, frame.height))


def _solid(stream: np.random.Generator, bright: bool) -> tuple[Mix, float]:
    """How a speck of dirt meets the picture: most hide it, some are seen through."""
    draw = stream.random()
    if draw < 0.45:
        return "opaque", float(stream.uniform(228, 252) if bright else stream.uniform(4, 34))
    if draw < 0.8:
        return "clearing" if bright else "density", log_even(stream, (0.15, 1.4))
    return "add", log_even(stream, (20, 120)) * (1 if bright else -1)


def dirt(
    stream: np.random.Generator, draws: DirtDraws, frame: Frame, textures: Textures
) -> Iterator[tuple[int, Layer]]:
    """Yield dirt and hair as pairs of frame number and layer."""
    rates = [log_even(stream, bounds) * frame.share for bounds in (draws.specks, draws.sprays, draws.hairs)]
    bright_share = stream.uniform(*draws.bright_share)
    groups = ((_SPECKS, draws.speck_size, rates[0]), (_SPRAYS, draws.spray_size, rates[1]))
    for first in range(frame.count):
        for classes, sizes, rate in (*groups, (_HAIRS, draws.hair_size, rates[2])):
            for _ in range(stream.poisson(rate)):
                mask = textures.draw(stream, classes)
                size = log_even(stream, sizes) * frame.scale
                mask = turned(mask, max(2.0, size), stream.uniform(0, 360), mirror=stream.random() < 0.5)
                mix, amount = _solid(stream, bool(stream.random() < bright_share))
                x, y = _place(stream, frame)
                # Thin threads would vanish in the scaling.
                cover = np.clip(mask * np.float32(stream.uniform(1.0, 1.8)), 0, 1)
                for index in range(first, min(frame.count, first + _lasting(stream, draws.two_frames))):
                    jitter = stream.normal(0, 0.3, 2) if index > first else (0.0, 0.0)
                    whole = placed(cover, frame.height, frame.width, x + jitter[0], y + jitter[1])
                    yield index, Layer(kind="dirt", spot=whole, mix=mix, amount=amount)


def noise_patch(stream: np.random.Generator, size: float) -> Plane:
    """Draw a patch with a ragged border: noise of five sizes, raised in the middle and cut at a level."""
    side = max(8, round(1.6 * size))
    ridge = np.zeros((side, side), np.float32)
    for octave in range(1, 6):
        cells = 1 + 2**octave
        coarse = stream.standard_normal((cells, cells)).astype(np.float32)
        ridge += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(0.62**octave)
    across = np.linspace(-1, 1, side, dtype=np.float32)
    stretch = np.float32(stream.uniform(0.6, 1.6))
    far = np.sqrt(np.square(across[None] * stretch) + np.square(across[:, None] / stretch))
    ridge += np.float32(0.75) - np.float32(1.9) * far
    soft = np.float32(stream.uniform(0.08, 0.6))
    # No patch may be cut off by the border of its own square.
    rim = np.clip((1 - np.maximum(np.abs(across[None]), np.abs(across[:, None]))) * 6, 0, 1)
    return np.clip(ridge / soft, 0, 1) * rim


def blotches(
    stream: np.random.Generator, draws: BlotchDraws, frame: Frame, textures: Textures
) -> Iterator[tuple[int, Layer]]:
    """Yield blotches as pairs of frame number and layer."""
    rate = stream.uniform(*draws.count) * frame.share
    for first in range(frame.count):
        for _ in range(stream.poisson(rate)):
            size = log_even(stream, draws.size) * frame.scale
            if stream.random() < 0.3:
                mask = turned(textures.draw(stream, ("stain", "smut")), max(6.0, size), stream.uniform(0, 360))
            else:
                mask = noise_patch(stream, size)
            bright = bool(stream.random() < 0.5)
            mix: Mix
            if stream.random() < draws.opaque:
                mix, amount = "opaque", float(stream.uniform(215, 250) if bright else stream.uniform(5, 45))
            elif stream.random() < 0.5:
                mix, amount = ("clearing" if bright else "density"), log_even(stream, draws.density)
            else:
                mix, amount = "add", log_even(stream, draws.levels) * (1 if bright else -1)
            x, y = _place(stream, frame)
            whole = placed(mask, frame.height, frame.width, x, y)
            for index in range(first, min(frame.count, first + _lasting(stream, draws.two_frames))):
                yield index, Layer(kind="blotch", spot=whole, mix=mix, amount=amount)


def standing(
    stream: np.random.Generator, draws: StandingDraws, frame: Frame, textures: Textures
) -> Iterator[tuple[int, Layer]]:
    """Yield hairs in the gate and marks on the lens as pairs of frame number and layer."""
    for _ in range(stream.integers(draws.hairs[0], draws.hairs[1] + 1)):
        size = stream.uniform(*draws.hair_size) * frame.scale
        mask = turned(textures.draw(stream, ("hair", "lint")), size, stream.uniform(0, 360))
        y = frame.height - size / 3 if stream.random() < 0.5 else size / 3
        x = stream.uniform(0.1, 0.9) * frame.width
        turn = stream.uniform(0, 2 * np.pi)
        for index in range(frame.count):
            sway = draws.sway * frame.scale * np.sin(0.4 * index + turn)
            spot = placed(np.clip(mask * np.float32(1.8), 0, 1), frame.height, frame.width, x + sway, y)
            yield index, Layer(kind="standing", spot=spot, mix="opaque", amount=12.0)
    for _ in range(stream.integers(draws.spots[0], draws.spots[1] + 1)):
        size = log_even(stream, draws.spot_size) * frame.scale
        mask = turned(textures.draw(stream, ("dots", "smut")), max(3.0, size), stream.uniform(0, 360))
        soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.2), np.float32)
        spot = placed(soft, frame.height, frame.width, *_place(stream, frame))
        amount = -log_even(stream, draws.levels)
        for index in range(frame.count):
            yield index, Layer(kind="standing", spot=spot, mix="add", amount=amount)

"""A reel of any length made from nothing: shots of many lengths, with all that the stages look for.

Each shot is a scene that goes by, with grain, flicker, dirt, scratches that drift, and gate weave. About a third of the
reel is one shot, so that what grows with a shot is seen as well as what grows with their number.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vldm_core.video.shots import Shot

from .grainy_film import write_made

_LENGTHS = (37, 110, 64, 181, 90)
"""Frames of the shots before and after the long one, in turn; a last shot that would be shorter than the first of them
joins the one before it."""
_LONG = 3
"""A third of the reel is the long shot."""
# Size of structures as a share of the width, and how many grey levels they differ by.
_STRUCTURE = ((0.6, 26.0), (0.2, 16.0), (0.08, 9.0), (0.04, 5.0))


@dataclass(frozen=True, kw_only=True)
class Wear:
    """How the reel is worn.

    Attributes:
        grain: Grey levels, deviation.
        flicker: Share by which brightness goes up and down at most.
        specks: Dirt in a frame, in the mean.
        weave: Pixels by which the picture moves from frame to frame, deviation.
        scratches: Grey levels that each scratch of a shot adds.
        drift: Pixels by which a scratch goes to and fro.
    """

    grain: float = 3.5
    flicker: float = 0.05
    specks: float = 1.2
    weave: float = 0.4
    scratches: tuple[float, ...] = (45.0, -80.0)
    drift: float = 1.5


_WEAR = Wear()


def shots_of(count: int) -> tuple[Shot, ...]:
    """Return the shots of a reel of so many frames, the long one in the middle."""
    lengths: list[int] = []
    rest = count - count // _LONG
    turn = cycle(_LENGTHS)
    while rest > 0:
        length = min(rest, next(turn))
        rest -= length
        if lengths and length < _LENGTHS[0]:
            lengths[-1] += length
        else:
            lengths.append(length)
    if count // _LONG:
        lengths.insert(len(lengths) // 2, count // _LONG)
    ends = np.cumsum(lengths)
    return tuple(Shot(int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True))


def old_frames(
    width: int, height: int, count: int, *, seed: int = 0, wear: Wear = _WEAR
) -> Iterator[NDArray[np.uint8]]:
    """Make the frames, (H, W, 3) uint8 RGB, one after the other.

    Args:
        width: Pixels.
        height: Pixels.
        count: Frames.
        seed: Another one makes another reel.
        wear: How it is worn.
    """
    for number, shot in enumerate(shots_of(count)):
        stream = np.random.default_rng((seed, number))
        scene = _scene(stream, width, height)
        pan = float(stream.choice([-1, 1]) * stream.uniform(0.4, 1.6))
        places = stream.uniform(0.15, 0.85, len(wear.scratches)) * width
        phase = stream.uniform(0, 2 * math.pi)
        for frame in range(len(shot)):
            shift = np.array([[1, 0, -((pan * frame) % width)], [0, 1, 0]], np.float32)
            shift[:, 2] += stream.normal(0, wear.weave, 2)
            picture: NDArray[Any] = np.asarray(
                cv2.warpAffine(scene, shift, (width, height), borderMode=cv2.BORDER_WRAP), np.float32
            )
            picture *= np.float32(1 + wear.flicker * math.sin(1.7 * frame + phase))
            for place, depth in zip(places, wear.scratches, strict=True):
                left = int(place + wear.drift * math.sin(frame / 9 + phase))
                picture[:, left : left + 1] += np.float32(depth)
            for _ in range(stream.poisson(wear.specks)):
                centre = int(stream.integers(width)), int(stream.integers(height))
                cv2.circle(picture, centre, int(stream.integers(1, 4)), float(stream.choice([12.0, 243.0])), -1)
            picture += stream.standard_normal(picture.shape, np.float32) * np.float32(wear.grain)
            grey = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
            yield np.repeat(grey[:, :, None], 3, axis=2)


def _scene(stream: np.random.Generator, width: int, height: int) -> NDArray[np.float32]:
    """A picture that goes round from left to right, twice as wide as a frame."""
    scene = np.full((height, 2 * width), stream.uniform(70, 160), np.float32)
    for share, depth in _STRUCTURE:
        size = max(2, round(share * width))
        coarse = stream.standard_normal((height // size + 2, 2 * width // size + 2)).astype(np.float32)
        coarse[:, -1] = coarse[:, 0]
        scene += cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC) * np.float32(depth)
    return scene


def write_old_reel(path: Path, width: int, height: int, count: int, *, pix_fmt: str = "yuv420p") -> None:
    """Write such a reel.

    Args:
        path: File to write, .mkv: FFV1.
        width: Pixels.
        height: Pixels.
        count: Frames.
        pix_fmt: FFmpeg's name of the pixel format.
    """
    write_made(path, old_frames(width, height, count), width, height, count, pix_fmt=pix_fmt)

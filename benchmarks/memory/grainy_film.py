"""A film of any size and length made from nothing: a moving scene with grain, flicker, dirt and scratches."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.writing.encoding import WriteSettings
from vldm_core.video.writing.writer import open_writer

_RATE = Fraction(24)
_PAN = 3
"""Pixels by which the scene moves to the left per frame."""
# Size of structures in pixels, and how many grey levels they differ by.
_STRUCTURE = ((128, 30.0), (48, 18.0), (16, 9.0), (6, 5.0))
_GRAIN = 4.0
_FLICKER = 0.04
_PIXELS_PER_SPECK = 16000
# Where scratches stand, as a share of the width, and what they add to the picture, grey levels.
_SCRATCHES = ((0.3, 40.0), (0.71, -120.0))


def grainy_frames(width: int, height: int, count: int, *, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Make the frames, (H, W, 3) uint8 RGB, one after the other.

    Args:
        width: Pixels.
        height: Pixels.
        count: Frames.
        seed: Another one makes another film.
    """
    stream = np.random.default_rng(seed)
    # The scene goes round, so that it does not grow with the film.
    scene = np.full((height, 2 * width), 110.0, np.float32)
    for size, depth in _STRUCTURE:
        coarse = stream.standard_normal((height // size + 2, 2 * width // size + 2)).astype(np.float32)
        scene += cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC) * np.float32(depth)
    for number in range(count):
        frame = np.roll(scene, -_PAN * number, axis=1)[:, :width] * np.float32(1 + _FLICKER * np.sin(1.7 * number))
        for place, depth in _SCRATCHES:
            left = int(width * place + 2 * np.sin(number / 5))
            frame[:, left : left + 2] += np.float32(depth)
        for _ in range(width * height // _PIXELS_PER_SPECK):
            centre = int(stream.integers(width)), int(stream.integers(height))
            cv2.circle(frame, centre, int(stream.integers(1, 5)), float(stream.choice([15.0, 240.0])), -1)
        frame += stream.standard_normal(frame.shape, np.float32) * np.float32(_GRAIN)
        grey = np.clip(np.rint(frame), 0, 255).astype(np.uint8)
        yield cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def write_grainy_film(path: Path, width: int, height: int, count: int, *, pix_fmt: str = "yuv420p") -> None:
    """Write such a film.

    Args:
        path: File to write, .mkv: FFV1.
        width: Pixels.
        height: Pixels.
        count: Frames.
        pix_fmt: FFmpeg's name of the pixel format.
    """
    write_made(path, grainy_frames(width, height, count), width, height, count, pix_fmt=pix_fmt)


def write_made(
    path: Path, frames: Iterable[NDArray[np.uint8]], width: int, height: int, count: int, *, pix_fmt: str
) -> None:
    """Write frames (height, width, 3) that are made one after the other; see `write_grainy_film`."""
    info = FilmInfo.of_frames(width, height, _RATE, frame_count=count)
    with open_writer(path, info, settings=WriteSettings(pix_fmt=pix_fmt)) as writer:
        for index, image in enumerate(frames):
            writer.write(FilmFrame(index=index, image=image))

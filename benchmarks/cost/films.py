"""Films for the cost benchmark: an aged clip of the detection benchmark at any size, or a film made from nothing."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from torch import Tensor

from vldm_core.video.info import FilmFrame, FilmInfo, image_from_tensor
from vldm_core.video.writing.encoding import WriteSettings
from vldm_core.video.writing.writer import open_writer

from ..detection.settings import DetectionBenchmarkSettings
from ..detection.sources.aged import aged_frames
from ..detection.sources.shots import clean_clip, find_sources
from ..detection.sources.strata import Stratum
from ..memory.grainy_film import write_grainy_film

_RATE = Fraction(24)
_STRATUM: Stratum = "persistent"
"""Dirt, hair, blotches and lines: everything that is looked for is there."""


WARM_UP_FRAMES = 4
"""Length of the shorter film, on which a process warms up."""


def write_films(paths: tuple[Path, Path], width: int, height: int, frames: int, data: Path | None) -> None:
    """Write a damaged film of a size and length, and its first frames once more.

    Args:
        paths: Files to write, .mkv: the film, and its first `WARM_UP_FRAMES` frames.
        width: Pixels.
        height: Pixels.
        frames: Length.
        data: Folder of the detection benchmark's material: its first clip is aged; None makes a film
            from nothing.

    Raises:
        FilmFileError: The folder holds no material.
    """
    lengths = (frames, WARM_UP_FRAMES)
    if data is None:
        for path, length in zip(paths, lengths, strict=True):
            write_grainy_film(path, width, height, length)
        return
    settings = DetectionBenchmarkSettings(all_sources=True, sources=1, width=width, height=height, line_frames=frames)
    clean = clean_clip(find_sources(data, settings)[0], settings, frames=frames)
    aged = aged_frames(clean, _STRATUM, settings)
    for path, length in zip(paths, lengths, strict=True):
        _write(path, aged[:length])


def _write(path: Path, frames: Tensor) -> None:
    info = FilmInfo.of_frames(frames.shape[-1], frames.shape[-2], _RATE, frame_count=len(frames))
    # RGB, so that the film is to the last bit what the detection benchmark's methods get.
    with open_writer(path, info, settings=WriteSettings(codec="ffv1", pix_fmt="bgr0")) as writer:
        for index, frame in enumerate(frames):
            writer.write(FilmFrame(index=index, image=image_from_tensor(frame, np.uint8)))

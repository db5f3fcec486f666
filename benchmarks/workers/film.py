"""A film of several shots, long enough for the start of workers to weigh little, made of the films beside the data."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from vldm_core.errors import FilmFileError
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.encoding import WriteSettings
from vldm_core.video.writing.writer import open_writer

_RATE = Fraction(16)


def _turned(shot: list[np.ndarray], turn: int) -> list[np.ndarray]:
    """A shot as another one: back to front, mirrored, both, and so on brighter and darker."""
    frames = shot[::-1] if turn % 2 else shot
    if turn // 2 % 2:
        frames = [frame[:, ::-1] for frame in frames]
    gain = 1 - 0.08 * (turn // 4)
    return frames if gain == 1 else [(frame * gain).astype(np.uint8) for frame in frames]


def _frames(films: list[Path], width: int, height: int) -> Iterator[np.ndarray]:
    shots = []
    for path in films:
        with open_film(path) as film:
            shots.append([cv2.resize(each.image, (width, height), interpolation=cv2.INTER_AREA) for each in film])
    for turn in range(12):
        for shot in shots:
            yield from _turned(shot, turn)


def write_long_film(path: Path, data: Path, *, width: int, height: int, frames: int) -> int:
    """Write a damaged film of several shots without loss.

    Args:
        path: File to write, .mkv.
        data: Folder with film/: every film in it becomes a shot, again and again in another way.
        width: Pixels.
        height: Pixels.
        frames: Length at most.

    Returns:
        Its length.

    Raises:
        FilmFileError: The folder holds no film.
    """
    films = sorted((data / "film").glob("*.mkv"))
    if not films:
        raise FilmFileError(f"{data / 'film'} holds no .mkv; give the folder that holds film/")
    written = 0
    info = FilmInfo.of_frames(width, height, _RATE)
    with open_writer(path, info, settings=WriteSettings(codec="ffv1", pix_fmt="bgr0")) as writer:
        for written, image in enumerate(islice(_frames(films, width, height), frames), start=1):
            writer.write(FilmFrame(index=written - 1, image=np.ascontiguousarray(image)))
    return written

"""Motion strips: five frames that follow each other side by side, a row for what came and one for each method."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vldm_core.errors import FilmFileError

from .clips import Film
from .running import Pictures

FRAMES = 5
"""Frames of a strip."""

_WIDTH = 480
"""Columns of a frame in a strip; larger frames are reduced."""

_LABEL = 18
"""Rows of the line of text above a row of frames."""


def write_strip(folder: Path, name: str, came: Film, made: Mapping[str, Pictures]) -> Path:
    """Write the strip of a film as a picture.

    Args:
        folder: Where to; made if need be.
        name: Name of the film, and of the file.
        came: (T, H, W) uint8, the film.
        made: Name of a method → what it made of it.

    Raises:
        FilmFileError: The picture cannot be written.
    """
    first = max(0, (len(came) - FRAMES) // 2)
    rows = {"before": came.astype(np.float32), **made}
    strip = np.vstack([_row(label, pictures[first : first + FRAMES]) for label, pictures in rows.items()])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_plain(name)}.png"
    if not cv2.imwrite(str(path), strip):
        raise FilmFileError(f"{path} cannot be written")
    return path


def _row(label: str, pictures: Pictures) -> NDArray[np.uint8]:
    frames = [np.clip(np.rint(picture), 0, 255).astype(np.uint8) for picture in pictures]
    if frames[0].shape[1] > _WIDTH:
        height = round(frames[0].shape[0] * _WIDTH / frames[0].shape[1])
        frames = [
            np.asarray(cv2.resize(frame, (_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8) for frame in frames
        ]
    row = np.hstack(frames)
    text = np.full((_LABEL, row.shape[1]), 255, np.uint8)
    cv2.putText(text, label, (4, _LABEL - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0,), 1, cv2.LINE_AA)
    return np.vstack([text, row])


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)

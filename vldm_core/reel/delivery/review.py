"""A small film to look at: each frame before and after side by side, with its number below, and the film's sound."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from torch import Tensor

from ...errors import FilmFileError
from ...video.info import FilmFrame, FilmInfo, image_from_tensor
from ...video.scene_linear import as_srgb
from ...video.writing.encoding import WriteSettings
from ...video.writing.writer import open_writer
from ..passes import Source

_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
_WIDEST = 640
"""Columns of one of both pictures at most: the film is for a screen, and is sent by mail."""
_LINE = 4
"""Columns of the line between both."""
_STRIP = 28
"""Rows of the strip below for the frame's number."""
_LEAST = 96
"""Columns of one of both at least, on which a number is to be read."""
_CRF = 23
_WHITE, _BLACK = 235, 16
_FONT, _FONT_SCALE, _BASELINE = cv2.FONT_HERSHEY_SIMPLEX, 0.5, 19


class ReviewWriter:
    """Writes a review copy; a context manager: the film appears when it ends without an error.

    Args:
        path: An .mp4, .mov or .mkv file.
        info: The film.
        source: What it is read from; its sound is copied.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        FilmFileError: It cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike[str], info: FilmInfo, *, source: Source | None, overwrite: bool = False
    ) -> None:
        path = Path(path)
        if path.suffix.lower() not in _SUFFIXES:
            raise FilmFileError(f"a review copy ends in {', '.join(_SUFFIXES)}; {path.name} does not")
        self._film = info
        self._turns = info.rotation // 90 % 4
        self._size = _shown_size(info, self._turns)
        width, height = self._size
        shown = replace(
            info,
            width=2 * width + _LINE,
            height=height + _STRIP,
            pix_fmt="yuv420p",
            bit_depth=8,
            colour_range=1,
            colour_matrix=1,
            colour_primaries=1,
            colour_transfer=1,
            rotation=0,
            display_matrix=None,
            sample_aspect_ratio=None,
            scene_linear=False,
        )
        settings = WriteSettings(codec="h264", quality=_CRF, overwrite=overwrite, quick=True)
        self._writer = open_writer(path, shown, settings=settings, source=source)

    def write(self, before: FilmFrame, after: FilmFrame | Tensor) -> None:
        """Append a frame.

        Args:
            before: As the film has it; its number and timestamps are kept.
            after: As it was restored, a frame or (3, H, W) in [0, 1].
        """
        width, height = self._size
        made = np.full((height + _STRIP, 2 * width + _LINE, 3), _BLACK, np.uint8)
        made[:height, :width] = self._small(before.image)
        restored = after.image if isinstance(after, FilmFrame) else image_from_tensor(after, before.image.dtype)
        made[:height, width + _LINE :] = self._small(restored)
        made[:, width : width + _LINE] = _WHITE
        # From the left: the number, and whose place is whose where there is room for it.
        words = f"{before.index}" if width < 2 * _LEAST else f"frame {before.index}  before"
        cv2.putText(made, words, (4, height + _BASELINE), _FONT, _FONT_SCALE, (_WHITE,) * 3, 1, cv2.LINE_AA)
        if width >= 2 * _LEAST:
            place = (width + _LINE + 4, height + _BASELINE)
            cv2.putText(made, "after", place, _FONT, _FONT_SCALE, (_WHITE,) * 3, 1, cv2.LINE_AA)
        self._writer.write(FilmFrame(index=before.index, pts=before.pts, duration=before.duration, image=made))

    def _small(self, image: np.ndarray) -> np.ndarray:
        if self._film.scene_linear:
            image = as_srgb(image)
        if image.dtype == np.uint16:
            image = (image >> 8).astype(np.uint8)
        if self._turns:
            image = np.ascontiguousarray(np.rot90(image, self._turns))
        if image.shape[:2] == self._size[::-1]:
            return image
        return cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)

    def close(self) -> None:
        """Complete the film and give it its name."""
        self._writer.close()

    def abort(self) -> None:
        """Remove what was written so far."""
        self._writer.abort()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the copy could not take over."""
        return tuple(self._writer.warnings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)


@contextmanager
def reviewing(
    path: Path | None, info: FilmInfo, *, source: Source | None, overwrite: bool
) -> Iterator[Callable[[FilmFrame, FilmFrame | Tensor], None]]:
    """Give what writes the frames of a review copy, and does nothing where none is wanted; see `ReviewWriter`."""
    if path is None:
        yield lambda *_: None
        return
    with ReviewWriter(path, info, source=source, overwrite=overwrite) as copy:
        yield copy.write


def _shown_size(info: FilmInfo, turns: int) -> tuple[int, int]:
    """Width and height of one of both pictures: square pixels, upright, even."""
    width, height = info.width * (info.sample_aspect_ratio or Fraction(1)), Fraction(info.height)
    if turns % 2:
        width, height = height, width
    scale = max(min(Fraction(1), Fraction(_WIDEST) / width), Fraction(_LEAST) / width)
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))

"""2:3 telecine: four film frames spread over five video frames, two of which mix the fields of two film frames.

The fields are put together again as FFmpeg's fieldmatch does it, which takes YUV only and neither RGB nor gray; here
whole lines change their frame, whatever the pixel format. Frames, times and sound stay as they are: what becomes of the
fifth frame, which then repeats the one before, is for the user to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..info import FieldOrder

# Film frames of one cycle of video frames.
_CYCLE = 5
# A cadence is seen when the repeated fields of each kind come at least so often …
_LEAST_CYCLES = 2
# … and this share of all repeated fields lies where the cadence has them.
_LEAST_REGULAR = 0.8
# Difference of a sample, of 255, from which a place counts as moved between two frames.
_MOVED = 4
# Samples that must have moved before the fields are judged.
_LEAST_MOVED = 16


def has_cadence(repeated: Sequence[str]) -> bool:
    """Whether the repeated fields of successive frames ("top", "bottom" or "neither") come as in 2:3 telecine.

    In every five frames one top field is repeated, and two or three frames later one bottom field.
    """
    tops = [number for number, kind in enumerate(repeated) if kind == "top"]
    bottoms = [number for number, kind in enumerate(repeated) if kind == "bottom"]
    for phase in range(_CYCLE):
        for step in (2, 3):
            regular_tops = sum(number % _CYCLE == phase for number in tops)
            regular_bottoms = sum(number % _CYCLE == (phase + step) % _CYCLE for number in bottoms)
            if min(regular_tops, regular_bottoms) >= _LEAST_CYCLES:
                return regular_tops + regular_bottoms >= _LEAST_REGULAR * (len(tops) + len(bottoms))
    return False


class FieldMatcher:
    """Puts the fields of telecined frames together to whole film frames."""

    def __init__(self) -> None:
        # One for all: a frame that converts itself keeps its scaler for as long as it is held.
        self._scaler = VideoReformatter()

    def whole(self, frame: av.VideoFrame, before: av.VideoFrame | None, order: FieldOrder) -> av.VideoFrame:
        """Return the film frame that a frame's first field belongs to.

        Args:
            frame: The frame.
            before: The frame before, as it was decoded, or None at the start.
            order: Which field is first.
        """
        if before is None or (before.width, before.height, before.format.name) != (
            frame.width,
            frame.height,
            frame.format.name,
        ):
            return frame
        # The first field stays; the second is the own one or that of the frame before.
        second = 1 if order is FieldOrder.TOP_FIRST else 0
        now, then = self._grey(frame), self._grey(before)
        moved = np.abs(now - then)[second::2] > _MOVED
        moved[[0, -1]] = False
        if int(moved.sum()) < _LEAST_MOVED or _combing(now, now, second, moved) <= _combing(now, then, second, moved):
            return frame
        return _woven(frame, before, second)

    def _grey(self, picture: av.VideoFrame) -> np.ndarray:
        return self._scaler.reformat(picture, format="gray", threads=1).to_ndarray().astype(np.int16)


def _combing(first: np.ndarray, second: np.ndarray, parity: int, where: np.ndarray) -> float:
    """How far the lines of one parity, from ``second``, stand out between those of ``first``, where it counts."""
    lines = second[parity::2][1:-1]
    rows = np.arange(parity, first.shape[0], 2)[1:-1]
    between = (first[rows - 1] + first[np.minimum(rows + 1, first.shape[0] - 1)]) / 2
    return float(np.abs(lines - between)[where[1:-1]].mean())


def _woven(frame: av.VideoFrame, other: av.VideoFrame, parity: int) -> av.VideoFrame:
    """Return a frame with the lines of one parity taken from another of the same format."""
    picture = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for target, own, taken in zip(picture.planes, frame.planes, other.planes, strict=True):
        rows, taken_rows = _rows(own), _rows(taken)
        made = _rows(target)
        width = min(rows.shape[1], taken_rows.shape[1], made.shape[1])
        made[:, :width] = rows[:, :width]
        made[parity::2, :width] = taken_rows[parity::2, :width]
    picture.colorspace, picture.color_range = frame.colorspace, frame.color_range
    return picture


def _rows(plane: av.video.plane.VideoPlane) -> np.ndarray:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height]

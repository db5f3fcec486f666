"""A frame as the search for splices sees it: rows as they are, columns averaged to a few dozen segments.

A seam crosses the whole picture and is nearly level. The mean over a segment takes off grain, dirt and what the scene
has of texture, and leaves a line a pixel or two thick as deep as it is.
"""

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import FloatArray
from ..active_picture import ActivePicture


@dataclass(frozen=True, kw_only=True)
class LookMeasure:
    """The size at which seams are looked for, and which of their shapes. Lengths are in rows of a picture of 480.

    Attributes:
        rows: Rows to which higher pictures are reduced.
        segments: Columns: a seam is straight over the width of one.
        depth: Share of the rows, from the upper and the lower edge of the picture, in which seams lie: within 5 % of
            the edge, and as much farther as the picture jumps.
        overlap: Share of the rows, from that edge, within which the overlap of the cemented film ends.
        thickness: Rows of the lines that are looked for.
        flank: Rows on each side that a line must stand out of.
        tilts: Rows by which a line rises over the width of the picture at most, and the step between the tilts tried.
        step: Rows by which the picture may jump at most from one frame to another.
        like: Share of the usual misfit of two frames that lie anyhow, up to which a jump is known.
        same: Grey levels, mean difference up to which two frames are one that was repeated.
    """

    rows: int = 480
    segments: int = 48
    depth: float = 0.11
    overlap: float = 0.35
    thickness: tuple[int, ...] = (1, 2, 3, 5)
    flank: int = 3
    tilts: tuple[int, int] = (10, 2)
    step: int = 24
    like: float = 0.7
    same: float = 0.25


MEASURE = LookMeasure()


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """The best line through each of some rows, counted at the middle of the picture.

    Attributes:
        strength: (n,) grey levels by which it stands out of both its flanks over most of its length.
        tilt: (n,) rows by which it falls from left to right.
    """

    strength: FloatArray
    tilt: NDArray[np.int64]


class FrameLook:
    """One frame, as the search for splices sees it.

    Args:
        luma: (H, W) float32, grey levels 0 … 255.
        picture: Where the picture is in it.
    """

    def __init__(self, luma: FloatArray, picture: ActivePicture) -> None:
        top, bottom, left, right = picture.box
        self.box = top, bottom, left, right
        height = bottom - top
        rows = min(height, MEASURE.rows)
        part = luma[top:bottom, left:right]
        self.small = np.asarray(cv2.resize(part, (MEASURE.segments, rows), interpolation=cv2.INTER_AREA), np.float32)
        self.bars = top > 0, bottom < luma.shape[0]
        """Whether there is a bar above the picture, and one below it."""
        self.pitch = height / rows
        """Rows of the frame in a row of it."""
        self.scale = rows / MEASURE.rows
        """Its rows in a row of a picture of 480."""
        self.depth = max(1, round(MEASURE.depth * rows))
        """Rows from an edge in which seams are looked for."""
        self._responses: dict[tuple[bool, int], FloatArray] = {}

    def band(self, *, top: bool) -> FloatArray:
        """(n, segments) of the rows from the upper or the lower edge inwards: as far as a seam may be moved."""
        rows = self.depth + round(MEASURE.step * self.scale)
        return self.small[:rows] if top else self.small[::-1][:rows]

    def response(self, *, top: bool, sign: int) -> FloatArray:
        """Grey levels by which every place of a band, (n, segments), stands out of what is above it and below.

        Args:
            top: The upper edge, or the lower one; rows count from there.
            sign: 1 for bright lines, -1 for dark ones.
        """
        key = (top, sign)
        if key not in self._responses:
            self._responses[key] = _standing_out(self.band(top=top) * np.float32(sign), self.scale)
        return self._responses[key]

    def lines(self, rows: range, coverage: float, *, top: bool, sign: int, least: float = 0.0) -> Lines:
        """Look for lines through some rows of a band.

        Args:
            rows: Which; those outside have none.
            coverage: Share of the width over which a line has to be seen.
            top: As for `response`.
            sign: Likewise.
            least: Strength below which lines need not be told.

        Returns:
            Lines through the rows; strength 0 where there are none of that strength.
        """
        response = self.response(top=top, sign=sign)
        return _lines(response, rows, round((1 - coverage) * MEASURE.segments), self.scale, least)

    @cached_property
    def deeper(self) -> "FrameLook":
        """The same frame, with bands as deep as the overlap of a splice."""
        result = copy(self)
        result.depth, result._responses = max(self.depth, round(MEASURE.overlap * len(self.small))), {}
        return result

    @cached_property
    def contrast(self) -> float:
        """Deviation of the picture, grey levels."""
        return float(self.small.std())

    @cached_property
    def _slopes(self) -> FloatArray:
        return np.diff(self.small, axis=0)

    def jump_from(self, other: "FrameLook") -> int | None:
        """Rows by which the picture lies lower than in another frame; None where that cannot be told."""
        most = min(round(MEASURE.step * self.scale), len(self.small) // 4)
        here, there = self._slopes, other._slopes
        if here.shape != there.shape or most < 1:
            return None
        middle = slice(most, len(here) - most)
        misfits = [
            float(np.abs(here[middle] - there[most - jump : len(there) - most - jump]).mean())
            for jump in range(-most, most + 1)
        ]
        best = int(np.argmin(misfits))
        return best - most if misfits[best] <= MEASURE.like * float(np.median(misfits)) else None

    def repeats(self, other: "FrameLook") -> bool:
        """Whether this is another frame once more."""
        return self.small.shape == other.small.shape and float(np.abs(self.small - other.small).mean()) <= MEASURE.same


def _lines(response: FloatArray, rows: range, skipped: int, scale: float, least: float) -> Lines:
    """Find the best line through some rows of a response (n, segments), which may be hidden in some segments."""
    count, segments = response.shape
    strength, tilt = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.int64)
    most, step = (max(1, round(value * scale)) for value in MEASURE.tilts)
    # A seam is uneven by a row.
    near = np.asarray(cv2.dilate(response, np.ones((3, 1), np.uint8)), np.float32)
    # Along no line through a row more can be seen than there is within its reach.
    reach = most // 2 + 1
    upper = np.partition(cv2.dilate(near, np.ones((2 * reach + 1, 1), np.uint8)), skipped, axis=1)[:, skipped]
    chosen = np.array([place for place, row in enumerate(rows) if 0 <= row < count and upper[row] > least], np.int64)
    if not len(chosen):
        return Lines(strength=strength, tilt=tilt)
    middle = chosen + rows.start + reach
    padded, columns = np.pad(near, ((reach, reach), (0, 0))), np.arange(segments)
    across = (columns + 0.5) / segments - 0.5
    tilts = np.arange(-most, most + 1, step)
    seen = np.empty((len(tilts), len(chosen)), np.float32)
    for number, one in enumerate(tilts):
        places = middle[:, None] + np.rint(one * across).astype(np.int64)[None, :]
        seen[number] = np.partition(padded[places, columns[None, :]], skipped, axis=1)[:, skipped]
    best = seen.argmax(axis=0)
    strength[chosen], tilt[chosen] = seen[best, np.arange(len(chosen))], tilts[best]
    return Lines(strength=strength, tilt=tilt)


def _standing_out(band: FloatArray, scale: float) -> FloatArray:
    """Grey levels by which every place (n, segments) is brighter than both what is above it and what is below."""
    flank = max(2, round(MEASURE.flank * scale))
    thicknesses = sorted({max(1, round(rows * scale)) for rows in MEASURE.thickness})
    edge = 3 * flank + 1 + thicknesses[-1]
    padded = np.pad(band, ((edge, edge), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0, dtype=np.float32)
    count = len(band)

    def mean(first: int, rows: int) -> FloatArray:
        start = edge + first
        return (sums[start + rows : start + rows + count] - sums[start : start + count]) / np.float32(rows)

    result = np.full(band.shape, -np.inf, np.float32)
    for rows in thicknesses:
        first = -(rows // 2)
        # A row between, for the line is soft.
        outside, inside = mean(first - 1 - flank, flank), mean(first + rows + 1, flank)
        beside = np.maximum(outside, inside)
        # Of a line that is pushed half out of the picture only the inner side is seen, and it must be no line itself.
        half_out = slice(0, 1 - first)
        beside[half_out] = np.maximum(inside, mean(first + rows + 1 + 2 * flank, flank))[half_out]
        result = np.maximum(result, mean(first, rows) - beside)
    return result

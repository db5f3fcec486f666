"""Thin light or dark strokes of a frame, their pieces, and the lines of lettering that pieces form.

A piece is a connected part of the strokes of one tone. Letters and digits are pieces of about one height and one tone
that stand beside each other on one base line; specks, windows and twigs hardly ever do, and what is told of single
pieces counts only where several of them form a line.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane


@dataclass(frozen=True, kw_only=True)
class StrokeTests:
    """What counts as a stroke and as a piece that may be a letter; lengths in pixels of about 480 rows.

    Attributes:
        widest: Pixels across the widest stroke. Odd.
        contrast: Grey levels that a stroke stands out from what is beside it on both sides: burned-in text does so by
            far more, grain and soft detail by less.
        heights: Least and largest height of a letter.
        widest_piece: Width of a piece in heights: letters that touch each other make one piece.
        most: Pieces of one tone in a frame, the tallest, that are looked at: more are texture.
    """

    widest: int = 9
    contrast: float = 36.0
    heights: tuple[int, int] = (5, 64)
    widest_piece: float = 8.0
    most: int = 300


@dataclass(frozen=True, kw_only=True)
class LineTests:
    """When two pieces stand on one line; shares are of the taller one's height.

    Attributes:
        base: Share by which their lower edges are apart at most.
        ratio: Ratio of the taller to the lower: l beside i and o.
        gap: Share of the gap between them at most: a space between two words is a third of that.
        tone: Grey levels by which they differ at most: the ground shows through soft edges.
        letter: Width of a letter in heights; wider pieces are several that touch.
    """

    base: float = 0.3
    ratio: float = 2.2
    gap: float = 1.3
    tone: float = 45.0
    letter: float = 0.9


_STROKE = StrokeTests()
_LINE = LineTests()


@dataclass(frozen=True)
class Pieces:
    """The pieces of one tone of a frame, numbered from 1.

    Attributes:
        strokes: (H, W) uint8, 1 on all strokes of the tone, those of pieces that cannot be a letter included.
        boxes: (N, 4) left, top, right, bottom, the last two beyond the piece.
        tone: (N,) mean grey level.
        pixels: Flat places of the pixels of pieces.
        owners: Number of the piece of each of these, from 0.
    """

    strokes: NDArray[np.uint8]
    boxes: NDArray[np.int32]
    tone: Plane
    pixels: NDArray[np.intp]
    owners: NDArray[np.int32]

    @property
    def are_texture(self) -> bool:
        """Whether there are more than anybody has lettered."""
        return len(self.tone) >= _STROKE.most

    def letters(self) -> NDArray[np.int_]:
        """How many letters each piece may be, (N,)."""
        width, height = self.boxes[:, 2] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 1]
        return np.maximum(1, np.rint(width / (_LINE.letter * height))).astype(np.int_)

    def mean(self, plane: NDArray) -> Plane:
        """The mean of a plane (H, W) over each piece, (N,)."""
        count = len(self.tone)
        sums = np.bincount(self.owners, weights=plane.ravel()[self.pixels], minlength=count)
        return sums / np.maximum(np.bincount(self.owners, minlength=count), 1)


def pieces_of(luma: NDArray[np.uint8], *, bright: bool) -> Pieces:
    """Find the strokes of one tone and their pieces in a frame (H, W)."""
    element = cv2.getStructuringElement(cv2.MORPH_RECT, (_STROKE.widest, _STROKE.widest))
    kind = cv2.MORPH_TOPHAT if bright else cv2.MORPH_BLACKHAT
    strokes = (cv2.morphologyEx(luma, kind, element) > _STROKE.contrast).view(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    height, width = statistics[:, cv2.CC_STAT_HEIGHT], statistics[:, cv2.CC_STAT_WIDTH]
    fits = (height >= _STROKE.heights[0]) & (height <= _STROKE.heights[1]) & (width <= _STROKE.widest_piece * height)
    fits[0] = False
    kept = np.flatnonzero(fits)
    if len(kept) > _STROKE.most:
        kept = np.sort(kept[np.argsort(-height[kept], kind="stable")[: _STROKE.most]])
    numbers = np.zeros(count, np.int32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    pixels = np.flatnonzero(strokes)
    owners = numbers[labels.ravel()[pixels]] - 1
    pixels, owners = pixels[owners >= 0], owners[owners >= 0]
    left, top = statistics[kept, cv2.CC_STAT_LEFT], statistics[kept, cv2.CC_STAT_TOP]
    boxes = np.stack([left, top, left + width[kept], top + height[kept]], axis=1).astype(np.int32)
    pieces = Pieces(strokes, boxes, np.zeros(len(kept), np.float32), pixels, owners)
    return Pieces(strokes, boxes, pieces.mean(luma), pixels, owners)


def beside(boxes: NDArray[np.int32], tone: Plane, others: NDArray[np.int32], other_tone: Plane) -> BoolArray:
    """Tell which pieces stand next to which others on one line, (N, M).

    Args:
        boxes: (N, 4), as `Pieces` has them.
        tone: (N,) grey levels.
        others: (M, 4).
        other_tone: (M,).
    """
    one, two = boxes[:, None, :].astype(np.float32), others[None, :, :].astype(np.float32)
    heights = one[..., 3] - one[..., 1], two[..., 3] - two[..., 1]
    taller, lower = np.maximum(*heights), np.minimum(*heights)
    gap = np.maximum(one[..., 0], two[..., 0]) - np.minimum(one[..., 2], two[..., 2])
    result = np.abs(one[..., 3] - two[..., 3]) <= _LINE.base * taller
    result &= taller <= _LINE.ratio * lower
    result &= gap <= _LINE.gap * taller
    result &= np.abs(tone[:, None] - other_tone[None, :]) <= _LINE.tone
    return result


def lines_of(boxes: NDArray[np.int32], tone: Plane) -> list[NDArray[np.intp]]:
    """Join pieces (N) that stand beside each other to lines: the numbers of the pieces of each."""
    count = len(boxes)
    next_to = beside(boxes, tone, boxes, tone)
    line = np.arange(count)
    while True:
        # Every piece takes the least number that any piece beside it has.
        least = np.where(next_to, line[None, :], count).min(axis=1, initial=count)
        least = np.minimum(least, line)
        if np.array_equal(least, line):
            break
        line = least
    return [np.flatnonzero(line == number) for number in np.unique(line)]

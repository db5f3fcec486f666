"""Which of the things that stay in place are marks: by their shape, where they lie, and what lies beside them.

Text that was burned in stays in place too, as do the emblems of broadcasters, and the cap of a person whom the camera
follows. A hair reaches in from the edge of the picture and is thin; dirt on the lens is a small spot by itself. What is
neither is left alone.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray

Numbers = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class MarkShapes:
    """What a mark that stays looks like, at the working size.

    Attributes:
        fewest: Pixels of a mark at least: fewer are grain.
        largest_spot: Pixels of the longer side of a spot: larger ones away from the edge may be an emblem or a thing.
        edge: Pixels from the edge of the frame within which a hair must begin. Text keeps farther off.
        band: Share of the shorter side of the frame in which, at the edge, nothing may be known of a hair's root: a pan
            brings new scene in there.
        widest_hair: Pixels of area for each pixel of length, that a hair has at most.
        upright: Ratio of height to width from which on a mark is a line, and the scratches' affair.
        longest_line: Share of the height of the frame that a line has at least.
        line_gap: Share of the height of the frame up to which pieces of a line one below the other are one line.
        row_overlap: Share of the height of two spots in which they lie side by side in a row of letters.
        letter_gap: Ratio of the gap between two letters to the larger one's height, up to which they are one row.
        letters: Number of spots in a row that are taken for text, and of pieces in a column that are taken for a line.
        letter_rim: Pixels on each side by which letters are joined with their outline, their box and one another.
        two_tone: Share of the pixels of one tone that there are of the other at least, in a letter and its outline.
        most: Share of the frame that marks cover at most; more is a scene whose motion was not understood.
        rim: Pixels on each side by which marks are widened: their soft edge.
    """

    fewest: int = 6
    largest_spot: int = 24
    edge: int = 3
    band: float = 0.12
    widest_hair: float = 14.0
    upright: float = 8.0
    longest_line: float = 0.2
    line_gap: float = 0.25
    row_overlap: float = 0.5
    letter_gap: float = 2.5
    letters: int = 3
    letter_rim: int = 6
    two_tone: float = 0.1
    most: float = 0.03
    rim: int = 2


_SHAPES = MarkShapes()


def graphics_among(dark: BoolArray, bright: BoolArray) -> BoolArray:
    """Tell where letters and emblems lie: what is darker and brighter than the scene side by side, which no mark is.

    Args:
        dark: (h, w), what stays in place and is plainly darker than the scene.
        bright: (h, w), what is plainly brighter.
    """
    both = (dark | bright).astype(np.uint8)
    near = cv2.dilate(both, np.ones((2 * _SHAPES.letter_rim + 1,) * 2, np.uint8))
    count, labels = cv2.connectedComponents(near, connectivity=8)
    tones = [np.bincount(labels[tone], minlength=count) for tone in (dark, bright)]
    two_tone = np.minimum(*tones) >= _SHAPES.two_tone * np.maximum(*tones)
    two_tone[0] = False
    return np.asarray(two_tone[labels])


def marks_among(standing: BoolArray, deep: BoolArray, deeper: BoolArray, told: BoolArray) -> BoolArray:
    """Choose the marks among what stays in place.

    Args:
        standing: (h, w), what stays, of one polarity.
        deep: (h, w), where it differs from the scene by enough on the average; a mark has such a place.
        deeper: (h, w), where it differs by what a spot away from the edge has to: there it may be anything.
        told: (h, w), where anything is known.

    Returns:
        (h, w), the marks, widened by their rim.
    """
    none = np.zeros_like(standing)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(standing.astype(np.uint8), connectivity=8)
    if count == 1 or float(standing.mean()) > _SHAPES.most:
        return none
    strong = np.zeros(count, bool)
    strong[np.unique(labels[deep & standing])] = True
    strong[0] = False
    strong &= stats[:, cv2.CC_STAT_AREA] >= _SHAPES.fewest
    left, top, wide, high, area = (stats[:, column].astype(int) for column in range(5))
    at_edge = np.zeros(count, bool)
    at_edge[np.unique(labels[_edge(told)])] = True
    length = np.maximum(wide, high)
    hair = at_edge & (area <= _SHAPES.widest_hair * length)
    lettered = _in_a_row(left, top, wide, high, strong, _SHAPES.letter_gap * np.maximum(wide, high))
    deepest = np.zeros(count, bool)
    deepest[np.unique(labels[deeper & standing])] = True
    spot = (length <= _SHAPES.largest_spot) & deepest & ~lettered
    # A scratch with gaps: pieces one below the other.
    line = _in_a_row(top, left, high, wide, strong, np.full(count, _SHAPES.line_gap * len(standing)))
    line |= (high >= _SHAPES.upright * wide) & (high >= _SHAPES.longest_line * len(standing))
    kept = strong & (hair | spot) & ~line
    square = np.ones((2 * _SHAPES.rim + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(kept[labels].astype(np.uint8), square) > 0)


def _edge(told: BoolArray) -> BoolArray:
    """Where a hair that reaches in from the edge of the picture begins to be known, (h, w)."""

    def frame_of(thickness: int) -> BoolArray:
        inner = np.ones_like(told)
        inner[thickness:-thickness, thickness:-thickness] = False
        return inner

    untold = frame_of(max(_SHAPES.edge, round(_SHAPES.band * min(told.shape)))) & ~told
    square = np.ones((2 * _SHAPES.edge + 1,) * 2, np.uint8)
    return np.asarray((cv2.dilate(untold.astype(np.uint8), square) > 0) | frame_of(_SHAPES.edge))


def _in_a_row(
    left: Numbers, top: Numbers, wide: Numbers, high: Numbers, strong: BoolArray, reach: NDArray[np.floating]
) -> BoolArray:
    """Tell which components stand in a row, side by side, with gaps up to the reach of the larger one, (count,)."""
    result = np.zeros(len(left), bool)
    numbers = np.flatnonzero(strong)
    rows: list[list[int]] = []
    for number in numbers[np.argsort(left[numbers])]:
        for row in rows:
            last = row[-1]
            shared = min(top[last] + high[last], top[number] + high[number]) - max(top[last], top[number])
            beside = shared >= _SHAPES.row_overlap * min(high[last], high[number])
            if beside and left[number] - left[last] - wide[last] <= max(reach[last], reach[number]):
                row.append(int(number))
                break
        else:
            rows.append([int(number)])
    for row in rows:
        if len(row) >= _SHAPES.letters:
            result[row] = True
    return result

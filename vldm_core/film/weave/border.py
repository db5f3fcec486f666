"""The border that a moved frame leaves open, and how its neighbours fill it."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import DoubleArray, FloatArray

Span = tuple[int, int]
"""First row or column, and one past the last."""

SUBPIXEL = 1 / 64
"""Pixels. OpenCV resamples in steps of 1/32 px: a smaller correction than half of that would only soften the frame."""


@dataclass(frozen=True, kw_only=True)
class BorderFill:
    """How the open border of a moved frame is filled from its neighbours.

    Attributes:
        seam: Pixels: a filled border passes into the frame over about twice as many. Wider hides more of the seam and
            takes more of the frame's own picture.
        least_seam: Pixels of a seam from which on its median tells how much brighter the neighbour is; fewer are too
            few for a median to hold against dirt on them.
        largest_offset: Of [0, 1], by which a neighbour's brightness is changed at most: flicker does no more, and a
            larger difference at the seam is another picture.
    """

    seam: int = 3
    least_seam: int = 30
    largest_offset: float = 0.1


_BORDER = BorderFill()


def resample(image: FloatArray, matrix: DoubleArray, rows: Span, columns: Span, interpolation: int) -> FloatArray:
    """Return a part of the moved image; beyond its border it is mirrored."""
    shifted = matrix[:2].copy()
    shifted[:, 2] -= columns[0], rows[0]
    size = (columns[1] - columns[0], rows[1] - rows[0])
    return np.asarray(
        cv2.warpAffine(image, shifted, size, flags=interpolation, borderMode=cv2.BORDER_REFLECT_101), dtype=np.float32
    )


def _inside(matrix: DoubleArray, rows: Span, columns: Span, height: int, width: int) -> FloatArray:
    """Return how many pixels the source of every pixel lies inside its frame; negative outside."""
    inverse = np.linalg.inv(matrix)
    x = np.arange(*columns, dtype=np.float32)
    y = np.arange(*rows, dtype=np.float32)[:, None]
    source_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    source_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    inside = np.minimum(np.minimum(source_x, width - 1 - source_x), np.minimum(source_y, height - 1 - source_y))
    return np.asarray(inside, dtype=np.float32)


def open_strips(matrix: DoubleArray, height: int, width: int) -> list[tuple[Span, Span]]:
    """Return rows and columns of the strips along the edges that the moved frame leaves open, seams included."""
    corners = matrix @ np.array([[0, width - 1, 0, width - 1], [0, 0, height - 1, height - 1], [1, 1, 1, 1]])
    left, right = corners[0, [0, 2]].max(), width - 1 - corners[0, [1, 3]].min()
    top, bottom = corners[1, [0, 1]].max(), height - 1 - corners[1, [2, 3]].min()

    def reach(depth: float, size: int) -> int:
        return min(size, math.ceil(depth) + 2 * _BORDER.seam + 1) if depth > SUBPIXEL else 0

    strips = [
        ((0, height), (0, reach(left, width))),
        ((0, height), (width - reach(right, width), width)),
        ((0, reach(top, height)), (0, width)),
        ((height - reach(bottom, height), height), (0, width)),
    ]
    return [(rows, columns) for rows, columns in strips if rows[0] < rows[1] and columns[0] < columns[1]]


def opening_of(matrix: DoubleArray, rows: Span, columns: Span, height: int, width: int) -> FloatArray:
    """Return how much of every pixel must come from elsewhere: 1 in the open border, fading out within the seam."""
    outside = (_inside(matrix, rows, columns, height, width) < -SUBPIXEL).astype(np.float32)
    kernel = np.ones((2 * _BORDER.seam + 1, 2 * _BORDER.seam + 1), np.uint8)
    return np.asarray(cv2.blur(cv2.dilate(outside, kernel), kernel.shape, borderType=cv2.BORDER_REPLICATE))


def fill_from(
    part: FloatArray, opening: FloatArray, source: FloatArray, place: DoubleArray, rows: Span, columns: Span
) -> FloatArray:
    """Fill the opening of a part of a frame, in place, from another frame; return what is still open.

    The other frame takes on the brightness of this one along the seam, which the flicker between them has changed.
    """
    height, width = source.shape[:2]
    other = resample(source, place, rows, columns, cv2.INTER_CUBIC)
    seen = _inside(place, rows, columns, height, width) >= 0
    seam = seen & (opening > 0) & (opening < 1)
    if np.count_nonzero(seam) >= _BORDER.least_seam:
        other += np.clip(np.median((part - other)[seam], axis=0), -_BORDER.largest_offset, _BORDER.largest_offset)
    alpha = (opening * seen)[..., None]
    part += alpha * (other - part)
    return np.where(seen, np.float32(0), opening)

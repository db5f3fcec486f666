"""Boxes around the holes of a frame, packed into one small plane.

A repair needs a frame only where it is damaged and a little around. Working box by box would drown in the overhead of
many small calls, so the boxes are laid side by side on shelves: one plane of a fraction of the frame, on which every
filter is called once. A box is wider than its hole by a margin, so filters narrower than that do not mix boxes.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from ..motion.field import MotionField

MARGIN = 6
"""Pixels around a hole that its box shows: more than most filters of the repair reach, so that boxes do not mix."""

_LONGEST_SIDE = 64
"""Pixels of a box's longer side above which a thin hole is cut into several boxes: that around a slanting scratch would
be all picture."""

_THIN = 0.2
"""Share of its box that a hole covers below which it is thin. Boxes inside a large hole would show no surroundings."""

LARGEST_SHARE = 0.6
"""Share of the frame that boxes may cover together; above, packing saves nothing and the frame is taken whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """Where the pixels of an atlas (h, w) come from in the frame (H, W).

    Attributes:
        tiles: Row and column in the frame, row and column in the atlas, height and width of every box.
        x: (h, w) float32, column in the frame of every pixel.
        y: (h, w) float32, row in the frame.
        hole: (h, w) what is damaged.
        own: Rows and columns in the atlas of the damaged pixels, each pixel of the frame once and well inside its box.
        place: Rows and columns in the frame of the same pixels.
    """

    tiles: tuple[tuple[int, int, int, int, int, int], ...]
    x: Plane
    y: Plane
    hole: BoolArray
    own: tuple[NDArray[np.intp], NDArray[np.intp]]
    place: tuple[NDArray[np.intp], NDArray[np.intp]]
    _grids: dict[tuple[float, float], Plane] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, hole: BoolArray, margin: int = MARGIN) -> "Atlas":
        """Pack the holes of a frame (H, W), at least one pixel of them.

        Holes closer than the margin share a box. Where the boxes would cover most of the frame, it is taken whole.
        """
        height, width = hole.shape
        labels, boxes = _groups(hole, margin)
        tiles = _packed(boxes, margin, height, width)
        if sum(tile[4] * tile[5] for tile in tiles) > LARGEST_SHARE * hole.size:
            tiles = [(0, 0, 0, 0, height, width)]
            order = np.zeros(1, np.intp)
        else:
            order = np.argsort(-boxes[:, 3], kind="stable")
        rows = max(tile[2] + tile[4] for tile in tiles)
        columns = max(tile[3] + tile[5] for tile in tiles)
        x, y = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
        shown, mine = np.empty((rows, columns), bool), np.empty((rows, columns), bool)
        for (top, left, row, column, high, wide), number in zip(tiles, order, strict=True):
            there, here = np.s_[top : top + high, left : left + wide], np.s_[row : row + high, column : column + wide]
            x[here] = np.arange(left, left + wide, dtype=np.float32)
            y[here] = np.arange(top, top + high, dtype=np.float32)[:, None]
            shown[here] = hole[there]
            mine[here] = hole[there] if len(tiles) == 1 else hole[there] & (labels[there] == number + 1)
        rows_of, columns_of = np.nonzero(mine)
        own = (rows_of, columns_of)
        return cls(
            tiles=tuple(tiles), x=x, y=y, hole=shown, own=own, place=(y[own].astype(np.intp), x[own].astype(np.intp))
        )

    def cut(self, plane: NDArray) -> NDArray:
        """Return what a plane (H, W) or (H, W, C) of the frame shows in the boxes, (h, w) or (h, w, C)."""
        result = np.empty((*self.x.shape, *plane.shape[2:]), plane.dtype)
        for top, left, row, column, high, wide in self.tiles:
            result[row : row + high, column : column + wide] = plane[top : top + high, left : left + wide]
        return result

    def _on_grid(self, scale: tuple[float, float]) -> Plane:
        """(h, w, 2) place of every pixel on a grid of this scale; centres of cells and pixels lie at halves."""
        if scale not in self._grids:
            factor = np.array(scale, np.float32)
            self._grids[scale] = self.xy * factor + (factor - 1) / 2
        return self._grids[scale]

    @cached_property
    def xy(self) -> Plane:
        """(h, w, 2) column and row in the frame of every pixel."""
        return cv2.merge([self.x, self.y])

    def look(self, plane: NDArray, flow: Plane, *, how: int = cv2.INTER_LINEAR) -> NDArray:
        """Look a plane (H, W) or (H, W, C) of another frame up along a flow (h, w, 2) of this one.

        Args:
            plane: Of the other frame.
            flow: Pixels.
            how: One of OpenCV's interpolations.
        """
        # Maps of one plane of pairs are the quick ones.
        place = cv2.add(self.xy, flow)
        return cv2.remap(plane, place, cast(NDArray, None), how, borderMode=cv2.BORDER_REPLICATE)

    def motion(self, between: MotionField, flow: Plane | None = None) -> Plane:
        """Motion (h, w, 2) of every pixel, or of the place where a flow leads it."""
        scale = (between.grid.shape[1] / between.size[1], between.grid.shape[0] / between.size[0])
        place = self._on_grid(scale)
        if flow is not None:
            place = place + flow * np.array(scale, np.float32)
        return np.asarray(
            cv2.remap(between.grid, place, cast(NDArray, None), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            np.float32,
        )

    def inside(self, flow: Plane, height: int, width: int) -> BoolArray:
        """Tell where a flow (h, w, 2) stays inside the frame."""
        return cv2.inRange(cv2.add(self.xy, flow), (0, 0, 0, 0), (width - 1, height - 1, 0, 0)).view(bool)


def _groups(hole: BoolArray, margin: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number the groups of holes that lie close together, from 1; and give the left, top, width, height of each.

    Long thin ones are cut into several.
    """
    joined = cv2.dilate(hole.astype(np.uint8), np.ones((margin | 1, margin | 1), np.uint8))
    count, numbered = cv2.connectedComponents(joined, connectivity=8)
    rows, columns = np.nonzero(hole)
    which = np.asarray(numbered, np.int32)[rows, columns] - 1
    boxes = _boxes(which, rows, columns, count - 1)
    thin = np.bincount(which, minlength=count - 1) < _THIN * boxes[:, 2] * boxes[:, 3]
    cut = (thin & (boxes[:, 2:].max(axis=1) > _LONGEST_SIDE))[which]
    if cut.any():
        cells = (hole.shape[1] + _LONGEST_SIDE - 1) // _LONGEST_SIDE
        cell = rows // _LONGEST_SIDE * cells + columns // _LONGEST_SIDE + 1
        several = which.astype(np.int64) * (hole.size + 1) + np.where(cut, cell, 0)
        which = np.unique(several, return_inverse=True)[1].reshape(-1).astype(np.int32)
        boxes = _boxes(which, rows, columns, int(which.max()) + 1)
    labels = np.zeros(hole.shape, np.int32)
    labels[rows, columns] = which + 1
    return labels, boxes


def _boxes(
    which: NDArray[np.int32], rows: NDArray[np.intp], columns: NDArray[np.intp], count: int
) -> NDArray[np.int32]:
    """Left, top, width and height (count, 4) of the pixels of each group."""
    low, high = np.full((2, count), 1 << 30, np.int32), np.full((2, count), -1, np.int32)
    for axis, values in enumerate((columns, rows)):
        np.minimum.at(low[axis], which, values.astype(np.int32))
        np.maximum.at(high[axis], which, values.astype(np.int32))
    return np.stack([*low, *(high - low + 1)], axis=1)


def _packed(
    boxes: NDArray[np.int32], margin: int, height: int, width: int
) -> list[tuple[int, int, int, int, int, int]]:
    """Lay boxes on shelves of the frame's width, tallest first; every shelf is filled to its end with picture."""
    tiles: list[tuple[int, int, int, int, int, int]] = []
    row = column = shelf = 0
    for number in np.argsort(-boxes[:, 3], kind="stable"):
        left, top, wide, high = (int(value) for value in boxes[number])
        wide, high = min(wide + 2 * margin, width), min(high + 2 * margin, height)
        if column + wide > width:
            tiles[-1] = _widened(tiles[-1], width)
            row, column = row + shelf, 0
        if column == 0:
            shelf = high
        # Shorter boxes of a shelf show more of the frame, so that no part of the atlas is left blank.
        top, left = min(max(top - margin, 0), height - shelf), min(max(left - margin, 0), width - wide)
        tiles.append((top, left, row, column, shelf, wide))
        column += wide
    # A single shelf need not be as wide as the frame.
    if row:
        tiles[-1] = _widened(tiles[-1], width)
    return tiles


def _widened(tile: tuple[int, int, int, int, int, int], width: int) -> tuple[int, int, int, int, int, int]:
    top, left, row, column, high, _ = tile
    wide = width - column
    return top, min(left, width - wide), row, column, high, wide

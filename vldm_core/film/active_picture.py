"""Where in the frame the picture is: inside black bars, film edges with perforations, and the corners of a gate.

What surrounds a picture is flat, dark and still, lies along the edges of the frame, and ends where the picture begins,
along a straight line. Everything else counts as picture: a night scene, a title on black or a dark wall may reach the
edge of the frame in any shape, and is restored like the rest. So bars are looked for with three questions:

1. Is a pixel dark, as dark as the edge of the frame, and does it stay so? Perforations, which are white and still
   and lie as islands in the dark strip beside the picture, count as a part of that strip.
2. How many whole rows and columns from each edge of the frame hold nothing but such pixels?
3. Does a picture begin there, at once and along most of the edge? A line on black, a letter or a silhouette does not.

The corners of a rounded gate are found row by row afterwards. Only sums over the shot are kept, so memory does not grow
with it.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import BoolArray, FloatArray
from ..errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class BarTests:
    """What tells a bar from a dark part of the picture.

    Attributes:
        darkest_picture: Grey levels: an edge of the frame that is brighter than this belongs to the picture. Scanned
            film base is not black, so it is not near 0.
        flat: Grey levels by which a pixel of a bar may differ from the bar's usual level: codecs ring beside the
            picture.
        cap: Grey levels above which a pixel is no darker or brighter in the mean: one speck of dust must not lift a
            bar.
        quiet: Grey levels, mean change from frame to frame: a bar is at most as unquiet; a dark scene with grain is
            more so.
        largest_change: Grey levels that a change from frame to frame counts at most, for the same reason as `cap`.
        specks: Share of a row or column that may be other than dark: dust that sticks.
        thinnest: Rows or columns of the thinnest bar. One dark row is an edge of the scan, and cheaper to restore than
            to be wrong about.
        edge: Rows or columns within which the picture begins. A picture begins at once; a dark scene fades in.
        inside: Rows or columns, beyond those, that must be picture too: no line on black is as wide.
        picture_share: Share of an edge along which the picture begins, and of the strip inside it that is picture. A
            letter or a silhouette begins along less.
        mixed: Rows and columns at the border of the picture that may hold some of the bar: split pixels, and what
            codecs smear.
    """

    darkest_picture: float = 40.0
    flat: float = 8.0
    cap: float = 64.0
    quiet: float = 2.0
    largest_change: float = 16.0
    specks: float = 0.05
    thinnest: int = 2
    edge: int = 4
    inside: int = 16
    picture_share: float = 0.5
    mixed: int = 2


@dataclass(frozen=True, kw_only=True)
class PerforationTests:
    """What counts as a perforation beside the picture.

    Attributes:
        white: Grey level of a perforation, through which the scanner sees its lamp, in the mean over the shot.
        floor: Grey level below which a pixel is no darker in that mean: weave and a passing speck must not take a hole
            off its white.
        largest: Height and width of the largest perforation, as shares of the frame: four to a frame on 35 mm, one on
            16 mm. Larger white islands are picture.
        reach: Share of the frame, from its left or right edge, in which perforations lie.
        rim: Share of the frame width by which a perforation weaves, rounding of its corners included.
        least_rim: Pixels of that rim at least, on small frames.
    """

    white: float = 250.0
    floor: float = 192.0
    largest: tuple[float, float] = (0.3, 0.15)
    reach: float = 0.4
    rim: float = 0.015
    least_rim: int = 3


@dataclass(frozen=True, kw_only=True)
class CornerTests:
    """What counts as the corner of a rounded gate.

    Attributes:
        largest: Radius of the largest corner, as a share of the shorter side of the picture. More takes a vignette or a
            dark tree for a corner.
        smallest: Pixels of the radius of the smallest: fewer are a split pixel or two, not worth a mask.
    """

    largest: float = 0.12
    smallest: int = 3


_BARS = BarTests()
_PERFORATION = PerforationTests()
_CORNER = CornerTests()


@dataclass(frozen=True, kw_only=True, eq=False)
class ActivePicture:
    """The part of the frame that shows the picture; the same for all frames of a shot.

    Attributes:
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        left: (H,) int32, first column of the picture in every row.
        right: (H,) int32, column after its last one; equal to `left` in rows without picture.
    """

    height: int
    width: int
    left: NDArray[np.int32]
    right: NDArray[np.int32]

    @classmethod
    def of_frame(cls, height: int, width: int) -> "ActivePicture":
        """The whole frame is picture."""
        return cls(height=height, width=width, left=np.zeros(height, np.int32), right=np.full(height, width, np.int32))

    @cached_property
    def whole(self) -> bool:
        """Whether nothing but picture is in the frame."""
        return bool((self.left == 0).all() and (self.right == self.width).all())

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """First row, row after the last, first column, column after the last of the rectangle around the picture."""
        rows = np.flatnonzero(self.right > self.left)
        return int(rows[0]), int(rows[-1]) + 1, int(self.left[rows].min()), int(self.right[rows].max())

    def inside(self) -> BoolArray:
        """Where the picture is, (H, W)."""
        columns = np.arange(self.width, dtype=np.int32)
        return (columns >= self.left[:, None]) & (columns < self.right[:, None])

    def outside(self) -> Tensor | None:
        """Where there is no picture, (H, W) bool; None where it fills the frame."""
        return None if self.whole else torch.from_numpy(~self.inside())

    def restricted(self, changed: Tensor, came: Tensor) -> Tensor:
        """Undo what a stage changed outside the picture.

        Args:
            changed: (..., H, W).
            came: The same as it came.
        """
        outside = self.outside()
        return changed if outside is None else torch.where(outside.to(came.device), came, changed)

    def extended(self, luma: FloatArray) -> FloatArray:
        """Carry the picture on over the bars, so that their edges do not show in what is measured.

        To the sides its outermost columns are repeated, which makes no new line; upwards and downwards it is mirrored,
        so that lines go on.

        Args:
            luma: (H, W).

        Returns:
            (H, W); the same array where there are no bars.
        """
        top, bottom, left, right = self.box
        if (top, bottom, left, right) == (0, self.height, 0, self.width):
            return luma
        rows = _shrunk(top, bottom, self.height)
        columns = _shrunk(left, right, self.width)
        part = cv2.copyMakeBorder(
            luma[slice(*rows), slice(*columns)], 0, 0, columns[0], self.width - columns[1], cv2.BORDER_REPLICATE
        )
        result = cv2.copyMakeBorder(part, rows[0], self.height - rows[1], 0, 0, cv2.BORDER_REFLECT)
        return np.asarray(result, np.float32)


def _shrunk(first: int, last: int, size: int) -> tuple[int, int]:
    """Leave out what may hold some of a bar, on the sides that have one."""
    inner = (first + _BARS.mixed if first > 0 else first), (last - _BARS.mixed if last < size else last)
    return inner if inner[0] < inner[1] else (first, last)


class PictureFinder:
    """Finds the active picture of ONE shot as its frames pass by.

    Args:
        height: Frame height.
        width: Frame width.
    """

    def __init__(self, height: int, width: int) -> None:
        self._shape = (height, width)
        self._count = 0
        self._level = np.zeros(self._shape, np.float32)
        self._white = np.zeros(self._shape, np.float32)
        self._change = np.zeros(self._shape, np.float32)
        self._previous: FloatArray | None = None
        self._known = ActivePicture.of_frame(height, width)
        self._next_look = 1

    def update(self, luma: FloatArray) -> ActivePicture:
        """Take the next frame of the shot and return what is known of the picture so far.

        Args:
            luma: (H, W) float32, grey levels 0 … 255.
        """
        if luma.shape != self._shape:
            raise SettingsError(
                f"the search for bars was made for {self._shape} frames, got {luma.shape}; use one finder per shot"
            )
        self._count += 1
        self._level += np.minimum(luma, _BARS.cap)
        self._white += np.maximum(luma, _PERFORATION.floor)
        if self._previous is not None:
            change = cv2.absdiff(luma, self._previous)
            self._change += np.minimum(change, _BARS.largest_change)
        self._previous = luma
        # The sums change ever less: it is enough to look again when they have grown by half.
        if self._count >= self._next_look:
            self._known, self._next_look = self._found(), self._count + max(1, self._count // 2)
        return self._known

    def finish(self) -> ActivePicture:
        """Close the shot and return where its picture is."""
        self._previous = None
        return self._found() if self._count else self._known

    def _found(self) -> ActivePicture:
        height, width = self._shape
        level = self._level / self._count
        changes = max(self._count - 1, 1)
        # Over few frames the mean of a pixel is itself uncertain.
        quiet = self._change <= _BARS.quiet * (1 + 2 / np.sqrt(changes)) * changes
        usual = [float(np.percentile(line, 25)) for line in (level[0], level[-1], level[:, 0], level[:, -1])]
        darkest = [value for value in usual if value <= _BARS.darkest_picture]
        if not darkest:
            return ActivePicture.of_frame(height, width)
        dark = (level <= max(darkest) + _BARS.flat) & quiet
        void = dark | _holes(np.asarray(self._white / self._count, np.float32))
        return _from_void(void)


def _holes(white: FloatArray) -> BoolArray:
    """White islands near the left or right edge of the frame, with a rim: (H, W)."""
    height, width = white.shape
    seen = (white >= _PERFORATION.white).astype(np.uint8)
    result = np.zeros((height, width), np.uint8)
    if not seen.any():
        return result > 0
    count, _, boxes, _ = cv2.connectedComponentsWithStats(seen, connectivity=8)
    rim = max(_PERFORATION.least_rim, round(_PERFORATION.rim * width))
    for x, y, w, h, _ in boxes[1:count]:
        sideways = x + w <= _PERFORATION.reach * width or x >= (1 - _PERFORATION.reach) * width
        if sideways and h <= _PERFORATION.largest[0] * height and w <= _PERFORATION.largest[1] * width:
            result[max(0, y - rim) : y + h + rim, max(0, x - rim) : x + w + rim] = 1
    return result > 0


def _from_void(void: BoolArray) -> ActivePicture:
    """Turn what is dark, flat and still, (H, W), into bars and corners."""
    height, width = void.shape
    whole = ActivePicture.of_frame(height, width)
    top, bottom = _ends(void, axis=1)
    left, right = _ends(void, axis=0)
    if top >= bottom or left >= right:
        # Nothing but black.
        return whole
    alive = ~void
    box = alive[top:bottom, left:right]
    if not _begins(box):
        top = 0
    if not _begins(box[::-1]):
        bottom = height
    if not _begins(box.T):
        left = 0
    if not _begins(box.T[::-1]):
        right = width
    top, left = (0 if first < _BARS.thinnest else first for first in (top, left))
    bottom = height if height - bottom < _BARS.thinnest else bottom
    right = width if width - right < _BARS.thinnest else right
    starts, stops = np.full(height, left, np.int32), np.full(height, right, np.int32)
    starts[:top], stops[:top], starts[bottom:], stops[bottom:] = 0, 0, 0, 0
    part = void[top:bottom, left:right]
    rows = slice(top, bottom)
    starts[rows] += _corners(part)
    stops[rows] -= _corners(part[:, ::-1])
    return ActivePicture(height=height, width=width, left=starts, right=stops)


def _ends(void: BoolArray, *, axis: int) -> tuple[int, int]:
    """First row and row after the last (axis 1), or columns (axis 0), that hold more than specks."""
    used = np.flatnonzero(1 - void.mean(axis=axis) > _BARS.specks)
    return (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)


def _begins(alive: BoolArray) -> bool:
    """Whether a picture begins at the first row of an array, along most of it."""
    edge, inside = alive[: _BARS.edge], alive[_BARS.edge : _BARS.edge + _BARS.inside]
    along = float(edge.any(axis=0).mean())
    return along >= _BARS.picture_share and float(inside.mean() if len(inside) else 0.0) >= _BARS.picture_share


def _corners(void: BoolArray) -> NDArray[np.int32]:
    """Columns that the upper and lower left corners take of every row of the picture, (h,)."""
    height, width = void.shape
    most = int(_CORNER.largest * min(height, width))
    result = np.zeros(height, np.int32)
    if most < _CORNER.smallest:
        return result
    for rows in (slice(None), slice(None, None, -1)):
        strip = void[rows][: most + 1, : most + 1]
        runs = np.where(strip.all(axis=1), most + 1, np.argmin(strip, axis=1))
        # A corner gets narrower from row to row and ends; what does not is a dark part of the scene.
        end = int(np.argmax(runs == 0)) if (runs == 0).any() else 0
        if end < _CORNER.smallest or runs[0] > most or runs[0] < _CORNER.smallest or np.diff(runs[:end]).max() > 1:
            continue
        beyond = runs[:end, None] + np.arange(_BARS.edge)
        if void[rows][np.arange(end)[:, None], np.minimum(beyond, width - 1)].mean() > 1 - _BARS.picture_share:
            continue
        result[rows][:end] = np.maximum(result[rows][:end], runs[:end])
    return result

"""Burned-in graphics of a shot: subtitles, titles over a scene, clocks; found in the first pass, left alone after it.

Text that was laid over a film does not move with the scene, and text comes and goes at once: both tell it from what the
scene shows, and both make it look like damage to whoever compares neighbouring frames along the motion of the scene. A
line of lettering (`strokes`) counts as burned in

1. where its letters stay at their place between two frames while the scene moves, and would not fit had they moved with
   it; or
2. where, before a scene that stands still, its letters appear or vanish together, for as long as they stay, or some of
   them are replaced, as digits of a clock are.

Only strokes of such lines are left alone, and a rim: dirt between and beside the letters is found and filled.
"""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...arrays import BoolArray, FloatArray, Plane
from ...errors import SettingsError
from ..motion.scene import FrameMotion
from .strokes import Pieces, beside, lines_of, pieces_of


@dataclass(frozen=True, kw_only=True)
class GraphicsTests:
    """When lettering counts as burned in.

    Attributes:
        rows: Rows that frames keep at least when they are reduced, by a whole factor: letters are told there, too, and
            more rows only cost more.
        moving: Pixels, at that size, that the scene moves between two frames for letters to be told by staying.
        sure_cell: Confidence from which on a cell of the measured motion counts.
        staying: Grey levels by which a letter changes at most, in the mean: grain, and coding.
        worse: Grey levels by which it would change more, had it moved with the scene.
        changed: Grey levels by which a letter that appears or vanishes changes at least, in the mean.
        staying_letters: Letters of a line that must stay while the scene moves.
        kept: Share of it on which the other frame may show a stroke, too: weave moves strokes by less than their width.
        ground: Share of what is right above and below such a letter that may change, too; more is a scene in motion.
        letters: Letters of a line that must appear or vanish together.
        replaced: Letters of a line, replaced ones included, where only some change.
        longest_brief: Frames that letters which appeared before a scene at rest are followed for: what stays longer is
            not taken for dirt.
        rim: Pixels around the strokes that are left alone with them: soft edges, and black ones around white letters.
        reach: Share of the height of a line by which strokes may stand out of it: descenders, dots, accents.
    """

    rows: int = 240
    moving: float = 0.7
    sure_cell: float = 0.25
    staying: float = 16.0
    worse: float = 12.0
    changed: float = 32.0
    staying_letters: int = 3
    kept: float = 0.5
    ground: float = 0.25
    letters: int = 4
    replaced: int = 5
    longest_brief: int = 4
    rim: int = 3
    reach: float = 0.4


_TEST = GraphicsTests()


@dataclass(frozen=True, kw_only=True, eq=False)
class Graphics:
    """Where burned-in graphics are in the frames of a shot.

    Attributes:
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        held: By the number of a frame, counted from the start of the shot: its mask at the reduced size, a bit a pixel,
            compressed. Frames without graphics are not in it.
        size: Height and width of these masks.
    """

    height: int
    width: int
    held: dict[int, bytes]
    size: tuple[int, int]

    @classmethod
    def nowhere(cls, height: int, width: int) -> "Graphics":
        """There are none, or nobody has looked."""
        return cls(height=height, width=width, held={}, size=(height, width))

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames that have some."""
        return tuple(sorted(self.held))

    def mask(self, index: int) -> Tensor | None:
        """Where they are in a frame, (H, W) bool; None where there are none."""
        packed = self.held.get(index)
        if packed is None:
            return None
        bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=self.size[0] * self.size[1])
        small: NDArray = bits.reshape(self.size)
        if self.size != (self.height, self.width):
            small = cv2.resize(small, (self.width, self.height), interpolation=cv2.INTER_NEAREST)
        return torch.from_numpy(small.astype(bool))


@dataclass(frozen=True)
class _Look:
    """What is kept of a frame: its luma (h, w), reduced, and its pieces, light and dark."""

    luma: NDArray[np.uint8]
    pieces: tuple[Pieces, Pieces]


class GraphicsFinder:
    """Finds the burned-in graphics of ONE shot as its frames pass by.

    Args:
        height: Frame height.
        width: Frame width.
    """

    def __init__(self, height: int, width: int) -> None:
        self._shape = (height, width)
        factor = max(1, height // _TEST.rows)
        self._size = (max(1, height // factor), max(1, width // factor))
        self._factor = factor
        self._count = 0
        self._previous: _Look | None = None
        self._masks: dict[int, bytes] = {}
        self._current = np.zeros(self._size, bool)
        # Letters that have just appeared before a scene at rest, and for how many frames they are followed yet.
        self._followed = np.zeros(self._size, np.uint8)

    @property
    def count(self) -> int:
        """Frames taken."""
        return self._count

    @property
    def pending(self) -> int:
        """The last frame is judged with the one that follows."""
        return 1

    def skip(self) -> None:
        """Take a frame that could not be measured."""
        self._close()
        self._count += 1
        self._previous = None
        self._followed[:] = 0

    def update(self, luma: FloatArray, motion: FrameMotion | None) -> None:
        """Take the next frame of the shot.

        Args:
            luma: (H, W) float32, grey levels 0 … 255.
            motion: Of the scene since the frame before; None where it is not known.
        """
        if luma.shape != self._shape:
            raise SettingsError(
                f"the search for graphics was made for {self._shape} frames, got {luma.shape}; use one finder per shot"
            )
        height, width = self._size
        plain = luma if self._factor == 1 else cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
        grey = np.clip(plain, 0, 255).astype(np.uint8)
        look = _Look(grey, (pieces_of(grey, bright=True), pieces_of(grey, bright=False)))
        before, here = np.zeros(self._size, bool), np.zeros(self._size, bool)
        if self._previous is not None and motion is not None:
            before, here = self._compare(self._previous, look, motion)
        self._current |= before
        self._close()
        self._count += 1
        self._current, self._previous = here, look

    def _compare(self, last: _Look, look: _Look, motion: FrameMotion) -> tuple[BoolArray, BoolArray]:
        """Return what two consecutive frames show to be graphics, in the one and in the other."""
        change = cv2.absdiff(look.luma, last.luma)
        shift = self._shift(motion)
        found = np.zeros((2, *self._size), bool)
        if np.hypot(*shift) >= _TEST.moving:
            way = _whole_pixels(shift[0]), _whole_pixels(shift[1])
            for number, (other, one, step) in enumerate(((look, last, way), (last, look, (-way[0], -way[1])))):
                moved = cv2.absdiff(one.luma, _shifted(other.luma, step))
                for pieces in one.pieces:
                    stays = pieces.mean(change)
                    seeds = (stays <= _TEST.staying) & (pieces.mean(moved) >= stays + _TEST.worse)
                    found[number] |= _lettering(pieces, seeds, whole=True)
            self._followed[:] = 0
            return found[0], found[1]
        sums = cv2.integral((change > _TEST.staying).view(np.uint8))
        for number, (one, other) in enumerate(((last, look), (look, last))):
            for pieces, there in zip(one.pieces, other.pieces, strict=True):
                if pieces.are_texture:
                    continue
                changes = (pieces.mean(change) >= _TEST.changed) & (pieces.mean(there.strokes) <= _TEST.kept)
                changes &= _around(sums, pieces.boxes) <= _TEST.ground
                found[number] |= _lettering(pieces, changes, whole=False)
        # What has appeared is followed as long as it stays.
        stays = (change <= 2 * _TEST.staying) & (self._followed > 0)
        self._followed = np.where(stays, self._followed - 1, 0).astype(np.uint8)
        here = found[1] | (self._followed > 0)
        self._followed[found[1]] = _TEST.longest_brief
        return found[0], here

    def _shift(self, motion: FrameMotion) -> tuple[float, float]:
        """Return how most of the scene moves, at the reduced size."""
        sure = motion.grid_confidence >= _TEST.sure_cell
        if not sure.any():
            return motion.dx / self._factor, motion.dy / self._factor
        return tuple(float(np.median(grid[sure])) / self._factor for grid in (motion.grid_dx, motion.grid_dy))  # type: ignore[return-value]

    def _close(self) -> None:
        """Keep the mask of the last frame that was taken."""
        if self._count and self._current.any():
            self._masks[self._count - 1] = zlib.compress(np.packbits(self._current).tobytes(), 1)
        self._current = np.zeros(self._size, bool)

    def finish(self) -> Graphics:
        """Close the shot and return where its graphics are."""
        current = self._current
        self._close()
        self._current = current
        height, width = self._shape
        return Graphics(height=height, width=width, held=dict(self._masks), size=self._size)


def _whole_pixels(part: float) -> int:
    """Round, and less than a pixel to a whole one: letters would not fit there either."""
    return int(np.rint(part)) or int(np.sign(part))


def _shifted(luma: NDArray[np.uint8], by: tuple[int, int]) -> NDArray[np.uint8]:
    """What lies some pixels to the right and below of every pixel; at the edges what is nearest."""
    height, width = luma.shape
    rows = np.clip(np.arange(height) + by[1], 0, height - 1)
    columns = np.clip(np.arange(width) + by[0], 0, width - 1)
    return luma[rows[:, None], columns[None, :]]


def _around(sums: NDArray, boxes: NDArray[np.int32]) -> Plane:
    """Share of what lies right above and below some boxes (N, 4) that a mask holds, by its integral image."""
    height = sums.shape[0]
    left, top, right, bottom = boxes.T
    reach = np.maximum(1, np.rint(_TEST.reach * (bottom - top)).astype(np.int32))
    over, under = np.maximum(top - reach, 0), np.minimum(bottom + reach, height - 1)
    held = sum(
        sums[last, right] - sums[first, right] - sums[last, left] + sums[first, left]
        for first, last in ((over, top), (bottom, under))
    )
    return held / np.maximum((right - left) * (top - over + under - bottom), 1)


def _lettering(pieces: Pieces, seeds: BoolArray, *, whole: bool) -> BoolArray:
    """Strokes of the lines that some pieces form, with a rim, (H, W).

    Args:
        pieces: Of a frame.
        seeds: (N,), those that look burned in.
        whole: Whether the line is left alone as a whole where enough of it looks so; else only those pieces are.
    """
    height, width = pieces.strokes.shape
    result = np.zeros((height, width), np.uint8)
    numbers, letters = np.flatnonzero(seeds), pieces.letters()
    for line in lines_of(pieces.boxes[numbers], pieces.tone[numbers]) if len(numbers) else ():
        own = numbers[line]
        count = letters[own].sum()
        if whole and count < _TEST.staying_letters:
            continue
        members = own if not whole and count >= _TEST.letters else _extended(pieces, own)
        if not whole and count < _TEST.letters and letters[members].sum() < _TEST.replaced:
            continue
        _draw(result, pieces, members if whole else own)
    if not result.any():
        return result > 0
    size = 2 * _TEST.rim + 1
    return cv2.dilate(result, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0


def _extended(pieces: Pieces, line: NDArray[np.intp]) -> NDArray[np.intp]:
    """Add the pieces that stand on the same line, whatever they do."""
    inside = np.zeros(len(pieces.tone), bool)
    inside[line] = True
    while True:
        own = np.flatnonzero(inside)
        more = beside(pieces.boxes, pieces.tone, pieces.boxes[own], pieces.tone[own]).any(axis=1) & ~inside
        if not more.any():
            return own
        inside |= more


def _draw(target: NDArray[np.uint8], pieces: Pieces, members: NDArray[np.intp]) -> None:
    """Set the strokes of some pieces, and the smaller ones right beside them: dots, commas, accents."""
    for left, top, right, bottom in pieces.boxes[members].tolist():
        reach = round(_TEST.reach * (bottom - top))
        around = slice(max(0, top - reach), bottom + reach), slice(max(0, left - reach), right + reach)
        target[around] |= pieces.strokes[around]

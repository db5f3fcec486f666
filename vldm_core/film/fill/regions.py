"""Complete the marks of damage before they are filled: soft rims, cracks inside, ragged edges.

A detector marks a pixel by what it is sure of, so of a large defect it leaves islands, and of a soft one the rim. What
is left stays in the picture as a ring or a shred. Around every mark the frame is compared with both neighbours, along
the motion there and along that of the surroundings: what lies beyond all that they show, and hangs together with the
mark, is of the defect. What a large mark encloses or nearly encloses is of it where both neighbours agree on what
belongs there, for it costs nothing there.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...arrays import BoolArray, ByteArray, Plane
from ...video.buffers.pictures import Clip
from ..flicker.local_gain import apply_gain
from ..motion import shot
from ..motion.cleaning import outside
from ..motion.prediction import grain_of
from ..motion.shot import ShotMotion
from .atlas import Atlas
from .window import HoleWindow

RADIUS = 1 + shot.RADIUS
"""The completed marks of a frame depend on this many frames on each side, and on the marks of its neighbours."""


@dataclass(frozen=True, kw_only=True)
class MarkGrowth:
    """How marks are completed.

    Attributes:
        reach: Pixels around a mark in which more of its defect is looked for: the soft rim of a scan, and no more, or
            the marks would walk along edges that move.
        deviations: Deviations of the grain beyond all that the neighbours show from which a pixel is of the defect.
        levels: Grey levels added to that: what codecs and interpolation do.
        large: Pixels of a mark from which on what it encloses is looked at.
        gap: Pixels on each side of the square by which such a mark is closed: cracks and bays up to so wide.
        agreement: Deviations of the grain by which the neighbours may differ, over `agreement_window`, in what is
            enclosed: where they agree nothing is lost.
        agreement_window: Pixels on each side of the square over which they are compared.
        largest_share: Share of the frame that may be marked before; above it a frame is no longer compared.
    """

    reach: int = 3
    deviations: float = 3.0
    levels: float = 4.0
    large: int = 60
    gap: int = 11
    agreement: float = 1.5
    agreement_window: int = 5
    largest_share: float = 0.3


_GROWTH = MarkGrowth()


def _square(side: int) -> ByteArray:
    """Return what a plane is widened or closed by, over a square."""
    return np.ones((side, side), np.uint8)


def complete_marks(
    frames: Tensor | Clip,
    marks: Tensor,
    *,
    keep: slice | None = None,
    motion: ShotMotion | None = None,
    first: int = 0,
) -> Tensor:
    """Complete the marks of damage of single frames.

    Args:
        frames: (T, 3, H, W) RGB or (T, 1, H, W), [0, 1], all of one shot.
        marks: (T, H, W); above 0.5 is damaged; those of the neighbours of the frames to keep count, too.
        keep: The frames whose marks are completed; those of the others return as they came. None is all.
        motion: Of the shot that the frames are part of; None measures it on these frames.
        first: Position in the shot of the first of the frames, where its motion is given.

    Returns:
        (T, H, W) like `marks`, with more pixels at 1.
    """
    window = HoleWindow(frames, marks, motion=motion, first=first)
    result = marks.clone()
    for index in range(len(window))[keep or slice(None)]:
        added = _added(window, index)
        if added is not None:
            result[index][torch.from_numpy(added).to(marks.device)] = 1
        window.forget(index)
    return result


def _added(window: HoleWindow, index: int) -> BoolArray | None:
    """What (H, W) belongs to the marks of a frame as well; None is nothing."""
    found = window.holes[index]
    if not 0 < index < len(window) - 1 or not found.any() or found.mean() > _GROWTH.largest_share:
        return None
    enclosed = _enclosed(found)
    near = cv2.dilate(found.astype(np.uint8), _square(2 * _GROWTH.reach + 1)) > 0
    atlas = Atlas.of(near | enclosed)
    frame = atlas.cut(window.grey(index))
    sides = [_shown(window, atlas, index, other) for other in (index - 1, index + 1)]
    low, high = sides[0][0], sides[0][0]
    for look in (look for side in sides for look in side):
        low, high = cv2.min(low, look), cv2.max(high, look)
    grain = grain_of(frame - sides[0][0])
    beyond = np.abs(outside(frame, low, high)) > _GROWTH.deviations * grain + _GROWTH.levels
    apart = cv2.blur(cv2.absdiff(sides[0][0], sides[1][0]), (_GROWTH.agreement_window,) * 2)
    agreed = apart < _GROWTH.agreement * grain + _GROWTH.levels
    own, place = atlas.own, atlas.place
    fits = np.zeros(found.shape, bool)
    fits[place] = (beyond & atlas.cut(near))[own] | (agreed & atlas.cut(enclosed))[own]
    return _hanging_on(fits & ~found, found)


def _enclosed(found: BoolArray) -> BoolArray:
    """What large marks (H, W) enclose or nearly enclose."""
    count, labels, table, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    large = table[:, cv2.CC_STAT_AREA] >= _GROWTH.large
    large[0] = False
    marks: ByteArray = np.asarray(large[labels], np.uint8)
    if count < 2 or not marks.any():
        return np.zeros(found.shape, bool)
    closed = cv2.morphologyEx(marks, cv2.MORPH_CLOSE, _square(_GROWTH.gap))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(closed, contours, -1, 1, cv2.FILLED)
    return (closed > 0) & ~found


def _shown(window: HoleWindow, atlas: Atlas, index: int, other: int) -> list[Plane]:
    """What a neighbour shows (h, w) along the motion, and along that of the surroundings, in the frame's brightness."""
    motion = window.between(index, other)
    gain = window.gain(atlas, index, other, motion)
    return [apply_gain(atlas.look(window.grey(other), atlas.motion(way)), gain) for way in (motion, motion.around())]


def _hanging_on(added: BoolArray, found: BoolArray) -> BoolArray:
    """Of what may be added (H, W), what hangs together with a mark."""
    _, labels = cv2.connectedComponents((added | found).astype(np.uint8), connectivity=8)
    marked = np.zeros(int(labels.max()) + 1, bool)
    marked[labels[found]] = True
    return added & marked[labels]

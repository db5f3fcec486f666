"""The motions along which a neighbour is looked up at a hole.

Motion cannot be measured inside a hole, and damage pulls at the patches that reach into it. So there are several: the
motion of the shot; the same carried into the hole from around it; the motion of the wider surroundings, or of all of
the picture; and the one
that the neighbour itself goes on with, which the damage has not touched. Farther frames are reached from the
best of them, over the motion between the neighbours.
"""

import cv2
import numpy as np

from ...arrays import BoolArray, Plane
from .atlas import Atlas
from .window import HoleWindow

_LARGE = 1500
"""Damaged pixels of a frame from which on the motion of the whole picture is a way too: some 40 on a side."""

_DEEP = 16.0
"""Pixels from the rim of a hole from which on motion that was measured is motion of the damage: one patch of 16."""

_PREDICTING_ROUNDS = 2
"""Steps of the iteration that finds where in a neighbour a pixel has come from: motion is smooth, so two are enough."""


def ways_to(window: HoleWindow, index: int, other: int) -> list[Plane]:
    """Return the ways (h, w, 2) to a neighbour, pixels, on the atlas of a frame.

    Args:
        window: The shot.
        index: The frame.
        other: The frame before or after it.
    """
    atlas, motion = window.atlas(index), window.between(index, other)
    carried = window.carried(index, other)
    inward, surrounding = atlas.motion(carried), atlas.motion(carried.around())
    ways = [inward, surrounding]
    if len(atlas.own[0]) > _LARGE:
        # Into the middle of large damage nothing near leads; most of a picture stands still against the film's jumps.
        ways.append(np.broadcast_to(window.whole(index, other), surrounding.shape).copy())
    beyond, opposite = 2 * other - index, 2 * index - other
    if 0 <= opposite < len(window):
        # Between two neighbours what is plainly damage was taken off before motion was measured; not at an end.
        dense = atlas.motion(motion)
        deep = cv2.distanceTransform(atlas.hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3) > _DEEP
        dense[deep] = inward[deep]
        ways.append(dense)
    if 0 <= beyond < len(window):
        onward = window.carried(other, beyond)
        way = atlas.motion(onward)
        for _ in range(_PREDICTING_ROUNDS):
            way = atlas.motion(onward, way)
        # Gate and camera jump from frame to frame: the whole surroundings tell by how much.
        ways.append(way + (surrounding - atlas.motion(onward.around())))
    return ways


def onwards(window: HoleWindow, index: int, way: Plane, other: int, beyond: int) -> Plane:
    """Follow a way (h, w, 2) of a frame to another one, and from there the motion to the next."""
    return way + window.atlas(index).motion(window.carried(other, beyond), way)


def seen_along(atlas: Atlas, window: HoleWindow, other: int, way: Plane) -> BoolArray:
    """Tell where (h, w) a neighbour shows undamaged picture along a way."""
    seen = atlas.inside(way, *window.size)
    if window.holes[other].any():
        seen &= atlas.look(window.damage(other), way, how=cv2.INTER_NEAREST) == 0
    return seen

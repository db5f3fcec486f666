"""Changes of light that belong to the story: lightning, a gunshot, a stroboscope, a lamp that fails for a moment.

Flicker comes from an uneven crank, shutter, print or fading, and changes the light by a few per cent, at the very worst
by a third. What is larger by far and comes and goes within the shot was lit so before the camera, and stays. The size
from which on a change is an event is the user's to set; where the flicker itself is that strong, a change must also
stand out of it.

An event ends where the light is back: a flash that dies away stays to its last frame, and so do the frames between the
flashes of one stroke of lightning.
"""

from itertools import pairwise

import numpy as np

from ...arrays import BoolArray, DoubleArray
from ..weave.trend import robust_sigma

_STANDS_OUT = 4.0
"""Standard deviations of the flicker that an event exceeds at least."""
_TAIL = 0.25
"""Share of the size of an event, on the logarithmic scale, down to which its rise and fall belong to it."""
_TAIL_STANDS_OUT = 2.5
"""The same in standard deviations of the flicker: below, it cannot be told from the flicker."""
_BETWEEN = 2
"""Frames between two events that belong to both."""


def find_events(light: DoubleArray, size: float) -> BoolArray:
    """Tell the frames of a shot that belong to an event.

    Args:
        light: (T, parts) logarithm of the light of every part of the frame, relative to its slow changes.
        size: Factor by which the light changes in an event at least, up or down, more than 1.

    Returns:
        (T,) bool.
    """
    away = np.abs(light).max(axis=1)
    usual = robust_sigma(light[away <= np.log(size)])
    strong = away > max(np.log(size), _STANDS_OUT * usual)
    if not strong.any():
        return strong
    weak = away > max(_TAIL * np.log(size), _TAIL_STANDS_OUT * usual)
    # The side to which the light changes: what follows a flash to the other side is not its tail.
    side = np.sign(light[np.arange(len(light)), np.abs(light).argmax(axis=1)])
    found = strong.copy()
    for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
        step = 1 if order.step > 0 else -1
        for t in order:
            before = t - step
            if found[before] and weak[t] and side[t] == side[before]:
                found[t] = True
    seen = np.flatnonzero(found)
    for first, following in pairwise(seen):
        if following - first <= _BETWEEN + 1:
            found[first:following] = True
    return found

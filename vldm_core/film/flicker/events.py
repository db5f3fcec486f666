"""Changes of light that belong to the story: lightning, a gunshot, a stroboscope, a lamp that fails for a moment.

Flicker comes from an uneven crank, shutter, print or fading, and changes the light by a few per cent, at the very worst
by a third. What is larger by far and comes and goes within the shot was lit so before the camera, and stays. The size
from which on a change is an event is the user's to set; where the flicker itself is that strong, a change must also
stand out of it.

An event ends where the light is back: a flash that dies away stays to its last frame, and so do the frames between the
flashes of one stroke of lightning.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...arrays import BoolArray, DoubleArray
from ..robust import robust_sigma


@dataclass(frozen=True, kw_only=True)
class EventTests:
    """What tells an event of the story from flicker, besides the size that the user sets.

    Attributes:
        stands_out: Standard deviations of the flicker that an event exceeds at least. Lower takes the strongest frames
            of strong flicker for lightning and leaves them.
        tail: Share of the size of an event, on the logarithmic scale, down to which its rise and fall belong to it. A
            larger one cuts the dying light of a flash off as if it were flicker.
        tail_stands_out: The same in standard deviations of the flicker: below, it cannot be told from the flicker.
        span: Frames on each side, events left out, whose median is the light before and after an event.
        between: Frames between two events that belong to both: the dark ones within one stroke of lightning.
    """

    stands_out: float = 4.0
    tail: float = 0.25
    tail_stands_out: float = 2.5
    span: int = 8
    between: int = 2


_EVENT = EventTests()


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
    strong = away > max(np.log(size), _EVENT.stands_out * usual)
    if not strong.any():
        return strong
    weak = away > max(_EVENT.tail * np.log(size), _EVENT.tail_stands_out * usual)
    # The side to which the light changes: what follows a flash to the other side is not its tail.
    side = np.sign(light[np.arange(len(light)), np.abs(light).argmax(axis=1)])
    return _joined(_with_tails(strong, weak, side))


def with_dying_light(events: BoolArray, light: DoubleArray, size: float) -> BoolArray:
    """Add to events what precedes and follows them until the light is what it was.

    Args:
        events: (T,) frames that belong to events.
        light: (T, parts) logarithm of the light of every part of the frame, slow changes included.
        size: As for :func:`find_events`.

    Returns:
        (T,) bool.
    """
    calm = ~events
    if calm.all() or calm.sum() < 2:
        return events
    numbers = np.flatnonzero(calm)
    off = np.zeros_like(light)
    for t in range(len(light)):
        near = numbers[np.abs(numbers - t) <= _EVENT.span]
        off[t] = light[t] - np.median(light[near], axis=0) if len(near) else 0.0
    usual = robust_sigma(np.diff(light[numbers], axis=0)) / np.sqrt(2)
    away = np.abs(off).max(axis=1)
    weak = away > max(_EVENT.tail * np.log(size), _EVENT.tail_stands_out * usual)
    side = np.sign(off[np.arange(len(off)), np.abs(off).argmax(axis=1)])
    return _joined(_with_tails(events, weak, side))


def _with_tails(strong: BoolArray, weak: BoolArray, side: DoubleArray) -> BoolArray:
    """Add the weak frames beside strong ones, on the same side of the usual light."""
    found = strong.copy()
    for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
        step = 1 if order.step > 0 else -1
        for t in order:
            before = t - step
            if found[before] and weak[t] and side[t] == side[before]:
                found[t] = True
    return found


def _joined(found: BoolArray) -> BoolArray:
    """Add the few frames between two events."""
    seen = np.flatnonzero(found)
    for first, following in pairwise(seen):
        if following - first <= _EVENT.between + 1:
            found[first:following] = True
    return found

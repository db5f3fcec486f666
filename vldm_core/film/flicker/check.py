"""No frame may come out further from its neighbours than it came.

Flicker is measured with motion that may be wrong, on a scene that may change by itself. So the corrections are tried
before they are used: on the mean levels of a few parts of every frame and of the same parts of its neighbours, moved to
where the scene is. A frame whose distance from the mean of its neighbours would grow is corrected less or not at all,
and where that does not help, neither are its neighbours. Without any correction every distance is what it was, so this
ends. A few numbers per frame are all it takes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import BoolArray, DoubleArray
from .brightness import BrightnessChange


@dataclass(frozen=True, kw_only=True)
class HarmCheck:
    """What counts as a frame that came out further from its neighbours.

    Attributes:
        tolerance: Grey levels by which a distance may grow: less than rounding to 8 bits makes. More lets harm through;
            0 would drop corrections for rounding errors.
        least_seen: Share of a part of the frame that must have been compared. Less is a few pixels at an edge, whose
            mean says nothing of the light of the part.
        halvings: Times that a correction is halved before it is dropped: an eighth of one is not worth another round.
    """

    tolerance: float = 0.25
    least_seen: float = 0.05
    halvings: int = 3


_CHECK = HarmCheck()


def permitted(
    links: Sequence[BrightnessChange], events: BoolArray, corrected: Callable[..., DoubleArray]
) -> DoubleArray:
    """Find how much of its correction every frame may get.

    Args:
        links: Comparison of every frame with the one before, T - 1.
        events: (T,) frames that stay as they are and whose neighbours are not held against them.
        corrected: Called with mean levels (n, 4, 4), frame numbers (n,) and shares (n,) of their corrections; returns
            the levels after these.

    Returns:
        (T,) share of its correction, 0..1.
    """
    count = len(events)
    share = np.where(events, 0.0, 1.0)
    if count < 2:
        return share
    before = np.stack([link.before for link in links])
    after = np.stack([link.after for link in links])
    seen = np.stack([link.seen for link in links])
    usable = np.array([link.confidence > 0 for link in links]) & ~(events[1:] ^ events[:-1])
    weight = np.where(seen >= _CHECK.least_seen, seen, 0.0) * usable[:, None, None]
    number = np.arange(count)

    def distance(share: DoubleArray) -> DoubleArray:
        """Mean over the parts of the frame of how far each is from its neighbours, (T,)."""
        rise = corrected(after, number[1:], share[1:]) - corrected(before, number[:-1], share[:-1])
        # Of frame t against the one before, and against the one after it.
        total, weights = np.zeros((count, *rise.shape[1:])), np.zeros((count, *rise.shape[1:]))
        total[1:] += weight * rise
        weights[1:] += weight
        total[:-1] -= weight * rise
        weights[:-1] += weight
        away = np.abs(total / np.maximum(weights, 1e-9))
        return np.asarray((away * weights).sum(axis=(1, 2)) / np.maximum(weights.sum(axis=(1, 2)), 1e-9))

    came = distance(np.zeros(count))
    for attempt in range(count + _CHECK.halvings + 1):
        worse = distance(share) > came + _CHECK.tolerance
        if not worse.any():
            return share
        if attempt < _CHECK.halvings:
            share[worse] /= 2
            continue
        around = worse.copy()
        around[1:] |= worse[:-1]
        around[:-1] |= worse[1:]
        # What has nothing left to give is helped by its neighbours only.
        share[around if not share[worse].any() else worse] = 0
    return np.zeros(count)

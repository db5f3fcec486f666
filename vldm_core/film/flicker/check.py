"""A correction must bring a frame closer to its neighbours, or it is not applied.

Flicker is measured with motion that may be wrong, on a scene that may change by itself. So the corrections are tried
before they are used, on the cells of every frame and of its neighbours, moved to where the scene is. A frame gets the
least of three stages (nothing, gain and contrast, the field as well) that no greater one betters by what counts. Then
no frame may be further from the mean of its neighbours than it came: its correction is lowered, and where that does not
help, those of its neighbours are. Without any correction every distance is what it was, so this ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import BoolArray, DoubleArray
from .brightness import PIVOT, CellChange
from .model import BrightnessModel

STAGES = ((1.0, 1.0), (1.0, 0.0), (0.0, 0.0))
"""What a frame may get, of its gain and contrast and of its field: all, what holds for the whole frame, nothing."""


@dataclass(frozen=True, kw_only=True)
class HarmCheck:
    """What counts as a correction that pays, and as a frame that came out further from its neighbours.

    Attributes:
        pays: Share of a frame's distance from its neighbours by which a stage must lower it beside the next lesser one.
            0 would let in what fits noise, more leaves weak flicker in.
        tolerance: Grey levels by which a distance may grow: less than rounding to 8 bits makes. More lets harm through;
            0 would drop corrections for rounding errors.
        sweeps: Times that the stages of all frames are chosen, each beside what its neighbours have got.
        halvings: Times that a correction is halved before it is dropped: an eighth of one is not worth another round.
    """

    pays: float = 0.12
    tolerance: float = 0.25
    sweeps: int = 3
    halvings: int = 3


_CHECK = HarmCheck()


def permitted(
    links: Sequence[CellChange], events: BoolArray, correction: DoubleArray, model: BrightnessModel
) -> DoubleArray:
    """Find how much of its correction every frame may get.

    Args:
        links: Comparison of every frame with the one before, T - 1.
        events: (T,) frames that stay as they are and whose neighbours are not held against them.
        correction: (T, values) what is to be taken out, by the model.
        model: Of the shot.

    Returns:
        (T, 2) shares of gain and contrast, and of the field, 0..1.
    """
    count = len(events)
    if count < 2:
        return np.where(events, 0.0, 1.0)[:, None].repeat(2, axis=1)
    trial = _Trial(links, events, correction, model)
    share = np.where(events, 0.0, 1.0)[:, None].repeat(2, axis=1)
    for _ in range(_CHECK.sweeps):
        chosen = trial.best_stages(share) * ~events[:, None]
        if np.array_equal(chosen, share):
            break
        share = chosen
    return _no_worse(trial, share)


class _Trial:
    """Tries corrections on the cells of a shot."""

    def __init__(
        self, links: Sequence[CellChange], events: BoolArray, correction: DoubleArray, model: BrightnessModel
    ) -> None:
        level, ratio = (
            np.stack([getattr(link, name) for link in links]).astype(np.float64) for name in ("level", "ratio")
        )
        weight = np.stack([link.weight for link in links]) * ~(events[1:] ^ events[:-1])[:, None]
        self._weight = weight.astype(np.float64)
        # Logarithms at both ends of a link, (links, cells).
        self._ends = np.log(PIVOT) + level - ratio / 2, np.log(PIVOT) + level + ratio / 2
        # Log gain of what holds for the whole frame and of the field, at both ends of a link.
        self._taken = [
            [model.of_cells(values[frames], level) for frames in (np.s_[:-1], np.s_[1:])]
            for values in (_only(correction, np.s_[:2]), _only(correction, np.s_[2:]))
        ]

    def rises(self, before: DoubleArray, after: DoubleArray) -> DoubleArray:
        """Grey levels between a frame and the one before, (T - 1, cells), after shares (T - 1, 2) of both."""
        shown = []
        for end, (levels, share) in enumerate(zip(self._ends, (before, after), strict=True)):
            gone = sum(share[:, part, None] * taken[end] for part, taken in enumerate(self._taken))
            shown.append(np.exp(levels - gone))
        return np.asarray(shown[1] - shown[0])

    def best_stages(self, share: DoubleArray) -> DoubleArray:
        """The least stage of every frame, (T, 2), that no greater one betters by what counts."""
        chosen = share.copy()
        for parity in (0, 1):
            costs = np.stack([self._cost(chosen, np.broadcast_to(stage, share.shape)) for stage in STAGES])
            best = np.broadcast_to(STAGES[-1], share.shape).copy()
            least = costs[-1]
            for stage, cost in zip(STAGES[-2::-1], costs[-2::-1], strict=True):
                pays = cost < (1 - _CHECK.pays) * least
                best[pays] = stage
                least = np.where(pays, cost, least)
            chosen[parity::2] = best[parity::2]
        return chosen

    def _cost(self, others: DoubleArray, own: DoubleArray) -> DoubleArray:
        """Sum of the differences of every frame, with its own share, from its neighbours with theirs, (T,)."""
        before = (self._weight * np.abs(self.rises(others[:-1], own[1:]))).sum(axis=1)
        after = (self._weight * np.abs(self.rises(own[:-1], others[1:]))).sum(axis=1)
        return np.asarray(np.r_[0.0, before] + np.r_[after, 0.0])

    def distance(self, share: DoubleArray) -> DoubleArray:
        """Mean over the cells of how far each is from the mean of its neighbours, grey levels, (T,)."""
        rise, weight = self._weight * self.rises(share[:-1], share[1:]), self._weight
        none = np.zeros((1, weight.shape[1]))
        total = np.concatenate([none, rise]) - np.concatenate([rise, none])
        weights = np.concatenate([none, weight]) + np.concatenate([weight, none])
        away = np.abs(total)
        return np.asarray(away.sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9))


def _only(values: DoubleArray, kept: slice) -> DoubleArray:
    result = np.zeros_like(values)
    result[:, kept] = values[:, kept]
    return result


def _no_worse(trial: _Trial, share: DoubleArray) -> DoubleArray:
    """Lower shares until no frame is further from its neighbours than it came."""
    count = len(share)
    came = trial.distance(np.zeros_like(share))
    for attempt in range(count + _CHECK.halvings + 1):
        worse = trial.distance(share) > came + _CHECK.tolerance
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
    return np.zeros_like(share)

"""How the looks at a hole are combined: none of them is trusted alone, and none that stands apart is mixed in.

Grain is independent from frame to frame and motion errors are not, so a place is averaged over all neighbours that
agree. What they agree on is a median weighted by how well each fits around the hole; a look far from it there loses its
say. The ways along which one neighbour is looked up show one grain, and share one say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import Plane
from .atlas import Atlas
from .neighbours import Look


@dataclass(frozen=True, kw_only=True)
class LookMix:
    """How the looks at a hole are combined.

    Attributes:
        grain: Grey levels², added to a cost before it is weighed: the variance that grain alone gives, below which two
            looks are as good as each other.
        way_sharpness: Power of the cost by which the worse ways to one neighbour lose their say: one of them is right.
        sharpness: Power by which the worse neighbours do: all of them may be right, and their grain averages out.
        agreement_window: Pixels on each side of the square over which a look is compared with what all agree on.
        hopeless: Grey levels², error of a place that nobody shows.
        unheard: Share of the best look's say below which a look is not asked: it costs a lookup and changes nothing.
    """

    grain: float = 4.0
    way_sharpness: float = 3.0
    sharpness: float = 1.5
    agreement_window: int = 3
    hopeless: float = 1e4
    unheard: float = 0.01


MIX = LookMix()


def shares(atlas: Atlas, looks: Sequence[Look], costs: Sequence[Plane]) -> tuple[list[Plane], Plane]:
    """Return the share of every look in a fill.

    Args:
        atlas: Boxes around the holes.
        looks: At the frame.
        costs: (h, w) of each, by which they are ranked.

    Returns:
        Shares (N,) of the damaged pixels, zero where a look does not show a place; and the expected squared error (N,)
        of the mix, grey levels².
    """
    own = atlas.own
    count = len(own[0])
    if not looks:
        return [], np.full(count, MIX.hopeless, np.float32)
    seen = np.stack([look.seen[own] for look in looks])
    cost = np.where(seen, np.stack([cost[own] for cost in costs]), np.float32(MIX.hopeless))
    shown = np.stack([look.grey[own] for look in looks])
    others = np.array([look.other for look in looks])
    middle = weighted_median(shown, _said(cost, seen, others))
    apart = np.stack(
        [_apart(atlas, np.square(values - middle), known) for values, known in zip(shown, seen, strict=True)]
    )
    said = _said(cost + apart, seen, others)
    said = np.where(said < MIX.unheard * said.max(axis=0), 0, said)
    total = said.sum(axis=0)
    said /= np.maximum(total, 1e-24)
    errors = np.stack([look.error[own] for look in looks]) + apart
    error = np.where(total > 0, (said * errors).sum(axis=0), MIX.hopeless).astype(np.float32)
    return list(said), error


def weighted_median(values: NDArray[np.float32], weights: NDArray[np.float32]) -> Plane:
    """Return the weighted medians (N,) of values (K, N)."""
    # Rows that lie together are sorted several times as fast.
    by_place, their = np.ascontiguousarray(values.T), np.ascontiguousarray(weights.T)
    order = np.argsort(by_place, axis=1)
    reached = np.cumsum(np.take_along_axis(their, order, axis=1), axis=1)
    middle = (reached < reached[:, -1:] / 2).sum(axis=1)
    chosen = np.take_along_axis(order, np.minimum(middle, len(values) - 1)[:, None], axis=1)
    return np.asarray(np.take_along_axis(by_place, chosen, axis=1)[:, 0])


def _said(cost: NDArray[np.float32], seen: NDArray[np.bool_], others: NDArray[np.intp]) -> NDArray[np.float32]:
    """Weights (K, N) of looks by their cost: the ways to a neighbour share what the neighbour has to say."""
    ways = np.where(seen, (cost + np.float32(MIX.grain)) ** np.float32(-MIX.way_sharpness), 0)
    said = np.zeros_like(ways)
    for other in np.unique(others):
        mine = others == other
        own = ways[mine] / np.maximum(ways[mine].sum(axis=0), 1e-30)
        typical = (own * cost[mine]).sum(axis=0) + np.float32(MIX.grain)
        said[mine] = own * typical ** np.float32(-MIX.sharpness)
    return said


def _apart(atlas: Atlas, squared: Plane, known: NDArray[np.bool_]) -> Plane:
    """Average squared differences (N,) over small squares of the damaged pixels that a look shows."""
    size = (MIX.agreement_window,) * 2
    plane, weight = np.zeros((2, *atlas.hole.shape), np.float32)
    plane[atlas.own], weight[atlas.own] = np.where(known, squared, 0), known
    return np.asarray(cv2.blur(plane, size)[atlas.own] / np.maximum(cv2.blur(weight, size)[atlas.own], 1e-6))

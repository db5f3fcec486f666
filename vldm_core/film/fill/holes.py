"""Fill the holes of one frame: looks at its neighbours, mixed, unveiled, inpainted where nobody shows them, grained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...arrays import BoolArray, Plane
from ..flicker.local_gain import apply_gain
from .atlas import Atlas
from .carry import CarryIn
from .combination import shares
from .grain import Grain, grain_noise, kept_by_kernel, measure_grain, seed_of
from .neighbours import Look, costs_of, fine_energy, joint_costs, misfit, sample, taps
from .seam import inpainted, membrane, variation_around
from .translucent import lift_veil
from .ways import onwards, seen_along, ways_to
from .window import HoleWindow


@dataclass(frozen=True, kw_only=True)
class FillCourse:
    """Which frames are asked for a hole, and what becomes of a fill in doubt.

    Attributes:
        near: Frames on each side that are always asked: grain averages out over them, as in the averaging of whole
            frames; farther ones drift.
        fewest_missing: Pixels that are missing still from which on a farther frame is looked at.
        doubt: Grey levels², error of a fill at which it and a given fallback count the same: 50 levels off.
        fallback_grain: Share of the variance of grain that a fallback, a mean of a few pixels, has kept.
        rim: Pixels on each side of the square by which holes are widened to leave their soft rim out: two wide.
        strongest_grain: Variance of the grain around a hole, as a share of that of the whole frame, at most: grain
            depends on brightness, by no more than this.
    """

    near: int = 3
    fewest_missing: int = 6
    doubt: float = 2500.0
    fallback_grain: float = 0.3
    rim: int = 5
    strongest_grain: float = 1.6


_COURSE = FillCourse()


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundFill:
    """A fill.

    Attributes:
        colours: (N, C) of the damaged pixels, grey levels, 0 … 255.
        error: (N,) its expected squared error, grey levels²; where no neighbour shows the place, how much the picture
            varies around it.
        missing: (N,) where none does.
    """

    colours: Plane
    error: Plane
    missing: BoolArray


_RIM = np.ones((_COURSE.rim, _COURSE.rim), np.uint8)


def fill(window: HoleWindow, index: int, *, reach: int, grain: float, fallback: Plane | None = None) -> Plane | None:
    """Return the colours (N, C) of the holes of a frame, grey levels, 0 … 255.

    Args:
        window: The shot.
        index: Frame with at least one hole.
        reach: Frames on each side that may be asked.
        grain: Share of the missing grain to give back, 0 … 1.
        fallback: (N, C) what to take where no neighbour shows a place, in place of inpainting; nothing then shows
            through the holes.

    Returns:
        None where the frame is one hole and no neighbour shows anything of it.
    """
    found = fill_or_doubt(window, index, reach=reach, grain=grain, fallback=fallback)
    return None if found is None else found.colours


def fill_or_doubt(
    window: HoleWindow, index: int, *, reach: int, grain: float, fallback: Plane | None = None
) -> "FoundFill | None":
    """Do what `fill` does, and tell how far the fill can be off; see there."""
    atlas, picture = window.atlas(index), window.colour(index)
    grey = atlas.cut(window.grey(index))
    first, looks = _looks(window, index, reach)
    missing = ~_shown(atlas, looks)
    if missing.all() and atlas.hole.all():
        return None
    weights, error = shares(atlas, looks, costs_of(looks, fine_energy(grey)) if looks else [])
    model = _grain_of(window, index, first) if grain > 0 else None
    # Around large damage there is more of it that was not marked, and would be given back as grain.
    strongest = np.float32(0 if model is None else _COURSE.strongest_grain * window.grain(index) ** 2 / 2)
    filled = np.zeros((len(missing), picture.shape[2]), np.float32)
    kept: dict[int, Plane] = {}
    x, y = atlas.x[atlas.own], atlas.y[atlas.own]
    for look, weight in zip(looks, weights, strict=True):
        heard = np.flatnonzero(weight)
        if not len(heard):
            continue
        pixels = atlas.own[0][heard], atlas.own[1][heard]
        flow, weight = look.flow[pixels], weight[heard]
        there = x[heard] + flow[:, 0], y[heard] + flow[:, 1]
        values = sample(window.colour(look.other), *there)
        filled[heard] += weight[:, None] * apply_gain(values, look.gain[pixels][:, None])
        if model is not None:
            across, down = taps(*there)
            share = kept_by_kernel(across, model.correlation[0]) * kept_by_kernel(down, model.correlation[1])
            # Along its several flows one neighbour mostly shows the same grain.
            amount = kept.setdefault(look.other, np.zeros(len(missing), np.float32))
            amount[heard] += weight * np.sqrt(np.maximum(share, 0))
    seen = ~missing
    filled[seen] += membrane(atlas, grey, first)[seen, None]
    through, share = np.zeros((2, len(missing)), np.float32)
    if fallback is None:
        filled = inpainted(atlas, picture, filled, missing)
        share = np.ones_like(share)
        filled, through = lift_veil(atlas, picture[atlas.place], filled, error)
    else:
        # A look at another frame that fits badly is worse than the fallback.
        share = np.where(missing, 0, np.float32(_COURSE.doubt) / (np.float32(_COURSE.doubt) + error)).astype(np.float32)
        filled = fallback + share[:, None] * (filled - fallback)
    if model is not None:
        left = sum((np.square(amount) for amount in kept.values()), np.zeros(len(missing), np.float32))
        left = np.where(missing, 0, np.square(share * (1 - through)) * left) + np.square(through)
        if fallback is not None:
            left += _COURSE.fallback_grain * np.square(1 - share)
        lost = np.sqrt(np.maximum(1 - left, 0) * np.minimum(model.variance[atlas.own], strongest))
        noise = grain_noise(atlas.place, model.correlation, model.mixing.shape[1], seed_of(window.grey(index)))
        filled = filled + grain * lost[:, None] * (noise @ model.mixing.T)
    if missing.any():
        error = np.where(missing, variation_around(atlas, grey), error)
    return FoundFill(colours=np.clip(filled, 0, 255), error=error, missing=missing)


def _shown(atlas: Atlas, looks: Sequence[Look]) -> BoolArray:
    """Which of the damaged pixels any look shows, (N,)."""
    shown = np.zeros(len(atlas.own[0]), bool)
    for look in looks:
        shown |= look.seen[atlas.own]
    return shown


def _looks(window: HoleWindow, index: int, reach: int) -> tuple[list[Look], list[Look]]:
    """Look the holes of a frame up: in the frames beside it along several ways, then in farther ones along the best.

    Returns:
        The looks at the two frames beside it, and all looks.
    """
    atlas = window.atlas(index)
    frame = atlas.cut(window.grey(index))
    around = cv2.dilate(atlas.hole.astype(np.uint8), _RIM) > 0
    carry = CarryIn(around)
    asked = None if window.alone is None else ~(atlas.cut(window.alone[index]) & atlas.hole)

    def gain_over(other: int) -> Plane:
        return window.gain(atlas, index, other, window.past_holes(index, other))

    def look(other: int, way: Plane, gain: Plane, kind: int = 0) -> Look:
        seen = seen_along(atlas, window, other, way)
        if asked is not None:
            seen = seen & asked
        picture = apply_gain(atlas.look(window.grey(other), way, how=cv2.INTER_CUBIC), gain)
        apart = frame - picture
        error, veil = misfit(apart, seen & ~around, carry), fine_energy(apart)
        return Look(other, 1 if other > index else -1, kind, way, gain, picture, seen, error, veil)

    first = []
    for other in (index - 1, index + 1):
        if 0 <= other < len(window):
            gain = gain_over(other)
            first += [look(other, way, gain, kind) for kind, way in enumerate(ways_to(window, index, other))]
    looks, best = list(first), _best_ways(first, frame)
    missing = ~_shown(atlas, first)
    for distance in range(2, 1 + reach):
        if distance > _COURSE.near and int(missing.sum()) < _COURSE.fewest_missing:
            break
        more = []
        for step, way in best.items():
            other = index + step * distance
            if 0 <= other < len(window):
                best[step] = onwards(window, index, way, other - step, other)
                more.append(look(other, best[step], gain_over(other)))
        if distance > _COURSE.near:
            gone = np.zeros(atlas.hole.shape, bool)
            gone[atlas.own] = missing
            more = [replace(found, seen=found.seen & gone) for found in more]
        looks += more
        missing &= ~_shown(atlas, more)
    return first, looks


def _best_ways(looks: Sequence[Look], frame: Plane) -> dict[int, Plane]:
    """Of the ways into the past and into the future, the best one of every pixel, (h, w, 2) each."""
    if not looks:
        return {}
    costs = joint_costs(looks, costs_of(looks, fine_energy(frame)))
    best: dict[int, tuple[Plane, Plane]] = {}
    for look, cost in zip(looks, costs, strict=True):
        cost = np.where(look.seen, cost, np.float32(np.inf))
        if look.step not in best:
            best[look.step] = look.flow.copy(), cost
            continue
        way, least = best[look.step]
        better = cost < least
        np.copyto(way, look.flow, where=better[..., None])
        np.copyto(least, cost, where=better)
    return {step: way for step, (way, _) in best.items()}


def _grain_of(window: HoleWindow, index: int, looks: Sequence[Look]) -> Grain | None:
    """Measure the grain around the holes against the neighbour that shows most of it."""
    best = max(looks, key=lambda look: int(look.seen.sum()), default=None)
    if best is None:
        return None
    atlas = window.atlas(index)
    x, y = np.rint(atlas.x + best.flow[..., 0]), np.rint(atlas.y + best.flow[..., 1])
    there = cv2.remap(window.grey(best.other), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    free = atlas.cut(cv2.erode((~window.holes[index]).astype(np.uint8), _RIM)) > 0
    frame = atlas.cut(window.grey(index))
    return measure_grain(atlas, frame, apply_gain(there, best.gain), free & best.seen, window.colour(index))

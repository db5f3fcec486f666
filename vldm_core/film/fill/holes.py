"""Fill the holes of one frame: looks at its neighbours, mixed, unveiled, inpainted where nobody shows them, grained."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...arrays import BoolArray, Plane
from ...video.flow import fill_masked
from ...video.warping import inside_array, warp_array
from ..flicker.local_gain import GAIN, apply_gain, local_gain_of_reduced
from ..motion.field import MotionField
from .atlas import Atlas
from .grain import Grain, grain_noise, kept_by_kernel, measure_grain, seed_of
from .neighbours import Look, joint_costs, misfit, sample
from .translucent import lift_veil
from .window import HoleWindow


@dataclass(frozen=True, kw_only=True)
class FillMix:
    """How the looks at a hole are mixed.

    Attributes:
        grain: Grey levels², added to a cost before it is weighed: the variance that grain alone gives, below which two
            looks are as good as each other.
        sharpness: Power of the cost by which a worse look loses its say. Higher takes the best alone, with its grain
            and its errors; lower blurs.
        hopeless: Grey levels², cost of a place that nobody shows.
        unheard: Share of the best look's say below which a look is not asked: it costs a lookup and changes nothing.
        fewest_missing: Pixels that are missing still from which on a farther frame is looked at.
        doubt: Grey levels², cost of a fill at which it and a given fallback count the same: 50 levels off.
        fallback_grain: Share of the variance of grain that a fallback, a mean of a few pixels, has kept.
        rim: Pixels on each side of the square by which holes are widened to leave their soft rim out: two wide.
    """

    grain: float = 4.0
    sharpness: float = 3.0
    hopeless: float = 1e4
    unheard: float = 0.01
    fewest_missing: int = 6
    doubt: float = 2500.0
    fallback_grain: float = 0.3
    rim: int = 5


@dataclass(frozen=True, kw_only=True)
class SeamOffset:
    """How the offset is measured that takes the seam off a fill.

    Attributes:
        foot: Pixels on each side of the square by which holes are widened: the foot of a defect, three wide, is fainter
            than any mask shows, and would be spread inwards.
        largest_step: Grey levels of a difference at the rim above which it is motion and not light.
        motion: Grey levels² at which the say of a difference has fallen to a half, for the same reason.
        sigma: Pixels over which the rim's differences are smoothed: grain averages out, and the light of the place
            remains.
        least_weight: Weight that "no offset" has, of 1 for a full surrounding: where hardly any rim is seen, the fill
            is left as it is.
    """

    foot: int = 7
    largest_step: float = 24.0
    motion: float = 64.0
    sigma: float = 3.0
    least_weight: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Inpainting:
    """How is painted what nobody shows.

    Attributes:
        sigma: Pixels of the blur of the surroundings before, and of the painted after: grain at the rim would be drawn
            into streaks.
        radius: Pixels around each that inpainting looks at: OpenCV's customary value; more costs with its square.
    """

    sigma: float = 1.5
    radius: float = 3


_MIX = FillMix()
_SEAM = SeamOffset()
_PAINT = Inpainting()
_RIM = np.ones((_MIX.rim, _MIX.rim), np.uint8)
_FOOT = np.ones((_SEAM.foot, _SEAM.foot), np.uint8)


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
    atlas, picture = window.atlas(index), window.colour(index)
    looks = _looks(window, index, 1)
    first = list(looks)
    missing = ~_shown(atlas, looks)
    for distance in range(2, 1 + reach):
        # Farther frames drift; they are asked only where nobody nearer shows the place.
        if int(missing.sum()) < _MIX.fewest_missing:
            break
        more = _looks(window, index, distance)
        gone = np.zeros(atlas.hole.shape, bool)
        gone[atlas.own] = missing
        looks += [replace(look, seen=look.seen & gone) for look in more]
        missing &= ~_shown(atlas, more)
    if missing.all() and atlas.hole.all():
        return None
    weights, cost = _weights(atlas, looks)
    model = _grain_of(window, index, first) if grain > 0 else None
    filled = np.zeros((len(missing), picture.shape[2]), np.float32)
    kept: dict[int, Plane] = {}
    x, y = atlas.x[atlas.own], atlas.y[atlas.own]
    for look, weight in zip(looks, weights, strict=True):
        heard = np.flatnonzero(weight)
        if not len(heard):
            continue
        pixels = atlas.own[0][heard], atlas.own[1][heard]
        flow, weight = look.flow[pixels], weight[heard]
        values, across, down = sample(window.colour(look.other), x[heard] + flow[:, 0], y[heard] + flow[:, 1])
        filled[heard] += weight[:, None] * apply_gain(values, look.gain[pixels][:, None])
        if model is not None:
            share = kept_by_kernel(across, model.correlation[0]) * kept_by_kernel(down, model.correlation[1])
            # Along its several flows one neighbour mostly shows the same grain.
            amount = kept.setdefault(look.other, np.zeros(len(missing), np.float32))
            amount[heard] += weight * np.sqrt(np.maximum(share, 0))
    seen = ~missing
    filled[seen] += _membrane(atlas, atlas.cut(window.grey(index)), first)[seen, None]
    through, share = np.zeros((2, len(missing)), np.float32)
    if fallback is None:
        filled = _inpainted(atlas, picture, filled, missing)
        share = np.ones_like(share)
        filled, through = lift_veil(atlas, picture[atlas.place], filled, cost)
    else:
        # A look at another frame that fits badly is worse than the fallback.
        share = np.where(missing, 0, np.float32(_MIX.doubt) / (np.float32(_MIX.doubt) + cost)).astype(np.float32)
        filled = fallback + share[:, None] * (filled - fallback)
    if model is not None:
        left = sum((np.square(amount) for amount in kept.values()), np.zeros(len(missing), np.float32))
        left = np.where(missing, 0, np.square(share * (1 - through)) * left) + np.square(through)
        if fallback is not None:
            left += _MIX.fallback_grain * np.square(1 - share)
        lost = np.sqrt(np.maximum(1 - left, 0) * model.variance[atlas.own])
        noise = grain_noise(atlas.place, model.correlation, model.mixing.shape[1], seed_of(window.grey(index)))
        filled = filled + grain * lost[:, None] * (noise @ model.mixing.T)
    return np.clip(filled, 0, 255)


def _shown(atlas: Atlas, looks: list[Look]) -> BoolArray:
    """Which of the damaged pixels any look shows, (N,)."""
    shown = np.zeros(len(atlas.own[0]), bool)
    for look in looks:
        shown |= look.seen[atlas.own]
    return shown


def _weights(atlas: Atlas, looks: list[Look]) -> tuple[list[Plane], Plane]:
    """Share (N,) of every look in the fill, zero where none shows a place; and the expected squared error (N,)."""
    costs = [cost[atlas.own] for cost in joint_costs(looks)]
    raw = [
        look.seen[atlas.own] * (cost + _MIX.grain) ** -_MIX.sharpness for look, cost in zip(looks, costs, strict=True)
    ]
    blank = np.zeros(len(atlas.own[0]), np.float32)
    loudest = np.max(raw, axis=0) if raw else blank
    raw = [np.where(weight < _MIX.unheard * loudest, 0, weight) for weight in raw]
    total = np.maximum(sum(raw, blank), 1e-24)
    weights = [weight / total for weight in raw]
    error = sum((weight * cost for weight, cost in zip(weights, costs, strict=True)), np.zeros_like(total))
    return weights, np.where(total > 1e-24, error, np.float32(_MIX.hopeless)).astype(np.float32)


def _looks(window: HoleWindow, index: int, distance: int) -> list[Look]:
    """Look the frame up in the two frames at a distance, along several motions."""
    atlas, shape = window.atlas(index), window.holes[index].shape
    frame = atlas.cut(window.grey(index))
    around = cv2.dilate(atlas.hole.astype(np.uint8), _RIM) > 0
    looks = []
    for step in (-1, 1):
        other = index + step * distance
        if not 0 <= other < len(window):
            continue
        motion = window.past_holes(index, other)
        dense = motion.at(atlas.x, atlas.y)
        carried = np.dstack([fill_masked(np.ascontiguousarray(dense[..., axis]), around) for axis in (0, 1)])
        gain = atlas.cut(_gain(window, index, other, motion))
        damaged = bool(window.holes[other].any())
        for way in (dense, motion.around().at(atlas.x, atlas.y), carried):
            seen = atlas.inside(way, *shape)
            if damaged:
                seen &= atlas.look(window.damage(other), way) == 0
            shown = apply_gain(atlas.look(window.grey(other), way), gain)
            looks.append(Look(other, step, way, gain, shown, seen, misfit(frame - shown, atlas.hole | ~seen)))
    return looks


def _gain(window: HoleWindow, index: int, other: int, motion: MotionField) -> Plane:
    """Gain (H, W) of a frame over another one, looked up along a motion."""
    (here, known), (there, known_there) = window.reduced(index), window.reduced(other)
    height, width = here.shape
    small = motion.resized(height, width) / np.float32(GAIN.shrink)
    looked = warp_array(np.dstack([there, known_there.astype(np.float32)]), small)
    known = known & (looked[..., 1] == 1) & inside_array(small)
    return local_gain_of_reduced(looked[..., 0], here, known, window.size)


def _grain_of(window: HoleWindow, index: int, looks: list[Look]) -> Grain | None:
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


def _membrane(atlas: Atlas, frame: Plane, looks: list[Look]) -> Plane:
    """Offset (N,) that takes the seam off a fill: what the frame has over its looks at the rim, carried inwards.

    Compare P. Perez, M. Gangnet, A. Blake, "Poisson Image Editing", SIGGRAPH 2003: the difference at the border,
    interpolated smoothly, is what blending in the gradient domain adds.
    """
    rim = cv2.dilate(atlas.hole.astype(np.uint8), _FOOT) == 0
    total, weight = np.zeros_like(frame), np.zeros_like(frame)
    for look in looks:
        difference = frame - look.grey
        # A large difference is motion and not light.
        known = (rim & look.seen & (np.abs(difference) < _SEAM.largest_step)).astype(np.float32)
        known /= 1 + np.square(difference) / _SEAM.motion
        total += known * difference
        weight += known
    total, weight = (cv2.GaussianBlur(plane, (0, 0), _SEAM.sigma) for plane in (total, weight))
    offset = total / (weight + np.float32(_SEAM.least_weight))
    return np.asarray(fill_masked(offset, ~rim)[atlas.own])


def _inpainted(atlas: Atlas, picture: Plane, filled: Plane, missing: BoolArray) -> Plane:
    """Paint what no neighbour shows from its surroundings (Navier-Stokes, Bertalmio et al. 2001)."""
    if not missing.any():
        return filled
    todo = atlas.hole.copy()
    todo[atlas.own] = missing
    shown = atlas.cut(picture)
    if todo.all():
        return np.where(missing[:, None], shown[atlas.own], filled)
    shown[atlas.own] = filled
    # Inpainting draws grain at the rim into streaks, so it begins from surroundings without.
    known = (~todo).astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(known, (0, 0), _PAINT.sigma), 1e-6)[..., None]
    shown = cv2.GaussianBlur(shown * known[..., None], (0, 0), _PAINT.sigma).reshape(shown.shape) / weight
    levels = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    painted = cv2.GaussianBlur(
        cv2.inpaint(levels, todo.astype(np.uint8), _PAINT.radius, cv2.INPAINT_NS).astype(np.float32),
        (0, 0),
        _PAINT.sigma,
    ).reshape(shown.shape)
    return np.where(missing[:, None], painted[atlas.own], filled).astype(np.float32)

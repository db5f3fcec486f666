"""The seam of a fill, and what is painted where no neighbour shows a place."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import BoolArray, Plane
from ...video.flow import fill_masked
from .atlas import Atlas
from .neighbours import Look


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
        variation: Pixels on each side of the square in which the picture beside a hole is compared: how much it varies
            there is how far what is painted may be off.
    """

    sigma: float = 1.5
    radius: float = 3
    variation: int = 15


_SEAM = SeamOffset()
_PAINT = Inpainting()
_FOOT = np.ones((_SEAM.foot, _SEAM.foot), np.uint8)


def membrane(atlas: Atlas, frame: Plane, looks: Sequence[Look]) -> Plane:
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


def inpainted(atlas: Atlas, picture: Plane, filled: Plane, missing: BoolArray) -> Plane:
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


def variation_around(atlas: Atlas, frame: Plane) -> Plane:
    """Variance (N,) of the undamaged picture around the holes, carried into them, grey levels²."""
    known = (cv2.dilate(atlas.hole.astype(np.uint8), _FOOT) == 0).astype(np.float32)
    if not known.any():
        return np.full(len(atlas.own[0]), np.var(frame), np.float32)
    size = (_PAINT.variation,) * 2
    weight = cv2.blur(known, size)
    mean, square = (cv2.blur(plane * known, size) / np.maximum(weight, 1e-6) for plane in (frame, np.square(frame)))
    return np.asarray(fill_masked(np.maximum(square - mean * mean, 0), weight < 1e-3)[atlas.own])

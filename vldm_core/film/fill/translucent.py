"""Lift translucent defects: where the scene shows through, the frame itself is the best witness.

A translucent defect lets a share of the light through, so on a scale of logarithms it adds a smooth field to the
frame. The field is read where the neighbours in time agree on what should be there, and carried to where they do not:
behind a faint blotch, an arm that moves is seen in this frame alone. A defect brighter than the scene veils the
complement of the picture, its distance to white, in the same way.

Whether a place is translucent at all shows in its detail, which then follows the detail of the fill.
"""

import cv2
import numpy as np

from ...arrays import Plane
from .atlas import Atlas

# All in grey levels or their squares. Costs far above the trust level leave a fill no voice about the veil.
_TRUST_LEVEL = 60.0
_PEDESTAL = 4.0
_FLOOR = 4.0
_SIGMA = 2.0
_WIDE_SIGMA = 3 * _SIGMA
_WIDE_SHARE = 0.05
_LIKENESS_SIGMA = 4.0
_LEAST_CORRELATION = 0.8
_LEAST_SLOPE = 0.6
_LEAST_COVER = 0.3
_DENSEST = 1.2
_MISFIT_WEIGHT = 2.0
_CONTRADICTION_WEIGHT = 4.0


def lift_veil(atlas: Atlas, frame: Plane, filled: Plane, cost: Plane) -> tuple[Plane, Plane]:
    """Improve a fill by what shows through the defects.

    Args:
        atlas: Boxes around the holes.
        frame: (N, C) what the frame shows in the holes, grey levels.
        filled: (N, C) the fill.
        cost: (N,) expected squared error of the fill.

    Returns:
        The improved fill (N, C), and the share (N,) of the frame in it, 0 … 1.
    """
    own, shape = atlas.own, atlas.hole.shape

    def spread(values: Plane) -> Plane:
        plane = np.zeros((*shape, *values.shape[1:]), np.float32)
        plane[own] = values
        return plane

    trust = spread(np.square(1 / (1 + cost / np.float32(_TRUST_LEVEL))))
    near, wide = (cv2.GaussianBlur(trust, (0, 0), sigma) for sigma in (_SIGMA, _WIDE_SIGMA))

    def smooth(plane: Plane) -> Plane:
        weighted = plane * (trust if plane.ndim == 2 else trust[..., None])
        close, far = (cv2.GaussianBlur(weighted, (0, 0), sigma).reshape(plane.shape) for sigma in (_SIGMA, _WIDE_SIGMA))
        below, all_below = (near, wide) if plane.ndim == 2 else (near[..., None], wide[..., None])
        return (close + _WIDE_SHARE * far / np.maximum(all_below, 1e-9)) / (below + _WIDE_SHARE)

    filled = np.clip(filled, 0, 255)
    dark = cv2.blur(spread((frame - filled).mean(axis=1)) * trust, (9, 9))[own][:, None] < 0
    seen = np.log(np.where(dark, frame, 255 - frame) + _PEDESTAL)
    wanted = np.log(np.where(dark, filled, 255 - filled) + _PEDESTAL)
    veil = np.minimum(smooth(spread(seen - wanted))[own], 0)
    lifted = np.exp(seen - veil) - _PEDESTAL
    lifted = np.where(dark, lifted, 255 - lifted)
    error = spread(np.square(lifted - filled).mean(axis=1))
    # Where the fill is believed, it is a witness at the very place.
    contradiction = trust[own] * cv2.blur(error, (3, 3))[own]
    lifted_cost = _MISFIT_WEIGHT * smooth(error)[own] + _CONTRADICTION_WEIGHT * contradiction

    def detail(values: Plane) -> Plane:
        plane = spread(values.mean(axis=1))
        return plane - cv2.GaussianBlur(plane * trust, (0, 0), _SIGMA) / np.maximum(near, 1e-9)

    shown, expected = detail(seen), detail(wanted)
    together, alone, reference = (
        cv2.GaussianBlur(product * trust, (0, 0), _LIKENESS_SIGMA)[own]
        for product in (shown * expected, shown * shown, expected * expected)
    )
    cover = cv2.blur((trust > 0).astype(np.float32), (15, 15))[own]
    translucent = (
        (together > _LEAST_CORRELATION * np.sqrt(np.maximum(alone * reference, 1e-24)))
        & (together > _LEAST_SLOPE * reference)
        & (cover > _LEAST_COVER)
        & (veil.mean(axis=1) > -_DENSEST)
    )
    weight = np.where(translucent, (lifted_cost + _FLOOR) ** -3.0, 0)
    share = (weight / (weight + (cost + _FLOOR) ** -3.0)).astype(np.float32)
    return np.clip(filled + share[:, None] * (lifted - filled), 0, 255), share

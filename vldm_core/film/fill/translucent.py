"""Lift translucent defects: where the scene shows through, the frame itself is the best witness.

A translucent defect lets a share of the light through, so on a scale of logarithms it adds a smooth field to the
frame. The field is read where the neighbours in time agree on what should be there, and carried to where they do not:
behind a faint blotch, an arm that moves is seen in this frame alone. A defect brighter than the scene veils the
complement of the picture, its distance to white, in the same way.

Whether a place is translucent at all shows in its detail, which then follows the detail of the fill.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import Plane
from .atlas import Atlas


@dataclass(frozen=True, kw_only=True)
class VeilField:
    """How the smooth field that a translucent defect adds is read.

    Attributes:
        trust_cost: Expected squared error of a fill, grey levels², at which its say about the veil has fallen to a
            quarter. Costs far above it leave a fill no voice.
        pedestal: Grey levels added before logarithms are taken, so that noise in the dark does not rule them.
        floor: Grey levels² added to a cost before it is weighed: what grain alone gives, as in the mixing of looks.
        sigma: Pixels over which the veil is smoothed: wide enough to average grain, narrow enough for a rim.
        wide_sigma: Pixels of the wider smoothing that helps where no fill nearby is trusted: three times as wide.
        wide_share: Share that the wider one has where both are known.
        sign_window: Pixels on each side of the square over which the defect shows whether it is dark or bright.
        misfit_weight: Weight of the error that the lifted picture leaves nearby, in its cost.
        contradiction_weight: Weight of the error at the very place, where the fill is trusted: more, because the fill
            is a witness there.
        sharpness: Power of the cost by which the share of the worse one falls; as in the mixing of looks.
    """

    trust_cost: float = 60.0
    pedestal: float = 4.0
    floor: float = 4.0
    sigma: float = 2.0
    wide_sigma: float = 6.0
    wide_share: float = 0.05
    sign_window: int = 9
    misfit_weight: float = 2.0
    contradiction_weight: float = 4.0
    sharpness: float = 3.0


@dataclass(frozen=True, kw_only=True)
class TranslucenceTests:
    """What tells a translucent defect from an opaque one.

    Attributes:
        likeness_sigma: Pixels over which the detail of the frame is compared with that of the fill: twice the smoothing
            of the veil, so that there is detail to compare.
        least_correlation: Of both details, 0 … 1. Lower lets the defect's own texture through as scene.
        least_slope: A ratio: the detail of the frame over that of the fill. What veils dims contrast a little; what
            covers leaves none of it.
        cover_window: Pixels on each side of the square in which it is counted how much of the place is trusted.
        least_cover: Share of that square at least: at a few pixels any detail is alike.
        least_witness: Say, of 1 of a pixel that is changed and whose fill is certain, from which on it is counted.
        unchanged: Grey levels² of the difference of the frame to the fill, the fill's own error counted, at which a
            pixel's say about the veil is half: what the defect did not change, at the rim of a mask that is too wide,
            shows the scene and tells nothing of the defect.
        densest: Natural logarithm of the densest veil that is lifted, about 30 per cent of the light: below, lifting
            brings up grain and nothing else.
    """

    likeness_sigma: float = 4.0
    least_correlation: float = 0.8
    least_slope: float = 0.6
    cover_window: int = 15
    least_cover: float = 0.3
    least_witness: float = 0.02
    unchanged: float = 100.0
    densest: float = 1.2


_VEIL = VeilField()
_TESTS = TranslucenceTests()


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

    trust = spread(np.square(1 / (1 + cost / np.float32(_VEIL.trust_cost))))
    near, wide = (cv2.GaussianBlur(trust, (0, 0), sigma) for sigma in (_VEIL.sigma, _VEIL.wide_sigma))

    def smooth(plane: Plane) -> Plane:
        weighted = plane * (trust if plane.ndim == 2 else trust[..., None])
        close, far = (
            cv2.GaussianBlur(weighted, (0, 0), sigma).reshape(plane.shape) for sigma in (_VEIL.sigma, _VEIL.wide_sigma)
        )
        below, all_below = (near, wide) if plane.ndim == 2 else (near[..., None], wide[..., None])
        return (close + _VEIL.wide_share * far / np.maximum(all_below, 1e-9)) / (below + _VEIL.wide_share)

    filled = np.clip(filled, 0, 255)
    dark = cv2.blur(spread((frame - filled).mean(axis=1)) * trust, (_VEIL.sign_window,) * 2)[own][:, None] < 0
    seen = np.log(np.where(dark, frame, 255 - frame) + _VEIL.pedestal)
    wanted = np.log(np.where(dark, filled, 255 - filled) + _VEIL.pedestal)
    veil = np.minimum(smooth(spread(seen - wanted))[own], 0)
    lifted = np.exp(seen - veil) - _VEIL.pedestal
    lifted = np.where(dark, lifted, 255 - lifted)
    error = spread(np.square(lifted - filled).mean(axis=1))
    # Where the fill is believed, it is a witness at the very place.
    contradiction = trust[own] * cv2.blur(error, (3, 3))[own]
    lifted_cost = _VEIL.misfit_weight * smooth(error)[own] + _VEIL.contradiction_weight * contradiction

    def detail(values: Plane) -> Plane:
        plane = spread(values.mean(axis=1))
        return plane - cv2.GaussianBlur(plane * trust, (0, 0), _VEIL.sigma) / np.maximum(near, 1e-9)

    shown, expected = detail(seen), detail(wanted)
    changed = cv2.blur(spread(np.square(frame - filled).mean(axis=1)), (3, 3))
    witness = trust * np.square(changed / (changed + np.float32(_TESTS.unchanged)))
    together, alone, reference = (
        cv2.GaussianBlur(product * witness, (0, 0), _TESTS.likeness_sigma)[own]
        for product in (shown * expected, shown * shown, expected * expected)
    )
    cover = cv2.blur((witness > _TESTS.least_witness).astype(np.float32), (_TESTS.cover_window,) * 2)[own]
    translucent = (
        (together > _TESTS.least_correlation * np.sqrt(np.maximum(alone * reference, 1e-24)))
        & (together > _TESTS.least_slope * reference)
        & (cover > _TESTS.least_cover)
        & (veil.mean(axis=1) > -_TESTS.densest)
    )
    weight = np.where(translucent, (lifted_cost + _VEIL.floor) ** -_VEIL.sharpness, 0)
    share = (weight / (weight + (cost + _VEIL.floor) ** -_VEIL.sharpness)).astype(np.float32)
    return np.clip(filled + share[:, None] * (lifted - filled), 0, 255), share

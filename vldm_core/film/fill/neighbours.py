"""What the neighbours in time show at a damaged place, and how far each of them can be believed.

A neighbour is looked up along several flows. How well a look fits the frame around the hole is carried into it; how
well it agrees with what the other side in time shows, and, in a translucent defect, with what can still be seen, is
measured inside. Everything is measured on the luma of the boxes of an `Atlas`; only the damaged pixels themselves are
looked up in colour, with a kernel that keeps detail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from .carry import CarryIn


@dataclass(frozen=True, kw_only=True)
class LookFit:
    """How the expected error of a look at a neighbour is measured.

    Attributes:
        window: Pixels on each side of the square over which errors around a hole are averaged: over fewer, grain alone
            ranks the looks.
        fine_window: Pixels on each side of the square whose mean is taken off: what is left is the fine structure that
            shows through a veil.
        veil_window: Pixels on each side of the square over which the misfit of that structure is averaged.
        agreement_window: Pixels on each side of the square over which past and future are compared.
        agreement_share: Share of their disagreement that is added to the cost of both.
    """

    window: int = 7
    fine_window: int = 5
    veil_window: int = 7
    agreement_window: int = 5
    agreement_share: float = 0.5


_FIT = LookFit()


_ROW = 512
"""Places in a row when scattered places are looked up: OpenCV takes no picture of more than 32767 in a row."""

_SLOPE = -0.75
"""Slope of OpenCV's cubic kernel at a distance of one pixel."""

Taps = tuple[NDArray, NDArray, NDArray, NDArray]


@dataclass(frozen=True, eq=False)
class Look:
    """What one neighbour shows along one flow, on an atlas.

    Attributes:
        other: Number of the neighbour.
        step: -1 for the past, 1 for the future.
        kind: Which of several ways it is, from 0.
        flow: (h, w, 2) pixels.
        gain: (h, w) local brightness of the frame over that of the neighbour; see `apply_gain`.
        grey: (h, w) luma in the brightness of the frame, grey levels.
        seen: (h, w) whether the neighbour shows the place undamaged.
        error: (h, w) squared difference to the frame around the holes, carried into them, grey levels².
        veil: (h, w) squared difference of the fine structure, grey levels²: inside a translucent defect it tells the
            looks apart, inside an opaque one nothing.
    """

    other: int
    step: int
    kind: int
    flow: Plane
    gain: Plane
    grey: Plane
    seen: BoolArray
    error: Plane
    veil: Plane


def misfit(difference: Plane, known: BoolArray, carry: CarryIn) -> Plane:
    """Expected squared error (h, w) of a look, from its difference to the frame where both are undamaged."""
    weight = known.astype(np.float32)
    size = (_FIT.window,) * 2
    total, below = (cv2.blur(plane, size) for plane in (np.square(difference) * weight, weight))
    usual = float(total.sum() / max(float(below.sum()), 1e-6))
    # A place with nothing known around it is as good as the others.
    return carry((total + np.float32(1e-3 * usual)) / (below + np.float32(1e-3)))


def fine_energy(plane: Plane) -> Plane:
    """Mean square (h, w) of the fine structure of a plane."""
    fine = plane - cv2.blur(plane, (_FIT.fine_window,) * 2)
    return np.asarray(cv2.blur(np.square(fine), (_FIT.veil_window,) * 2), np.float32)


def costs_of(looks: Sequence[Look], energy: Plane) -> list[Plane]:
    """Costs (h, w) by which looks are ranked: their errors, and what shows through the holes.

    Args:
        looks: At one frame, at least one.
        energy: (h, w) mean square of the fine structure of the frame.
    """
    # A look at the same defect on another frame would show through it best of all.
    veils = [np.where(look.seen, look.veil, np.float32(np.inf)) for look in looks]
    least = veils[0]
    for veil in veils[1:]:
        least = cv2.min(least, veil)
    least = np.minimum(least, energy)
    # Of an opaque hole the best look explains nothing.
    shows = np.clip(1 - least / np.maximum(energy, np.float32(1e-3)), 0, 1)
    return [look.error + shows * np.maximum(look.veil - least, 0) for look in looks]


def joint_costs(looks: Sequence[Look], costs: Sequence[Plane]) -> list[Plane]:
    """Add to the cost of each look how far it is from that of the other side in time along the same kind of way."""
    result = list(costs)
    for i, past in enumerate(looks):
        for j, future in enumerate(looks):
            if past.step < future.step and past.kind == future.kind:
                apart = cv2.blur(np.square(past.grey - future.grey), (_FIT.agreement_window,) * 2)
                # A look at damage tells nothing of how good a look at the scene is.
                apart *= np.float32(_FIT.agreement_share) * (past.seen & future.seen)
                for own in (i, j):
                    result[own] = result[own] + apart
    return result


def sample(picture: Plane, x: Plane, y: Plane) -> Plane:
    """Interpolate a picture (H, W, C) at scattered places (N,), inside its border: (N, C), by cubic convolution."""
    count, wide = len(x), min(len(x), _ROW)
    rows = -(-count // wide)
    place = np.zeros((rows * wide, 2), np.float32)
    place[:count, 0], place[:count, 1] = x, y
    shown = cv2.remap(
        picture,
        place.reshape(rows, wide, 2),
        cast(NDArray, None),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(shown, np.float32).reshape(rows * wide, -1)[:count]


def taps(x: Plane, y: Plane) -> tuple[Taps, Taps]:
    """Weights of the four columns and of the four rows, each (N,), from which `sample` interpolates places.

    R. G. Keys, "Cubic convolution interpolation for digital image processing", 1981, with the a of OpenCV.
    """
    return _kernel(x - np.floor(x)), _kernel(y - np.floor(y))


def _kernel(t: Plane) -> Taps:
    a = np.float32(_SLOPE)
    t2, t3 = t * t, t * t * t
    return (
        a * (t3 - 2 * t2 + t),
        (a + 2) * t3 - (a + 3) * t2 + 1,
        -(a + 2) * t3 + (2 * a + 3) * t2 - a * t,
        a * (t2 - t3),
    )

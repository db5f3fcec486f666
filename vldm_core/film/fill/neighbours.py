"""What the neighbours in time show at a damaged place, and how far each of them can be believed.

A neighbour is looked up along several flows. How well a look fits the frame around the hole is carried into it; how
well it agrees with what the other side in time shows, and, in a translucent defect, with what can still be seen, is
measured inside. Everything is measured on the luma of the boxes of an `Atlas`; only the damaged pixels themselves are
looked up in colour, with a kernel that keeps detail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, Plane
from .carry import Carrier


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


Taps = tuple[NDArray, NDArray, NDArray, NDArray]


@dataclass(frozen=True, eq=False)
class Look:
    """What one neighbour shows along one flow, on an atlas.

    Attributes:
        other: Number of the neighbour.
        step: -1 for the past, 1 for the future.
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
    flow: Plane
    gain: Plane
    grey: Plane
    seen: BoolArray
    error: Plane
    veil: Plane


def misfit(difference: Plane, known: BoolArray, carry: Carrier) -> Plane:
    """Expected squared error (h, w) of a look, from its difference to the frame where both are undamaged."""
    weight = known.astype(np.float32)
    size = (_FIT.window,) * 2
    total, below = cv2.blur(np.square(difference) * weight, size), cv2.blur(weight, size)
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
    """Add to the cost of each look how far it is from the nearest one of the other side in time."""
    nearest: list[Plane | None] = [None] * len(looks)
    for i, past in enumerate(looks):
        for j, future in enumerate(looks):
            if past.step < future.step:
                apart = cv2.blur(np.square(past.grey - future.grey), (_FIT.agreement_window,) * 2)
                # A look at damage tells nothing of how good a look at the scene is.
                apart[~(past.seen & future.seen)] = np.inf
                for own in (i, j):
                    known = nearest[own]
                    nearest[own] = apart if known is None else cv2.min(known, apart)
    return [
        cost if plane is None else cost + np.float32(_FIT.agreement_share) * np.where(np.isinf(plane), 0, plane)
        for cost, plane in zip(costs, nearest, strict=True)
    ]


def sample(picture: Plane, x: Plane, y: Plane) -> tuple[Plane, Taps, Taps]:
    """Interpolate a picture (H, W, C) at scattered places (N,), inside its border.

    Cubic convolution (R. G. Keys, "Cubic convolution interpolation for digital image processing", 1981, a = -1/2). It
    reproduces a ramp and keeps the detail that bilinear interpolation blurs.

    Returns:
        (N, C), and the weights of the four columns and of the four rows, each (N,).
    """
    height, width = picture.shape[:2]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    across, down = _kernel(x - left), _kernel(y - top)
    columns = [np.clip(left + tap - 1, 0, width - 1) for tap in range(4)]
    pixels = picture.reshape(height * width, -1)
    total = np.zeros((len(x), picture.shape[2]), np.float32)
    for tap in range(4):
        row = np.clip(top + tap - 1, 0, height - 1) * width
        line = across[0][:, None] * pixels.take(row + columns[0], axis=0)
        for at in range(1, 4):
            line += across[at][:, None] * pixels.take(row + columns[at], axis=0)
        line *= down[tap][:, None]
        total += line
    return total, across, down


def _kernel(t: Plane) -> Taps:
    t2, t3 = t * t, t * t * t
    return (
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1.0,
        -1.5 * t3 + 2 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
    )

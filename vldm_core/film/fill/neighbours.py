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
from ...video.flow import fill_masked

# Variances in squared grey levels: what the fit inside a translucent defect may add.
_LARGEST_VEIL_MISFIT = 600.0
_AGREEMENT_SHARE = 0.5
_PEDESTAL = 16.0
_BLOCK = 8
_FEWEST_IN_BLOCK = 12


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
        cost: (h, w) expected squared error, grey levels².
    """

    other: int
    step: int
    flow: Plane
    gain: Plane
    grey: Plane
    seen: BoolArray
    cost: Plane


def brighten(values: Plane, gain: Plane) -> Plane:
    """Apply a gain above the pedestal that keeps it meaningful in the dark."""
    return (values + _PEDESTAL) * gain - _PEDESTAL


def gain_field(frame: Plane, reference: Plane, known: BoolArray, shape: tuple[int, int]) -> Plane:
    """Return the gain (H, W) that gives a reference the local brightness of a frame.

    It is a smooth field through the medians of the ratio over blocks of 32 pixels of the frame.

    Args:
        frame: (H / 4, W / 4), reduced.
        reference: Likewise, motion compensated.
        known: Likewise; only these pixels count, and blocks with few of them follow their neighbours.
        shape: (H, W).
    """
    height, width = frame.shape
    ratio = np.where(known, (frame + _PEDESTAL) / np.maximum(reference + _PEDESTAL, 1.0), np.float32(np.inf))
    ratio = np.pad(ratio, ((0, -height % _BLOCK), (0, -width % _BLOCK)), constant_values=np.inf)
    rows, columns = ratio.shape[0] // _BLOCK, ratio.shape[1] // _BLOCK
    blocks = ratio.reshape(rows, _BLOCK, columns, _BLOCK).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    count = np.isfinite(blocks).sum(axis=-1)
    few = count < _FEWEST_IN_BLOCK
    middle = np.take_along_axis(np.sort(blocks, axis=-1), np.maximum(count // 2, 0)[..., None] % (_BLOCK**2), -1)
    medians = np.where(few, np.float32(1), middle[..., 0]).astype(np.float32)
    gain = cv2.GaussianBlur(fill_masked(medians, few), (0, 0), 0.8)
    field = cv2.resize(gain, (columns * _BLOCK, rows * _BLOCK), interpolation=cv2.INTER_LINEAR)[:height, :width]
    return cv2.resize(np.clip(field, 0.5, 2.0), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def misfit(difference: Plane, unknown: BoolArray) -> Plane:
    """Expected squared error of a look, from its difference to the frame."""
    outside = fill_masked(cv2.blur(np.square(difference), (3, 3)), unknown)
    # Inside a translucent defect the fine structure of the scene still shows.
    fine = difference - cv2.GaussianBlur(difference, (0, 0), 2.5)
    return outside + np.minimum(cv2.blur(np.square(fine), (7, 7)), np.float32(_LARGEST_VEIL_MISFIT))


def joint_costs(looks: Sequence[Look]) -> list[Plane]:
    """Add to the cost of each look how far it is from the nearest one of the other side in time."""
    nearest: list[Plane | None] = [None] * len(looks)
    for i, past in enumerate(looks):
        for j, future in enumerate(looks):
            if past.step < future.step:
                apart = cv2.blur(np.square(past.grey - future.grey), (5, 5))
                for own in (i, j):
                    known = nearest[own]
                    nearest[own] = apart if known is None else cv2.min(known, apart)
    return [
        look.cost if plane is None else look.cost + np.float32(_AGREEMENT_SHARE) * plane
        for look, plane in zip(looks, nearest, strict=True)
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

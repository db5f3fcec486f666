"""How a mark changes the picture, and how much of it can be seen.

A soft mask says how visible a defect is at a pixel. For dirt and hair it is the largest change of the three channels
over twice :data:`VISIBLE_CHANGE`, cut off at 1; for lines, which may be fainter than any fixed threshold and are found
only because they are long, it is the change over the nominal depth of the line. In both cases a pixel is *damaged*
where the mask is at least :data:`TRUTH_THRESHOLD`: it was changed by 8 grey levels or more, or by half the depth of
the line or more. White dirt in front of a white sky changes nothing and is not in the truth. A mask is exactly 0 where
the defect left the pixel as it was.
"""

import numpy as np
import torch

from ...arrays import FloatArray

VISIBLE_CHANGE = 8 / 255
TRUTH_THRESHOLD = 0.5
INVISIBLE = 0.004
"""Opacity below which a mark is left out: less than one of 255 levels, so that the picture beside it stays as it is."""


def box_around(x: float, y: float, reach: float, height: int, width: int) -> tuple[slice, slice] | None:
    """Return the rows and columns of a frame that lie within reach of a place, px; None where there are none."""
    left, right = max(int(x - reach), 0), min(int(x + reach) + 2, width)
    top, bottom = max(int(y - reach), 0), min(int(y + reach) + 2, height)
    if left >= right or top >= bottom:
        return None
    return slice(top, bottom), slice(left, right)


def offsets(rows: slice, columns: slice, x: float, y: float) -> tuple[FloatArray, FloatArray]:
    """Return how far the pixels of a box lie from a place, px: (1, w) to the right and (h, 1) down."""
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(x)
    dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(y)
    return dx, dy


def cover(image: FloatArray, rows: slice, columns: slice, alpha: FloatArray, *, white: bool) -> None:
    """Lay a mark on part of an image, in place.

    Dark marks absorb light: I' = I 10^-D with the density D = -log10(1 - alpha). White marks were dark marks on the
    negative: I' = I + alpha (1 - I).

    Args:
        image: (H, W, 3) in [0, 1].
        rows: Rows of the mark.
        columns: Columns of the mark.
        alpha: Opacity on those rows and columns, in [0, 1].
        white: Whether the mark lightens.
    """
    region = image[rows, columns]
    alpha = alpha[..., None]
    region += alpha * (1 - region) if white else -alpha * region


def visible_change(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return the visibility (H, W) in [0, 1] of what turned ``before`` into ``after``, both (H, W, 3)."""
    difference = np.abs(after - before)
    change = np.maximum(np.maximum(difference[..., 0], difference[..., 1]), difference[..., 2])
    return np.minimum(change / np.float32(2 * VISIBLE_CHANGE), 1)


def binary_truth(mask: torch.Tensor) -> torch.Tensor:
    """Return which pixels of a soft mask count as damaged.

    Args:
        mask: Soft mask of any shape, in [0, 1].

    Returns:
        Boolean tensor of the same shape: mask >= 0.5.
    """
    return mask >= TRUTH_THRESHOLD

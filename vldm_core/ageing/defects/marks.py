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

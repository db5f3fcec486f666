"""How a mark changes the picture, and how much of it can be seen.

A soft mask says how visible a defect is at a pixel. For dirt and hair it is the largest change of the three channels
over twice :data:`VISIBLE_CHANGE`, cut off at 1; for lines, which may be fainter than any fixed threshold and are found
only because they are long, it is the change over the nominal depth of the line. In both cases a pixel is *damaged*
where the mask is at least :data:`TRUTH_THRESHOLD`: it was changed by 8 grey levels or more, or by half the depth of
the line or more. White dirt in front of a white sky changes nothing and is not in the truth. A mask is exactly 0 where
the defect left the pixel as it was.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch

from ...arrays import FloatArray
from ...errors import SettingsError

VISIBLE_CHANGE = 8 / 255
TRUTH_THRESHOLD = 0.5
INVISIBLE = 0.004
"""Opacity below which a mark is left out: less than one of 255 levels, so that the picture beside it stays as it is."""


Blend = Literal["film", "additive", "opaque"]
"""How a mark mixes with the picture: as density on the print or on the negative; by light that is added or taken away
whatever is there; or as something of a tone of its own that hides it."""

BLENDS: tuple[Blend, ...] = get_args(Blend)
_TONES = 0.12, 0.88  # of what is opaque; dark and bright things in front of the gate are neither black nor white


def require_blends(name: str, shares: Sequence[float]) -> None:
    """Check the shares of the ways to mix.

    Args:
        name: Setting as the user wrote it, for the message.
        shares: One for each of :data:`BLENDS`.

    Raises:
        SettingsError: When there are not as many, one is negative, or all are 0.
    """
    if len(shares) != len(BLENDS) or min(shares) < 0 or sum(shares) <= 0:
        raise SettingsError(
            f"{name} is {shares!r}; give a share for each of {', '.join(BLENDS)}, none negative and not all 0."
        )


def blended(region: FloatArray, share: FloatArray, depth: float, *, white: bool, blend: Blend) -> FloatArray:
    """Return part of an image with a mark on it.

    Args:
        region: (h, w, 3) in [0, 1].
        share: (h, w) of the mark's depth at each pixel, in [0, 1].
        depth: Change of mid-grey in its core, in [0, 1].
        white: Whether the mark lightens.
        blend: How it mixes; on mid-grey all ways change as much, as far as the tone of what is opaque lets them.
    """
    if blend == "additive":
        return np.clip(region + share[..., None] * np.float32(depth if white else -depth), 0, 1)
    alpha = share[..., None] * np.float32(min(2 * depth, 1))
    if blend == "opaque":
        tone = np.float32(_TONES[int(white)])
        return region + alpha * (tone - region)
    return region + (alpha * (1 - region) if white else -alpha * region)


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
    """Lay a mark of the film on part of an image (H, W, 3), in place; see :func:`stamp`.

    Args:
        image: (H, W, 3) in [0, 1].
        rows: Rows of the mark.
        columns: Columns of the mark.
        alpha: Opacity on those rows and columns, in [0, 1].
        white: Whether the mark lightens.
    """
    stamp(image, rows, columns, alpha, 1.0, white=white)


def stamp(
    image: FloatArray,
    rows: slice,
    columns: slice,
    coverage: FloatArray,
    opacity: float,
    *,
    white: bool,
    blend: Blend = "film",
) -> None:
    """Lay a mark on part of an image, in place.

    On film dark marks absorb light: I' = I 10^-D with the density D = -log10(1 - alpha), alpha = coverage · opacity.
    White marks were dark marks on the negative: I' = I + alpha (1 - I). For the other ways see :func:`blended`.

    Args:
        image: (H, W, 3) in [0, 1].
        rows: Rows of the mark.
        columns: Columns of the mark.
        coverage: What it covers on those rows and columns, in [0, 1].
        opacity: Of its core, in [0, 1].
        white: Whether the mark lightens.
        blend: How it mixes with the picture.
    """
    image[rows, columns] = blended(image[rows, columns], coverage, opacity / 2, white=white, blend=blend)


def draw_blend(shares: Sequence[float], position: float) -> Blend:
    """Choose a way to mix by a position that was drawn for something else, 0 … 256, of which only the fraction counts.

    So marks have the place and shape that they have where all of them mix in one way.
    """
    reached, place = 0.0, (position % 1.0) * sum(shares)
    for blend, share in zip(BLENDS, shares, strict=True):
        reached += share
        if place < reached:
            return blend
    return BLENDS[0]


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

"""Which fills are left out: where what was found may well be farther from the scene than what is there."""

from dataclasses import dataclass

import cv2
import numpy as np

from ...arrays import BoolArray, Plane
from .holes import FoundFill


@dataclass(frozen=True, kw_only=True)
class DoubtTest:
    """When a fill is in doubt.

    Attributes:
        largest_error: Error of a fill, as a share of its squared distance to what is there, above which the place is
            left alone. A fill that is right to within its error is nearer to the scene than the damage up to one half;
            grain counts twice in the error and once in the distance.
        fewest_pixels: Pixels of a connected mark below which it is filled in any case: too few to tell.
        worth_telling: Pixels of a mark from which on a user is told.
    """

    largest_error: float = 0.6
    fewest_pixels: int = 12
    worth_telling: int = 64


_TEST = DoubtTest()


def in_doubt(hole: BoolArray, place: tuple[np.ndarray, np.ndarray], shown: Plane, found: FoundFill) -> BoolArray:
    """Tell which damaged pixels (N,) belong to a mark whose fill is in doubt.

    Args:
        hole: (H, W) what is marked.
        place: Rows and columns of the damaged pixels.
        shown: (N, C) what the frame shows there, grey levels.
        found: The fill.
    """
    count, labels = cv2.connectedComponents(hole.astype(np.uint8), connectivity=8)
    mark = labels[place]
    pixels = np.bincount(mark, minlength=count)
    change = np.bincount(mark, np.square(found.colours - shown).mean(axis=1), count)
    error = np.bincount(mark, found.error, count)
    return ((error > _TEST.largest_error * change) & (pixels >= _TEST.fewest_pixels))[mark]


def worth_telling(hole: BoolArray, place: tuple[np.ndarray, np.ndarray], doubtful: BoolArray) -> int:
    """Return how many marks in doubt are large enough to tell a user of."""
    if int(doubtful.sum()) < _TEST.worth_telling:
        return 0
    left = np.zeros(hole.shape, np.uint8)
    left[place] = doubtful
    _, _, table, _ = cv2.connectedComponentsWithStats(left, connectivity=8)
    return int((table[1:, cv2.CC_STAT_AREA] >= _TEST.worth_telling).sum())

"""On which rows of a frame a line is there: a track knows that by bands of several rows, the frame itself knows better.

Along the track the frame is held against both sides of the line, row by row. Grain hides a faint line in a single row,
so the rows are decided together, as the likeliest sequence of stretches with and without the line (A. J. Viterbi,
"Error bounds for convolutional codes", IEEE Trans. Information Theory 13, 1967).
"""

from dataclasses import dataclass

import numpy as np

from ....arrays import BoolArray, FloatArray
from ...robust import MAD_TO_SIGMA
from ..sampling import sampled


@dataclass(frozen=True, kw_only=True)
class RowRules:
    """When a row of a frame shows a line.

    Attributes:
        flank: Pixels on each side of a line, beyond its visible width, that tell what it lies on.
        gap: Pixels between a line and its flanks: what is left of its foot.
        deepest: Lines are deeper in one place than in another: depth in a frame over the usual one at most.
        shallowest: The same at least.
        share: Share of the depth in the frame from which on the line counts as there in a row.
        largest_word: The most that one row may say, log odds.
        band_word: What the bands add to each row, log odds.
        turn: What a beginning or an end costs, log odds.
        unrest: Weight of the difference of both sides in the variance of a row: where an edge passes, it tells
            less.
        least_spread: Deviation of the contrast of a row at least, grey levels.
        fewest_rows: Rows that show the line and can be measured, below which the bands are believed.
    """

    flank: int = 4
    gap: int = 1
    deepest: float = 1.6
    shallowest: float = 0.5
    share: float = 0.45
    largest_word: float = 1.5
    band_word: float = 0.25
    turn: float = 4.0
    unrest: float = 1.0
    least_spread: float = 0.7
    fewest_rows: int = 8


_RULES = RowRules()


def rows_present(
    luma: FloatArray,
    centre: FloatArray,
    *,
    left: float,
    right: float,
    depth: float,
    present: BoolArray,
    allowed: BoolArray,
) -> BoolArray:
    """Decide row by row where a line is there.

    Args:
        luma: (H, W) grey levels.
        centre: (H,) position of the line in every row, px.
        left: Visible extent to the left of it, px.
        right: Visible extent to the right of it.
        depth: Usual deviation from the surroundings, grey levels; negative for a dark line.
        present: (H,) what the bands say.
        allowed: (H,) rows in which the line may be.

    Returns:
        (H,) where it is there; `present` where the frame cannot tell.
    """
    if not present.any():
        return present
    contrast, unrest, known = _contrast(luma, centre, left, right)
    contrast *= np.sign(depth)
    seen = contrast[present & known]
    if len(seen) < _RULES.fewest_rows:
        return present & allowed
    usual = abs(depth)
    here = float(np.clip(np.median(seen), _RULES.shallowest * usual, _RULES.deepest * usual))
    # Grain and the scene differ from row to row, the line does not.
    spread = max(_RULES.least_spread, MAD_TO_SIGMA * float(np.median(np.abs(np.diff(contrast[known])))) / np.sqrt(2))
    word = np.clip(
        here * (contrast - _RULES.share * here) / (spread**2 + _RULES.unrest * unrest),
        -_RULES.largest_word,
        _RULES.largest_word,
    )
    word = np.where(known, word, 0.0) + np.where(present, _RULES.band_word, -_RULES.band_word)
    word[~allowed] = -np.inf
    return _likeliest(word)


def _contrast(
    luma: FloatArray, centre: FloatArray, left: float, right: float
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Deviation of the line from both its sides in every row, how far these are apart, and where both can be seen."""
    width = luma.shape[1]
    core_left, core_right = min(left, 1.0), min(right, 1.0)
    core = np.arange(-np.floor(core_left), np.floor(core_right) + 1)
    far_left = -(left + _RULES.gap) - np.arange(_RULES.flank)
    far_right = right + _RULES.gap + np.arange(_RULES.flank)
    offsets = np.concatenate((core, far_left, far_right)).astype(np.float32)
    x = centre[:, None] + offsets
    known = (x[:, len(core) + _RULES.flank - 1] >= 0) & (x[:, -1] <= width - 1)
    values = sampled(luma, x)
    middle = values[:, : len(core)].mean(axis=1)
    sides = [
        np.median(values[:, start : start + _RULES.flank], axis=1) for start in (len(core), len(core) + _RULES.flank)
    ]
    # Where the sides differ, an edge of the scene passes, and the line may lie on either of its sides.
    unrest = np.square(sides[0] - sides[1]) / 4
    return (middle - (sides[0] + sides[1]) / 2).astype(np.float32), unrest.astype(np.float32), known


def _likeliest(word: FloatArray) -> BoolArray:
    """The sequence of two states with the largest sum of words, where each change costs `_RULES.turn`.

    Args:
        word: (n,) what speaks for presence; minus infinity forbids it.
    """
    # The best of all sequences up to a row that end without the line, and with it.
    absent, there = 0.0, float(word[0])
    came = np.zeros((len(word), 2), bool)
    for row in range(1, len(word)):
        # For either state, whether the line was there in the row before.
        came[row] = there - _RULES.turn > absent, there >= absent - _RULES.turn
        absent, there = max(absent, there - _RULES.turn), max(there, absent - _RULES.turn) + float(word[row])
    states = np.zeros(len(word), bool)
    states[-1] = there > absent
    for row in range(len(word) - 1, 0, -1):
        states[row - 1] = came[row, int(states[row])]
    return states

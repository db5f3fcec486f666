"""On which rows of a frame a line is there: a track knows that by bands of several rows, the frame itself knows better.

Along the track the frame is held against both sides of the line, row by row. Grain hides a faint line in a single row,
so the rows are decided together, as the likeliest sequence of stretches with and without the line (A. J. Viterbi,
"Error bounds for convolutional codes", IEEE Trans. Information Theory 13, 1967).
"""

import numpy as np

from ....arrays import BoolArray, FloatArray

_FLANK = 4
"""Pixels on each side of a line, beyond its visible width, that tell what it lies on."""

_GAP = 1
"""Pixels between a line and its flanks: what is left of its foot."""

# Lines are deeper in one place than in another: the depth in a frame may differ by these factors from the usual one,
# and in a row the line counts as there from this share of it.
_DEEPEST, _SHALLOWEST = 1.6, 0.5
_SHARE = 0.45
# In log odds: the most that one row may say, what the bands add to each row, and what a change costs.
_LARGEST = 1.5
_BAND_WORD = 0.25
_TURN = 4.0
_UNREST = 1.0
_LEAST_SPREAD = 0.7
_FEWEST_ROWS = 8


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
    if len(seen) < _FEWEST_ROWS:
        return present & allowed
    usual = abs(depth)
    here = float(np.clip(np.median(seen), _SHALLOWEST * usual, _DEEPEST * usual))
    # Grain and the scene differ from row to row, the line does not.
    spread = max(_LEAST_SPREAD, 1.4826 * float(np.median(np.abs(np.diff(contrast[known])))) / np.sqrt(2))
    word = np.clip(here * (contrast - _SHARE * here) / (spread**2 + _UNREST * unrest), -_LARGEST, _LARGEST)
    word = np.where(known, word, 0.0) + np.where(present, _BAND_WORD, -_BAND_WORD)
    word[~allowed] = -np.inf
    return _likeliest(word)


def _contrast(
    luma: FloatArray, centre: FloatArray, left: float, right: float
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Deviation of the line from both its sides in every row, how far these are apart, and where both can be seen."""
    height, width = luma.shape
    core_left, core_right = min(left, 1.0), min(right, 1.0)
    core = np.arange(-np.floor(core_left), np.floor(core_right) + 1)
    far_left = -(left + _GAP) - np.arange(_FLANK)
    far_right = right + _GAP + np.arange(_FLANK)
    offsets = np.concatenate((core, far_left, far_right)).astype(np.float32)
    x = centre[:, None] + offsets
    known = (x[:, len(core) + _FLANK - 1] >= 0) & (x[:, -1] <= width - 1)
    x = np.clip(x, 0, width - 1.001)
    base = x.astype(np.int64)
    part = x - base
    row = np.arange(height)[:, None]
    values = luma[row, base] * (1 - part) + luma[row, base + 1] * part
    middle = values[:, : len(core)].mean(axis=1)
    sides = [np.median(values[:, start : start + _FLANK], axis=1) for start in (len(core), len(core) + _FLANK)]
    # Where the sides differ, an edge of the scene passes, and the line may lie on either of its sides.
    unrest = np.square(sides[0] - sides[1]) / 4
    return (middle - (sides[0] + sides[1]) / 2).astype(np.float32), unrest.astype(np.float32), known


def _likeliest(word: FloatArray) -> BoolArray:
    """The sequence of two states with the largest sum of words, where each change costs `_TURN`.

    Args:
        word: (n,) what speaks for presence; minus infinity forbids it.
    """
    # The best of all sequences up to a row that end without the line, and with it.
    absent, there = 0.0, float(word[0])
    came = np.zeros((len(word), 2), bool)
    for row in range(1, len(word)):
        # For either state, whether the line was there in the row before.
        came[row] = there - _TURN > absent, there >= absent - _TURN
        absent, there = max(absent, there - _TURN), max(there, absent - _TURN) + float(word[row])
    states = np.zeros(len(word), bool)
    states[-1] = there > absent
    for row in range(len(word) - 1, 0, -1):
        states[row - 1] = came[row, int(states[row])]
    return states

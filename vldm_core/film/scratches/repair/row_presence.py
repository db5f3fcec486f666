"""On which rows of a frame a line is there: a track knows that by bands of several rows, the frame itself knows better.

Along the track the frame is held against the section of the line, row by row. Grain hides a faint line in a single row,
so the rows are decided together, as the likeliest sequence of stretches with and without the line (A. J. Viterbi,
"Error bounds for convolutional codes", IEEE Trans. Information Theory 13, 1967).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ....arrays import BoolArray, FloatArray
from ..sampling import sampled
from ..search.courses import likeliest
from ..search.line_shape import LineShape, reading_of


@dataclass(frozen=True, kw_only=True)
class RowRules:
    """When a row of a frame shows a line. Words are log odds.

    Attributes:
        controls: Places beside a line in which readings tell how far the scene misleads, in widths of a working pixel
            beyond its skirt.
        around: Rows on each side over which that is pooled.
        flank: Pixels on each side of a line that are compared.
        step: Their difference, in depths of the line, up to which a row can be read.
        least_step: Grey levels that they may differ by besides.
        mark: Readings beside the line above so many times their usual size are marks and not the scene.
        deepest: Lines are deeper in one place than in another: depth in a frame over the usual one at most.
        shallowest: The same at least.
        share: Share of the depth in the frame from which on the line counts as there in a row.
        varying: Deviation of the depth along the line, as a share.
        largest_word: The most that one row may say.
        band_word: What the bands add to each row.
        faint_word: What they add besides where a row tells nothing of so faint a line; in proportion where it tells
            less than it may.
        turn: What a beginning or an end costs.
        least_spread: Deviation of the reading of a row at least, grey levels.
        fewest_rows: Rows that show the line and can be measured, below which the bands are believed.
    """

    controls: tuple[float, ...] = (3.0, 5.5)
    around: int = 8
    flank: int = 4
    step: float = 2.0
    least_step: float = 12.0
    mark: float = 3.0
    deepest: float = 1.6
    shallowest: float = 0.5
    share: float = 0.4
    varying: float = 0.25
    largest_word: float = 1.5
    band_word: float = 0.25
    faint_word: float = 0.5
    turn: float = 4.0
    least_spread: float = 0.7
    fewest_rows: int = 8


_RULES = RowRules()


def rows_present(
    luma: FloatArray,
    centre: FloatArray,
    shape: LineShape,
    *,
    scale: float = 1.0,
    along: FloatArray | None = None,
    present: BoolArray,
    allowed: BoolArray,
) -> BoolArray:
    """Decide row by row where a line is there.

    Args:
        luma: (H, W) grey levels.
        centre: (H,) position of the line in every row, px.
        shape: Its section, in working pixels.
        scale: Pixels of the frame per working pixel.
        along: (H,) its usual depth in every row over that of the section; None where it is the same in all.
        present: (H,) what the bands say.
        allowed: (H,) rows in which the line may be.

    Returns:
        (H,) where it is there; `present` where the frame cannot tell.
    """
    if not present.any():
        return present
    depth, error, known = _readings(luma, centre, shape, scale)
    depth *= np.sign(shape.depth)
    seen = depth[present & known]
    if len(seen) < _RULES.fewest_rows:
        return present & allowed
    usual = np.full(len(depth), abs(shape.depth), np.float32) if along is None else abs(shape.depth) * along
    ratio = float(np.median(seen)) / float(np.median(usual[present & known]))
    here = usual * np.float32(np.clip(ratio, _RULES.shallowest, _RULES.deepest))
    telling = here / (error + np.square(_RULES.varying * here))
    word = np.clip(telling * (depth - _RULES.share * here), -_RULES.largest_word, _RULES.largest_word)
    # What a row of the usual depth says is what is missing where the line is gone.
    faint = 1 - np.minimum(telling * (1 - _RULES.share) * here / _RULES.largest_word, 1)
    from_band = _RULES.band_word + _RULES.faint_word * faint
    word = np.where(known, word, 0.0) + np.where(present, from_band, -from_band)
    word[~allowed] = -np.inf
    return likeliest(word[None], _RULES.turn)[0]


def _readings(
    luma: FloatArray, centre: FloatArray, shape: LineShape, scale: float
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Depth of the line in every row, the variance of what the scene reads like there, and where both can be told."""
    reading = reading_of(shape)
    reach = len(reading) // 2
    far = int(np.ceil(shape.extent + _RULES.controls[-1]))
    x = centre[:, None] + np.arange(-reach - far, reach + far + 1) * scale
    side = (shape.extent + 1) * scale
    known: BoolArray = (centre - side >= 0) & (centre + side <= luma.shape[1] - 1)
    values = sampled(luma, x).astype(np.float32)
    # Where an edge of the scene passes along the line, its depth cannot be read.
    near = far + reach + int(np.ceil(shape.extent))
    left, right = values[:, 2 * (far + reach) - near - _RULES.flank :][:, : _RULES.flank], values[:, near + 1 :]
    step = np.abs(np.median(left, axis=1) - np.median(right[:, : _RULES.flank], axis=1))
    known &= step <= _RULES.least_step + _RULES.step * abs(shape.depth)
    width = 2 * reach + 1
    beside = [round(sign * (shape.extent + at)) for at in _RULES.controls for sign in (-1, 1)]
    depths = [values[:, far + at : far + at + width] @ reading for at in (0, *beside)]
    wrong = np.square(np.stack(depths[1:]))
    wrong = np.minimum(wrong, _RULES.mark**2 * np.median(wrong) + _RULES.least_spread**2).mean(axis=0)
    pooled = cv2.blur(wrong[:, None], (1, 2 * _RULES.around + 1), borderType=cv2.BORDER_REFLECT)[:, 0]
    return depths[0], pooled + np.float32(_RULES.least_spread**2), known

"""How the brightness of the same scene differs between two frames, cell by cell.

The scene of the first frame is moved by the measured motion, and the logarithm of the ratio of both is taken. Light
changes this ratio and leaves the detail of the picture as it was; content that is another one, or that the motion has
brought to the wrong place, changes the detail too. So every place is weighed by how well the detail of the two frames
agrees there, and what is left of a pixel's difference from its cell is judged robustly (Tukey's biweight; P. Huber,
"Robust Statistics", 1981). A few numbers per cell come out of it; :mod:`.model` says what light explains them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ...arrays import FloatArray
from ...video.warping import inside_array, warp_array
from ..motion.scene import FrameMotion

AnyFloats = npt.NDArray[np.floating]

PIVOT = 128.0
"""Grey level that the contrast term leaves alone."""


@dataclass(frozen=True, kw_only=True)
class ComparisonGrid:
    """The small size at which the brightness of frames is compared, whatever their shape.

    Attributes:
        cell_rows: Cells from top to bottom in which brightness is compared: more than the field has control points (8),
            so that the cells can tell them.
        cell_columns: Cells from left to right, likewise.
        cell: Pixels of the reduced frame on each side of a cell. Frames are compared at 96 × 128: flicker is smooth,
            dirt and grain average out, and a comparison costs little.
    """

    cell_rows: int = 12
    cell_columns: int = 16
    cell: int = 8

    @property
    def height(self) -> int:
        """Rows of a reduced frame."""
        return self.cell_rows * self.cell

    @property
    def width(self) -> int:
        """Columns of a reduced frame."""
        return self.cell_columns * self.cell

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.cell_rows * self.cell_columns


@dataclass(frozen=True, kw_only=True)
class UsableLight:
    """Which pixels, and which pairs of frames, tell how the light has changed.

    Attributes:
        darkest: Grey levels; what is darker carries no exposure information: film base and codec noise.
        full_trust: Grey levels from which upwards a pixel has full weight; below, the weight falls with the square of
            the level, as the noise of a logarithm does.
        brightest: Grey levels above which a pixel may be clipped.
        texture_noise: Standard deviation of the log ratio within 5 × 5 pixels that is still taken for noise; moving
            edges scatter more and lose their weight.
        window: Pixels of the reduced frame on each side of the square over which detail is compared: one cell and its
            rim, lest a cell be confirmed by what lies beside it. Odd.
        detail_noise: Standard deviation of the log levels about their surroundings that may be noise: what is smoother
            cannot tell whether the frames have been brought together.
        apart: Correlation (0 … 1) of the detail of two frames up to which they do not show the same things in the same
            places, and nothing is known of their brightness.
        together: Correlation from which on they surely do.
        smooth_trust: Weight of a place without detail, beside 1 of one whose detail agrees: a smooth object that
            comes in before a smooth wall looks like a change of light.
        reaches: Mean absolute deviations from the mean of its cell beyond which a pixel is left out, from iteration to
            iteration.
        least_deviation: The same in log levels that is assumed at least: about one grey level in 250, so that two
            copies of a frame do not leave every pixel out that was rounded.
    """

    darkest: float = 4.0
    full_trust: float = 32.0
    brightest: float = 247.0
    texture_noise: float = 0.05
    window: int = 9
    detail_noise: float = 0.02
    apart: float = 0.5
    together: float = 0.85
    smooth_trust: float = 0.3
    reaches: tuple[float, ...] = (6.0, 4.0)
    least_deviation: float = 0.004


_GRID = ComparisonGrid()
_USABLE = UsableLight()


@dataclass(frozen=True, kw_only=True, eq=False)
class CellChange:
    """Brightness of a frame relative to another one, in every cell.

    Attributes:
        ratio: (cells,) float32, mean log of the later frame over the earlier one, moved.
        level: (cells,) float32, mean log of the scene's level over the pivot, the mean of both frames.
        weight: (cells,) float32, 0 … 1, the share of the cell that could be compared.
        bend: (cells,) float32, covariance of ratio and level within the cell, what a contrast adds there; less where
            grain may have made it.
        spread: (cells,) float32, variance of the level within the cell, likewise.
        deviation: Typical deviation of a pixel's log ratio from the mean of its cell.
    """

    ratio: FloatArray
    level: FloatArray
    weight: FloatArray
    bend: FloatArray
    spread: FloatArray
    deviation: float

    @classmethod
    def unknown(cls) -> "CellChange":
        """Of two frames that could not be compared."""
        none = np.zeros(_GRID.cells, np.float32)
        return cls(ratio=none, level=none, weight=none, bend=none, spread=none, deviation=_USABLE.least_deviation)

    def is_finite(self) -> bool:
        """Whether all that was measured is a number."""
        return bool(np.isfinite([self.ratio, self.level, self.weight, self.bend, self.spread]).all())


def reduce(luma: FloatArray) -> FloatArray:
    """Reduce a frame, (H, W) luma 0..255, to the size at which frames are compared."""
    return np.asarray(cv2.resize(luma, (_GRID.width, _GRID.height), interpolation=cv2.INTER_AREA), dtype=np.float32)


def displacement(motion: FrameMotion | None, height: int, width: int) -> FloatArray:
    """Return the motion of every reduced pixel.

    Cells without texture of their own take the global motion.

    Args:
        motion: Motion from the earlier to the later frame, or None for a scene that stands still.
        height: Height of the full frame in pixels.
        width: Width of the full frame in pixels.

    Returns:
        (96, 128, 2) float32, in reduced pixels.
    """
    if motion is None:
        return np.zeros((_GRID.height, _GRID.width, 2), np.float32)
    trust = np.clip(motion.grid_confidence * 4, 0, 1)
    rows, columns = trust.shape
    y, x = np.mgrid[:rows, :columns]
    angle = np.deg2rad(motion.angle)
    global_dx = motion.dx - angle * ((y + 0.5) / rows - 0.5) * height
    global_dy = motion.dy + angle * ((x + 0.5) / columns - 0.5) * width
    dx = (trust * motion.grid_dx + (1 - trust) * global_dx) * (_GRID.width / width)
    dy = (trust * motion.grid_dy + (1 - trust) * global_dy) * (_GRID.height / height)
    local = np.dstack([dx, dy]).astype(np.float32)
    return np.asarray(cv2.resize(local, (_GRID.width, _GRID.height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def compare(before: FloatArray, after: FloatArray, displacement: FloatArray) -> CellChange:
    """Measure how the brightness changed.

    Args:
        before: Reduced luma of the earlier frame.
        after: Reduced luma of the later frame.
        displacement: (96, 128, 2) from :func:`displacement`.

    Returns:
        The change from before to after; weights are zero where nothing could be compared.
    """
    # The displacement belongs to content of the earlier frame; between neighbours it is smooth enough to be
    # looked up at the later place.
    back = -displacement
    moved, inside = warp_array(before, back), inside_array(back)
    low, high = np.minimum(moved, after), np.maximum(moved, after)
    weight = (inside & (low > _USABLE.darkest) & (high < _USABLE.brightest)).astype(np.float32)
    weight *= np.square(np.minimum(low / _USABLE.full_trust, 1.0))
    if not weight.any():
        return CellChange.unknown()
    first, second = (np.log(np.maximum(levels, 1.0)) for levels in (moved, after))
    ratio = second - first
    mean = cv2.blur(ratio, (5, 5))
    scatter = np.maximum(cv2.blur(np.square(ratio), (5, 5)) - np.square(mean), 0)
    weight *= _same_detail(first, second, weight) / (1 + scatter / _USABLE.texture_noise**2)
    return _by_cell(ratio, np.float32(0.5) * (first + second) - np.float32(np.log(PIVOT)), weight)


def _same_detail(first: AnyFloats, second: AnyFloats, weight: AnyFloats) -> FloatArray:
    """How surely two frames (log levels) show the same in every place, (96, 128), 0..1."""
    window = (_USABLE.window, _USABLE.window)
    details = [levels - cv2.blur(levels, window) for levels in (first, second)]
    variances = [cv2.blur(np.square(detail), window) for detail in details]
    shared = cv2.blur(details[0] * details[1], window)
    most = np.maximum(variances[0], variances[1])
    noise = np.float32(_USABLE.detail_noise**2)
    # Against the larger of both: a thing that is there in one frame only has nothing to correlate with.
    alike = np.clip((shared / (most + 1e-9) - _USABLE.apart) / (_USABLE.together - _USABLE.apart), 0, 1)
    telling = most / (most + noise)
    told = float((weight * telling).sum()) + 1e-9
    # Where the detail of the frame as a whole does not agree, its smooth places are not the same ones either.
    overall = float((weight * telling * alike).sum()) / told
    share = told / float(weight.sum())
    smooth = _USABLE.smooth_trust * (1 - share * (1 - overall)) ** 2
    return np.asarray(telling * alike + (1 - telling) * np.float32(smooth), np.float32)


def _by_cell(ratio: AnyFloats, level: AnyFloats, weight: AnyFloats) -> CellChange:
    """Sum pixels up by cell, without those that differ from their cell."""
    ratio, level, weight = (_cells(plane) for plane in (ratio, level, weight))
    total = weight.sum(axis=1)
    mean = (weight * ratio).sum(axis=1) / np.maximum(total, 1e-6)
    kept = weight
    for reach in _USABLE.reaches:
        away = np.abs(ratio - mean[:, None])
        usual = (kept * away).sum(axis=1) / np.maximum(kept.sum(axis=1), 1e-6)
        limit = np.float32(reach) * np.maximum(usual, np.float32(_USABLE.least_deviation))
        kept = weight * np.square(np.maximum(0, 1 - np.square(away / limit[:, None])))
        mean = (kept * ratio).sum(axis=1) / np.maximum(kept.sum(axis=1), 1e-6)
    total = kept.sum(axis=1)
    share = kept / np.maximum(total, 1e-6)[:, None]
    middle = (share * level).sum(axis=1)
    off, around = ratio - mean[:, None], level - middle[:, None]
    spread = (share * np.square(around)).sum(axis=1)
    # Grain in one of the frames is in their ratio and in their level, and looks like a contrast.
    told = np.maximum(0, 1 - (share * np.square(off)).sum(axis=1) / np.maximum(spread, 1e-9))
    deviation = float(np.sqrt((kept * np.square(off)).sum() / max(float(total.sum()), 1e-6)))
    return CellChange(
        ratio=mean,
        level=middle,
        weight=total / np.float32(_GRID.cell**2),
        bend=told * (share * off * around).sum(axis=1),
        spread=told * spread,
        deviation=max(deviation, _USABLE.least_deviation),
    )


def _cells(plane: AnyFloats) -> FloatArray:
    """The pixels of every cell, (cells, pixels)."""
    rows, columns, cell = _GRID.cell_rows, _GRID.cell_columns, _GRID.cell
    return np.ascontiguousarray(
        plane.reshape(rows, cell, columns, cell).transpose(0, 2, 1, 3).reshape(_GRID.cells, cell * cell), np.float32
    )

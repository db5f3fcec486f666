"""How the brightness of the same scene differs between two frames.

The model is in the logarithm of the light, where exposure flicker is a sum:

    log Y₂(p) = log Y₁(p − d) + gain + contrast · (log Y₁ − log pivot) + Σ field_k · (B_k(p) − mean B_k)

`gain` and `contrast` (the exponent of a gamma curve, less 1) hold for the whole frame and the `field` is a smooth
surface of cubic B-splines (no seams). The scene of the first frame is moved by the measured motion, and a robust fit
(iteratively reweighted least squares, Tukey's biweight; P. Huber, "Robust Statistics", 1981) leaves out what the
motion does not explain: objects that enter, dirt, scratches.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ...arrays import DoubleArray, FloatArray
from ...video.warping import inside_array, warp_array
from ..motion.scene import FrameMotion
from ..robust import MAD_TO_SIGMA

AnyFloats = npt.NDArray[np.floating]

PIVOT = 128.0
"""Grey level that the contrast term leaves alone."""


@dataclass(frozen=True, kw_only=True)
class ComparisonGrid:
    """The small size at which the brightness of frames is compared, whatever their shape.

    Attributes:
        cell_rows: Cells from top to bottom in which the sums of the fit are taken: more than the field has control
            points (8), so that the cells can tell them.
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
        least: Share of the frame, weights counted, below which nothing is known of the change.
        ample: Share of the frame from which on the number of pixels gives no more cause for doubt.
        detail_noise: Standard deviation of the log levels about their surroundings that may be noise: what is smoother
            cannot tell whether the frames have been brought together.
        apart: Correlation (0 … 1) of the detail of two frames up to which they do not show the same things in the same
            places, and nothing is known of their brightness.
        together: Correlation from which on they surely do.
    """

    darkest: float = 4.0
    full_trust: float = 32.0
    brightest: float = 247.0
    texture_noise: float = 0.03
    least: float = 1e-3
    ample: float = 0.1
    detail_noise: float = 0.03
    apart: float = 0.35
    together: float = 0.6


@dataclass(frozen=True, kw_only=True)
class BrightnessFit:
    """How the model of a change is fitted.

    Attributes:
        reaches: Standard deviations beyond which a pixel is left out, from iteration to iteration: wide at first, lest
            a part of the frame whose brightness differs be taken for an object before the field has found it.
        correlated: Pixels per independent error: misregistration and codec errors come in patches. More trusts the
            priors more.
        spread_samples: Pixels from which the spread of the residual is taken; a median needs no more, and sorting all
            of them would cost more than the fit.
        least_sigma: Spread of the log ratio that is assumed at least: about one grey level in 250, so that two copies
            of a frame do not leave every pixel out that was rounded.
        prior_gain: Standard deviation of the log gain before anything is measured: a factor of 1.6, so wide that any
            flicker passes.
        prior_contrast: Standard deviation of the contrast before anything is measured: a scene of one brightness tells
            nothing of it, and then it stays near 0.
        prior_field: Standard deviation of the log gain of a control point of the field: flicker of old film differs by
            2 … 9 per cent across the frame. Larger fits the field to objects that enter.
    """

    reaches: tuple[float, ...] = (12.0, 9.0, 7.0, 6.0, 5.0, 5.0)
    correlated: float = 5.0
    spread_samples: int = 2000
    least_sigma: float = 0.004
    prior_gain: float = 0.5
    prior_contrast: float = 0.06
    prior_field: float = 0.06


_GRID = ComparisonGrid()
_USABLE = UsableLight()
_FIT = BrightnessFit()
PARTS = 4
"""Parts of the frame, down and across, whose mean levels are kept: few numbers, and small enough for a lamp in one."""


def spline_basis(count: int, size: int) -> FloatArray:
    """Return uniform cubic B-splines over a row of pixels.

    Args:
        count: Control points, at least 4; the outer ones lie one interval outside the row.
        size: Pixels.

    Returns:
        (size, count) weights of every control point at every pixel; each row sums to 1.
    """
    position = (np.arange(size) + 0.5) / size * (count - 3)
    cell = np.minimum(position.astype(int), count - 4)
    t = position - cell
    pieces = np.stack(((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3), axis=1) / 6
    basis = np.zeros((size, count), np.float32)
    np.put_along_axis(basis, cell[:, None] + np.arange(4), pieces.astype(np.float32), axis=1)
    return basis


@dataclass(frozen=True, kw_only=True, eq=False)
class BrightnessChange:
    """Brightness of a frame relative to another one.

    Attributes:
        values: (2 + rows · columns,) float64: gain, contrast and field coefficients of the model.
        confidence: 0..1, the share of the frame that could be compared and agreed.
        before: (4, 4) grey levels, mean of the earlier frame, moved, over the parts of the frame.
        after: (4, 4) grey levels, mean of the later frame over the same pixels.
        seen: (4, 4) 0..1, the share of every part that could be compared.
    """

    values: DoubleArray
    confidence: float
    before: DoubleArray
    after: DoubleArray
    seen: DoubleArray


class BrightnessComparer:
    """Compares frames of one shot.

    Args:
        rows: Control points of the field from top to bottom, at least 4; 0 leaves the field out.
        columns: Control points of the field from left to right, at least 4; 0 leaves the field out.
    """

    def __init__(self, rows: int, columns: int) -> None:
        cells = _GRID.cell_rows * _GRID.cell_columns
        parts = [np.ones((cells, 1))]
        self._precision = np.full(2 + rows * columns, 1 / _FIT.prior_field**2)
        self._precision[:2] = 1 / _FIT.prior_gain**2, 1 / _FIT.prior_contrast**2
        if rows and columns:
            field = np.einsum(
                "yr,xc->yxrc", spline_basis(rows, _GRID.cell_rows), spline_basis(columns, _GRID.cell_columns)
            )
            field = field.reshape(cells, rows * columns).astype(np.float64)
            parts.append(field - field.mean(axis=0))
        self._surfaces = np.concatenate(parts, axis=1)

    @property
    def size(self) -> int:
        """Number of values of a change."""
        return 1 + self._surfaces.shape[1]

    @staticmethod
    def reduce(luma: FloatArray) -> FloatArray:
        """Reduce a frame, (H, W) luma 0..255, to the size at which frames are compared."""
        return np.asarray(cv2.resize(luma, (_GRID.width, _GRID.height), interpolation=cv2.INTER_AREA), dtype=np.float32)

    @staticmethod
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
        return np.asarray(
            cv2.resize(local, (_GRID.width, _GRID.height), interpolation=cv2.INTER_LINEAR), dtype=np.float32
        )

    def compare(self, before: FloatArray, after: FloatArray, displacement: FloatArray) -> BrightnessChange:
        """Measure how the brightness changed.

        Args:
            before: Reduced luma of the earlier frame.
            after: Reduced luma of the later frame.
            displacement: (96, 128, 2) from :meth:`displacement`.

        Returns:
            The change from before to after; all zero with confidence 0 where nothing could be compared.
        """
        # The displacement belongs to content of the earlier frame; between neighbours it is smooth enough to be
        # looked up at the later place.
        back = -displacement
        moved, inside = warp_array(before, back), inside_array(back)
        low, high = np.minimum(moved, after), np.maximum(moved, after)
        weight = (inside & (low > _USABLE.darkest) & (high < _USABLE.brightest)).astype(np.float32)
        seen = _part_means(weight)
        first, second = (_part_means(weight * shown) / np.maximum(seen, 1e-9) for shown in (moved, after))
        means = {"before": first, "after": second, "seen": seen}
        weight *= np.square(np.minimum(low / _USABLE.full_trust, 1.0))
        log_before, log_after = np.log(np.maximum(moved, 1.0)), np.log(np.maximum(after, 1.0))
        alike = _alike(log_before, log_after, weight)
        ratio = log_after - log_before
        mean = cv2.blur(ratio, (5, 5))
        scatter = np.maximum(cv2.blur(np.square(ratio), (5, 5)) - np.square(mean), 0)
        weight /= 1 + scatter / _USABLE.texture_noise**2
        usable = float(weight.mean())
        if usable < _USABLE.least:
            return BrightnessChange(values=np.zeros(self.size), confidence=0.0, **means)

        level = log_before - np.float32(np.log(PIVOT))
        values, agreement = self._fit(ratio, level, weight)
        confidence = min(1.0, usable / _USABLE.ample) * agreement * alike
        return BrightnessChange(values=values, confidence=confidence, **means)

    def _fit(self, ratio: AnyFloats, level: AnyFloats, weight: AnyFloats) -> tuple[DoubleArray, float]:
        """Fit the model robustly; the field is taken as constant within a cell in the sums, not in the residuals."""
        solid = np.flatnonzero(weight > 0.25 * float(weight.max()))
        solid = solid[:: 1 + solid.size // _FIT.spread_samples]
        values = np.zeros(self.size)
        values[0] = float(np.median(ratio.ravel()[solid]))
        surface = np.full(ratio.shape, values[0], np.float32)
        agreement = 1.0
        for reach in _FIT.reaches:
            residual = ratio - surface - np.float32(values[1]) * level
            sigma = max(MAD_TO_SIGMA * float(np.median(np.abs(residual.ravel()[solid]))), _FIT.least_sigma)
            biweight = np.square(np.maximum(0, 1 - np.square(residual * np.float32(1 / (reach * sigma)))))
            total = weight * biweight
            agreement = float(total.sum() / weight.sum())
            # Noise in the regressor would bias the contrast towards 0, and add up over the shot. The mean of the
            # earlier frame and the later one, its brightness undone, has noise that the difference does not share.
            balanced = level + np.float32(0.5) * residual
            weighted_level = total * balanced
            sums = [total, weighted_level, weighted_level * balanced, total * ratio, weighted_level * ratio]
            w, wl, wll, wr, wlr = (_cell_sums(part) for part in sums)
            values = self._solve(w, wl, wll, wr, wlr, sigma)
            cells = (
                (self._surfaces @ np.delete(values, 1)).reshape(_GRID.cell_rows, _GRID.cell_columns).astype(np.float32)
            )
            surface = np.asarray(
                cv2.resize(cells, (_GRID.width, _GRID.height), interpolation=cv2.INTER_CUBIC), np.float32
            )
        return values, agreement

    def _solve(
        self, w: DoubleArray, wl: DoubleArray, wll: DoubleArray, wr: DoubleArray, wlr: DoubleArray, sigma: float
    ) -> DoubleArray:
        """Solve the weighted least squares whose sums per cell are given."""
        surfaces = self._surfaces
        others = np.delete(np.arange(self.size), 1)
        normal = np.diag(self._precision * (sigma**2 * _FIT.correlated))
        normal[np.ix_(others, others)] += surfaces.T @ (surfaces * w[:, None])
        cross = surfaces.T @ wl
        normal[1, others] += cross
        normal[others, 1] += cross
        normal[1, 1] += wll.sum()
        target = np.empty(self.size)
        target[1] = wlr.sum()
        target[others] = surfaces.T @ wr
        return np.asarray(np.linalg.solve(normal, target), dtype=np.float64)


def _cell_sums(image: AnyFloats) -> DoubleArray:
    """Sum up the pixels of every cell, (cells,)."""
    means = cv2.resize(image, (_GRID.cell_columns, _GRID.cell_rows), interpolation=cv2.INTER_AREA)
    return np.asarray(means.ravel() * _GRID.cell**2, dtype=np.float64)


def _part_means(image: AnyFloats) -> DoubleArray:
    """Mean of every part of a reduced picture, (4, 4)."""
    return np.asarray(cv2.resize(image, (PARTS, PARTS), interpolation=cv2.INTER_AREA), dtype=np.float64)


def _alike(before: AnyFloats, after: AnyFloats, weight: AnyFloats) -> float:
    """How surely two frames were brought together, 0..1, from the correlation of their detail (log levels)."""
    first, second = (levels - cv2.blur(levels, (_GRID.cell + 1, _GRID.cell + 1)) for levels in (before, after))
    total = float(weight.sum()) + 1e-9
    energy = [float((weight * np.square(detail)).sum()) / total for detail in (first, second)]
    floor = _USABLE.detail_noise**2
    if min(energy) < floor:
        # One shows next to nothing: as far as the other shows something, they are not the same.
        return float(np.clip(2 - np.sqrt(max(energy) / floor) / 2, 0, 1))
    correlation = float((weight * first * second).sum()) / total / np.sqrt(energy[0] * energy[1])
    return float(np.clip((correlation - _USABLE.apart) / (_USABLE.together - _USABLE.apart), 0, 1))

"""What light explains a change of brightness: a gain, a contrast and a smooth field, with how sure each is.

The model is in the logarithm of the light, where exposure flicker is a sum:

    log Y₂(p) = log Y₁(p − d) + gain + contrast · (log Y₁ − log pivot) + Σ field_k · (B_k(p) − mean B_k)

`gain` and `contrast` (the exponent of a gamma curve, less 1) hold for the whole frame and the `field` is a smooth
surface of cubic B-splines (no seams). The field has as many numbers as an object that enters has places to hide in, so
how far it is believed is learnt from the shot (empirical Bayes: B. Efron, "Large-Scale Inference", 2010): light that
differs across the frame differs in most cells, an object in a few of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...arrays import DoubleArray, FloatArray
from ..robust import MAD_TO_SIGMA, robust_sigma
from .brightness import CellChange, ComparisonGrid


@dataclass(frozen=True, kw_only=True)
class BrightnessFit:
    """How the model of a change is fitted.

    Attributes:
        reaches: Standard deviations beyond which a cell is left out, from iteration to iteration: wide at first, lest a
            part of the frame whose brightness differs be taken for an object before the field has found it.
        correlated_pixels: Pixels per independent error within a cell: misregistration and codec errors come in patches.
        correlated_cells: Cells per independent error: an object, or a motion that is wrong, covers several. More trusts
            the priors more.
        least_error: Deviation of the log ratio of a cell that is assumed at least.
        prior_gain: Standard deviation of the log gain before anything is measured: a factor of 1.6, so wide that any
            flicker passes.
        prior_contrast: Standard deviation of the contrast before anything is measured: a scene of one brightness tells
            nothing of it, and then it stays near 0.
        largest_field: Largest standard deviation of the log gain of the field of a frame: flicker of old film differs
            by 2 … 9 per cent across it.
        field_scale: Share of the frame's sides over which the field changes: flicker has a few patches of light at
            most.
        field_nugget: Share of the field's variance that every control point has for itself: it keeps the prior
            solvable and hardly bends the surface.
        doubt: Times by which the error of the whole frame's light is taken to be larger than that of independent cells.
        known_share: Share of a cell that must have been compared for it to have a say in how uneven the light is.
        ample: Share of the frame's cells from which on their number gives no more cause for doubt.
        part_error: Standard deviation of the log gain of the frame that is told by next to none of it.
        fewest_cells: Cells that must be known to tell uneven light from an object.
    """

    reaches: tuple[float, ...] = (12.0, 9.0, 7.0, 6.0)
    correlated_pixels: float = 2.0
    correlated_cells: float = 1.0
    least_error: float = 0.0015
    prior_gain: float = 0.5
    prior_contrast: float = 0.06
    largest_field: float = 0.09
    field_scale: float = 0.12
    field_nugget: float = 0.01
    doubt: float = 2.0
    known_share: float = 0.05
    ample: float = 0.25
    part_error: float = 0.05
    fewest_cells: int = 12


_GRID = ComparisonGrid()
_FIT = BrightnessFit()
AnyLevels = DoubleArray | FloatArray


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
        whole_error: Standard deviation of the log gain of the scene by gain and contrast, root mean square over the
            cells: gain and contrast of a dark scene can each be doubtful and their sum be known. Infinite where nothing
            could be compared.
        field_error: Of the field, likewise.
        level: Mean log of the scene's level over the pivot.
        level_spread: Its standard deviation over the cells.
    """

    values: DoubleArray
    whole_error: float
    field_error: float
    level: float
    level_spread: float


class BrightnessModel:
    """The model of a shot.

    Args:
        rows: Control points of the field from top to bottom, at least 4; 0 leaves the field out.
        columns: Control points of the field from left to right, at least 4; 0 leaves the field out.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._field: DoubleArray = np.zeros((_GRID.cells, 0))
        self._inverse_prior: DoubleArray = np.zeros((0, 0))
        if rows and columns:
            down, across = spline_basis(rows, _GRID.cell_rows), spline_basis(columns, _GRID.cell_columns)
            field = np.einsum("yr,xc->yxrc", down, across).reshape(_GRID.cells, rows * columns).astype(np.float64)
            self._field = np.asarray(field - field.mean(axis=0), np.float64)
            self._inverse_prior = np.asarray(np.linalg.inv(_smooth_prior(rows, columns)), np.float64)

    @property
    def size(self) -> int:
        """Number of values of a change."""
        return 2 + self._field.shape[1]

    def of_cells(self, values: DoubleArray, level: AnyLevels) -> DoubleArray:
        """Log gain of every cell, (n, cells), by values (n, size), where the scene has a level (n, cells)."""
        return np.asarray(values[:, :1] + values[:, 1:2] * level + values[:, 2:] @ self._field.T)

    @cached_property
    def nothing(self) -> BrightnessChange:
        """The change of two frames that could not be compared."""
        return BrightnessChange(
            values=np.zeros(self.size), whole_error=np.inf, field_error=0.0, level=0.0, level_spread=0.0
        )

    def fit(self, change: CellChange, field_sigma: float) -> BrightnessChange:
        """Fit the model robustly.

        Args:
            change: The cells of two frames.
            field_sigma: Standard deviation of the log gain of the field of one frame; see :func:`field_strength`.
        """
        usable = change.weight > 0
        if not usable.any():
            return self.nothing
        weight, ratio, level = (
            plane[usable].astype(np.float64) for plane in (change.weight, change.ratio, change.level)
        )
        field = self._field[usable] if field_sigma > 0 else np.zeros((len(ratio), 0))
        design = np.concatenate([np.ones((len(ratio), 1)), level[:, None], field], axis=1)
        noise = change.deviation**2 * _FIT.correlated_pixels
        light = _unevenness(change)
        rough = light.rough
        own = noise / np.maximum(weight * _GRID.cell**2, 1e-6)
        precision = np.zeros((design.shape[1],) * 2)
        precision[0, 0], precision[1, 1] = 1 / (2 * _FIT.prior_gain**2), 1 / (2 * _FIT.prior_contrast**2)
        if field.shape[1]:
            precision[2:, 2:] = self._inverse_prior / (2 * field_sigma**2)
        # What the contrast does within the cells.
        pull = float((weight * change.bend[usable]).sum()) * _GRID.cell**2 / noise
        precision[1, 1] += float((weight * change.spread[usable]).sum()) * _GRID.cell**2 / noise
        values = np.zeros(design.shape[1])
        values[0] = _weighted_median(ratio, weight)
        normal = precision
        for reach in _FIT.reaches:
            residual = ratio - design @ values
            apart = max(MAD_TO_SIGMA * _weighted_median(np.abs(residual), weight), _FIT.least_error)
            biweight = np.square(np.maximum(0, 1 - np.square(residual / (reach * apart))))
            # Before the field has been found, what it is going to explain is no error.
            error = min(apart, max(rough, _FIT.least_error)) if light.known else apart
            trust = biweight / ((error**2 + own) * _FIT.correlated_cells)
            normal = precision + design.T @ (design * trust[:, None])
            target = design.T @ (trust * ratio)
            target[1] += pull
            values = np.linalg.solve(normal, target)
        covariance = np.asarray(np.linalg.inv(normal), np.float64)
        all_values = np.zeros(self.size)
        all_values[: len(values)] = values
        field_error = 0.0
        if field.shape[1]:
            field_error = _root_mean_variance(self._field, covariance[2:, 2:])
        # A small part of the frame may be an object with a light of its own.
        seen = float((change.weight > _FIT.known_share).sum()) / (_FIT.ample * _GRID.cells)
        unseen = _FIT.part_error * max(0.0, 1 - seen)
        middle = float((weight * level).sum() / weight.sum())
        return BrightnessChange(
            values=all_values,
            whole_error=float(np.hypot(_FIT.doubt * _root_mean_variance(design[:, :2], covariance[:2, :2]), unseen)),
            field_error=field_error,
            level=middle,
            level_spread=float(np.sqrt((weight * np.square(level - middle)).sum() / weight.sum())),
        )


def _root_mean_variance(design: DoubleArray, covariance: DoubleArray) -> float:
    """Standard deviation of what a design (n, k) makes of values with a covariance (k, k), root mean square."""
    variance = ((design @ covariance) * design).sum(axis=1)
    return float(np.sqrt(np.maximum(variance, 0).mean()))


def field_strength(changes: Sequence[CellChange]) -> float:
    """Estimate how much the light of a shot differs across the frame, from frame to frame.

    Args:
        changes: Every frame compared with the one before.

    Returns:
        Standard deviation of the log gain of the field of one frame: 0 where the cells of most frames change together.
    """
    found = [max(light.smooth, 0.0) for change in changes if (light := _unevenness(change)).known]
    return float(min(np.sqrt(np.median(found) / 2), _FIT.largest_field)) if found else 0.0


class _Unevenness(NamedTuple):
    """How the log ratio of two frames differs over the cells.

    Attributes:
        known: Whether enough cells are known to tell.
        smooth: Variance over the frame, less what neighbours do not share: can be less than 0.
        rough: Deviation of a cell by itself, from its differences to its neighbours.
    """

    known: bool
    smooth: float
    rough: float


def _unevenness(change: CellChange) -> _Unevenness:
    known = change.weight > _FIT.known_share
    if known.sum() < _FIT.fewest_cells:
        return _Unevenness(False, 0.0, 0.0)
    ratio, level = change.ratio.astype(np.float64), change.level.astype(np.float64)
    slope, middle = _line(level[known], ratio[known])
    off = np.where(known, ratio - middle - slope * level, np.nan).reshape(_GRID.cell_rows, _GRID.cell_columns)
    # A cell against the mean of those on both its sides: what is smooth cancels.
    bends = np.concatenate([np.diff(off, 2, axis=axis).ravel() / 2 for axis in (0, 1)])
    bends = bends[np.isfinite(bends)]
    rough = robust_sigma(bends) ** 2 / 1.5 if bends.size else 0.0
    return _Unevenness(True, robust_sigma(off[known.reshape(off.shape)]) ** 2 - rough, float(np.sqrt(rough)))


def _line(level: DoubleArray, ratio: DoubleArray) -> tuple[float, float]:
    """Slope, and value at level 0, of a line through the ratios of most cells, with the prior of the contrast."""
    trust = np.ones_like(ratio)
    slope = middle = 0.0
    for reach in _FIT.reaches:
        total = float(trust.sum()) + 1e-9
        centre = float(trust @ level) / total
        around = level - centre
        error = max(robust_sigma(ratio - middle - slope * level), _FIT.least_error)
        ridge = error**2 / _FIT.prior_contrast**2
        slope = float((trust * around) @ ratio) / (float((trust * around) @ around) + ridge)
        middle = float(trust @ ratio) / total - slope * centre
        off = ratio - middle - slope * level
        off -= np.median(off)
        error = max(robust_sigma(off), _FIT.least_error)
        trust = np.square(np.maximum(0, 1 - np.square(off / (reach * error))))
    return slope, middle


def _weighted_median(values: DoubleArray, weight: DoubleArray) -> float:
    order = np.argsort(values)
    summed = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(summed, 0.5 * summed[-1])]])


def _smooth_prior(rows: int, columns: int) -> DoubleArray:
    """Covariance of the control points of a field of variance 1 that changes smoothly across the frame."""
    # The outer points lie one interval outside the frame, which has count - 3 of them.
    y, x = ((np.arange(count) - 1) / (count - 3) for count in (rows, columns))

    def kernel(place: DoubleArray) -> DoubleArray:
        return np.asarray(np.exp(-0.5 * np.square((place[:, None] - place[None]) / _FIT.field_scale)))

    return np.asarray(np.kron(kernel(y), kernel(x)) + _FIT.field_nugget * np.eye(rows * columns))

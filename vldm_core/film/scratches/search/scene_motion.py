"""How the scene moved past the film within a window, measured finely enough to tell scratches from scene verticals.

Gate weave moves the scene by tenths of a pixel. Displacements added up from frame to frame drift by more than that, so
they only serve as a start: every frame is registered to the scene layer of the whole window (Gauss-Newton on the band
profiles, B. D. Lucas and T. Kanade, IJCAI 1981), first with one displacement per frame, then cell by cell for parallax
and moving objects. Scratches, which stand still, must not pull the result to zero: the film layer is taken out before,
and the medians over cells are robust against what is left.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ....arrays import FloatArray


@dataclass(frozen=True, kw_only=True)
class SceneMotionRules:
    """How the scene is registered to itself, cell by cell.

    Attributes:
        rows_when_tilting: Rows of cells where the scene moves up or down.
        rows: Rows of cells where it does not: fewer hold more of a texture.
        columns: Columns of cells.
        global_passes: Blurs of the passes over whole frames, deviations in working pixels, from coarse to fine.
        local_passes: Blurs of the passes over cells.
        largest_step: Working pixels that a displacement changes by in one pass at most.
        fewest_views: Frames that must have seen a point of the scene for its slope to count.
        reach_rows: Rows of cells on each side that a cell takes its median over.
        reach_columns: Columns on each side: together wider than any scratch.
    """

    rows_when_tilting: int = 12
    rows: int = 6
    columns: int = 16
    global_passes: tuple[float, ...] = (3.0, 2.0, 2.0, 1.0, 1.0, 0.5)
    local_passes: tuple[float, ...] = (2.0, 2.0, 1.0, 1.0)
    largest_step: float = 2.0
    fewest_views: float = 2.5
    reach_rows: int = 1
    reach_columns: int = 2


_RULES = SceneMotionRules()

# Vertical motion below a fraction of a band is not worth a scene layer of its own.
STILL_BANDS = 0.3


def overall_displacement(profiles: FloatArray, start: FloatArray, sink: FloatArray) -> FloatArray:
    """Register every frame of a window to the common scene with one displacement per frame.

    Args:
        profiles: (T, bands, W) band profiles, with the film layer taken out as far as it is known.
        start: (T,) rough horizontal displacement of the scene since the first frame, working pixels.
        sink: (T,) vertical displacement of the scene since the first frame, bands.

    Returns:
        (T,) displacement; its zero is arbitrary.
    """
    grouped, sunk = _group_rows(profiles, sink)
    displacement = start.astype(np.float32).copy()
    for blur in _RULES.global_passes:
        field = np.broadcast_to(displacement[:, None, None], grouped.shape)
        numerator, energy = _normal_equations(grouped, field, sunk, blur)
        steps = np.clip(-numerator / (energy + 1e-9), -_RULES.largest_step, _RULES.largest_step)
        # Cells with nothing but grain do not vote, and a strong line in one does not count for more than a texture.
        quiet, usual = np.percentile(energy, (20, 60))
        weights = np.clip(energy - 1.5 * quiet, 1e-3 * usual + 1e-9, max(usual, 1e-9))
        displacement += _weighted_median(steps.reshape(len(steps), -1), weights.reshape(len(steps), -1))
    return displacement


def local_displacement(profiles: FloatArray, overall: FloatArray, sink: FloatArray) -> FloatArray:
    """Refine the displacement cell by cell.

    A cell takes the weighted median of the steps of a neighbourhood wider than any scratch, so what only one column of
    cells sees, such as a drifting scratch, is not followed.

    Args:
        profiles: (T, bands, W) band profiles, with the film layer taken out.
        overall: (T,) horizontal displacement of whole frames.
        sink: (T,) vertical displacement, bands.

    Returns:
        (T, bands, W) displacement.
    """
    grouped, sunk = _group_rows(profiles, sink)
    frames, bands, width = profiles.shape
    rows = grouped.shape[1]
    cells = np.broadcast_to(overall[:, None, None], (frames, rows, _RULES.columns)).astype(np.float32)
    for blur in _RULES.local_passes:
        numerator, energy = _normal_equations(grouped, _stretch(cells, rows, width), sunk, blur)
        steps = np.clip(-numerator / (energy + 1e-9), -_RULES.largest_step, _RULES.largest_step)
        # Where there is nothing to see, steps are noise: an empty cell votes for staying with the others.
        steps *= energy / (energy + 0.1 * np.median(energy) + 1e-9)
        weights = np.minimum(energy, np.percentile(energy, 75)) + 1e-9
        reach = ((0, 0), (_RULES.reach_rows, _RULES.reach_rows), (_RULES.reach_columns, _RULES.reach_columns))
        view = (2 * _RULES.reach_rows + 1, 2 * _RULES.reach_columns + 1)
        near = sliding_window_view(np.pad(steps, reach, mode="symmetric"), view, axis=(1, 2))
        near_weights = sliding_window_view(np.pad(weights, reach, mode="symmetric"), view, axis=(1, 2))
        median = _weighted_median(near.reshape(-1, view[0] * view[1]), near_weights.reshape(-1, view[0] * view[1]))
        cells = cells + median.reshape(cells.shape)
    return _stretch(cells, bands, width)


def _group_rows(profiles: FloatArray, sink: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Average bands into the rows of cells; with the rows by which the scene has sunk in every frame."""
    bands = profiles.shape[1]
    tilting = np.ptp(sink) > STILL_BANDS
    rows = min(_RULES.rows_when_tilting if tilting else _RULES.rows, bands)
    edges = np.linspace(0, bands, rows + 1).round().astype(int)
    sums = np.add.reduceat(profiles, edges[:-1], axis=1)
    sunk = np.round(sink * rows / bands).astype(np.int64) if tilting else np.zeros(len(sink), np.int64)
    return (sums / np.diff(edges)[:, None]).astype(np.float32), sunk


def _stretch(cells: FloatArray, rows: int, width: int) -> FloatArray:
    """Interpolate (T, r, c) cells to (T, rows, width)."""
    return np.stack([cv2.resize(frame, (width, rows), interpolation=cv2.INTER_LINEAR) for frame in cells]).astype(
        np.float32
    )


def _normal_equations(
    profiles: FloatArray, displacement: FloatArray, sunk: NDArray[np.int64], blur: float
) -> tuple[FloatArray, FloatArray]:
    """One Gauss-Newton step towards the mean scene, per cell: numerator and energy, (T, rows, 16) each."""
    _frames, rows, width = profiles.shape
    smooth = cv2.GaussianBlur(profiles.reshape(-1, width), (0, 0), blur, sigmaY=1e-6).reshape(profiles.shape)
    position = np.arange(width, dtype=np.float32) - displacement
    position = position - np.floor(position.min())
    canvas = int(np.ceil(position.max())) + 2
    base = position.astype(np.int32)
    part = position - base
    row = np.arange(rows) - sunk[:, None]
    row -= row.min()
    index = base + (row * canvas).astype(np.int32)[..., None]
    size = (int(row.max()) + 1) * canvas + 1
    flat, near, far = index.ravel(), (1 - part).ravel(), part.ravel()
    sums = np.bincount(flat, near * smooth.ravel(), size) + np.bincount(flat + 1, far * smooth.ravel(), size)
    views = (np.bincount(flat, near, size) + np.bincount(flat + 1, far, size)).astype(np.float32)
    scene = (sums / (views + 1e-3)).astype(np.float32)

    expected = scene[index] * (1 - part) + scene[index + 1] * part
    slope = np.zeros_like(expected)
    slope[..., 1:-1] = (expected[..., 2:] - expected[..., :-2]) / 2
    slope *= np.minimum(views[index], views[index + 1]) > _RULES.fewest_views
    edges = np.linspace(0, width, _RULES.columns + 1).astype(int)[:-1]
    return (
        np.add.reduceat(slope * (smooth - expected), edges, axis=2).astype(np.float32),
        np.add.reduceat(slope * slope, edges, axis=2).astype(np.float32),
    )


def _weighted_median(values: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.floating]:
    """Weighted median of every row of (n, m): (n,)."""
    order = np.argsort(values, axis=1, kind="stable")
    total = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    middle = np.argmax(total >= total[:, -1:] / 2, axis=1)
    return np.take_along_axis(values, np.take_along_axis(order, middle[:, None], axis=1), axis=1)[:, 0]

"""How the scene moved past the film within a window, measured finely enough to tell scratches from scene verticals.

Gate weave moves the scene by tenths of a pixel. Displacements added up from frame to frame drift by more than that, so
they only serve as a start: every frame is registered to the scene layer of the whole window (Gauss-Newton on the band
profiles, B. D. Lucas and T. Kanade, IJCAI 1981), first with one displacement per frame, then cell by cell for parallax
and moving objects. Robust medians over the cells keep scratches, which stand still, from pulling the result to zero.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_ROWS = 6
_COLUMNS = 16
_GLOBAL_PASSES = (3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 0.5, 0.5)
_LOCAL_PASSES = (2.0, 2.0, 1.0, 1.0, 0.5)
_MAX_STEP = 2.0
_MIN_VIEWS = 2.5
_TENT = np.array([0.5, 1.0, 0.5], np.float32)


def overall_displacement(profiles: FloatArray, start: FloatArray) -> FloatArray:
    """Register every frame of a window to the common scene with one displacement per frame.

    Args:
        profiles: (T, bands, W) band profiles.
        start: (T,) rough displacement of the scene since the first frame, working pixels.

    Returns:
        (T,) displacement; its zero is arbitrary.
    """
    grouped = _group_rows(profiles)
    displacement = start.astype(np.float32).copy()
    for blur in _GLOBAL_PASSES:
        field = np.broadcast_to(displacement[:, None, None], grouped.shape)
        numerator, energy = _normal_equations(grouped, field, blur)
        steps = np.clip(-numerator / (energy + 1e-9), -_MAX_STEP, _MAX_STEP)
        displacement += _weighted_median(steps, np.minimum(energy, np.percentile(energy, 90)))
    return displacement


def local_displacement(profiles: FloatArray, overall: FloatArray) -> FloatArray:
    """Refine the displacement cell by cell.

    Args:
        profiles: (T, bands, W) band profiles, with the film layer taken out.
        overall: (T,) displacement of whole frames.

    Returns:
        (T, bands, W) displacement.
    """
    grouped = _group_rows(profiles)
    frames, bands, width = profiles.shape
    cells = np.repeat(overall[:, None, None], _COLUMNS, axis=2).repeat(grouped.shape[1], axis=1).astype(np.float32)
    for blur in _LOCAL_PASSES:
        numerator, energy = _normal_equations(grouped, _stretch(cells, grouped.shape[1], width), blur)
        numerator, energy = _lean_on_neighbours(numerator), _lean_on_neighbours(energy)
        cells -= np.clip(numerator / (energy + 0.3 * np.median(energy) + 1e-9), -_MAX_STEP, _MAX_STEP)
    return _stretch(cells, bands, width)


def _group_rows(profiles: FloatArray) -> FloatArray:
    bands = profiles.shape[1]
    edges = np.unique(np.linspace(0, bands, min(_ROWS, bands) + 1).round().astype(int))
    sums = np.add.reduceat(profiles, edges[:-1], axis=1)
    return (sums / np.diff(edges)[:, None]).astype(np.float32)


def _stretch(cells: FloatArray, rows: int, width: int) -> FloatArray:
    """Interpolate (T, r, c) cells to (T, rows, width)."""
    return np.stack([cv2.resize(frame, (width, rows), interpolation=cv2.INTER_LINEAR) for frame in cells]).astype(
        np.float32
    )


def _lean_on_neighbours(cells: FloatArray) -> FloatArray:
    return np.stack(
        [cv2.sepFilter2D(frame, -1, _TENT, _TENT, borderType=cv2.BORDER_CONSTANT) for frame in cells]
    ).astype(np.float32)


def _normal_equations(profiles: FloatArray, displacement: FloatArray, blur: float) -> tuple[FloatArray, FloatArray]:
    """One Gauss-Newton step towards the mean scene, per cell: numerator and energy, (T, rows, 16) each."""
    frames, rows, width = profiles.shape
    smooth = cv2.GaussianBlur(profiles.reshape(-1, width), (0, 0), blur, sigmaY=1e-6).reshape(profiles.shape)
    position = np.arange(width, dtype=np.float32) - displacement
    position = position - np.floor(position.min())
    canvas = int(np.ceil(position.max())) + 2
    base = position.astype(np.int32)
    part = position - base
    index = base + (np.arange(rows, dtype=np.int32) * canvas)[:, None]
    size = rows * canvas + 1
    flat, near, far = index.ravel(), (1 - part).ravel(), part.ravel()
    sums = np.bincount(flat, near * smooth.ravel(), size) + np.bincount(flat + 1, far * smooth.ravel(), size)
    views = (np.bincount(flat, near, size) + np.bincount(flat + 1, far, size)).astype(np.float32)
    scene = (sums / (views + 1e-3)).astype(np.float32)

    expected = scene[index] * (1 - part) + scene[index + 1] * part
    slope = np.zeros_like(expected)
    slope[..., 1:-1] = (expected[..., 2:] - expected[..., :-2]) / 2
    slope *= np.minimum(views[index], views[index + 1]) > _MIN_VIEWS
    edges = np.linspace(0, width, _COLUMNS + 1).astype(int)[:-1]
    return (
        np.add.reduceat(slope * (smooth - expected), edges, axis=2).astype(np.float32),
        np.add.reduceat(slope * slope, edges, axis=2).astype(np.float32),
    )


def _weighted_median(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted median of every frame's cells: (T,)."""
    flat, weight = values.reshape(len(values), -1), weights.reshape(len(values), -1)
    order = np.argsort(flat, axis=1, kind="stable")
    total = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    middle = np.argmax(total >= total[:, -1:] / 2, axis=1)
    return np.take_along_axis(flat, np.take_along_axis(order, middle[:, None], axis=1), axis=1)[:, 0]

"""Motion of the scene between two consecutive frames, in film coordinates.

The analysis of a shot needs to know how the *scene* moves through the frame: scratches are told from scene verticals
because they do not take part, and gate weave is what is left of the motion after smoothing. So the measurement must see
through what sits on the film and not in the scene: dirt, brightness flicker, and above all strong vertical scratches,
which stand still and pull a flow estimator to zero around them.

Four steps. Narrow vertical structures that stand at the same place in both frames are taken out of both. Optical flow
at half size (`video/flow.py`, fast setting) gives every cell of a grid a robust median displacement. Robust
least-squares alignment of each cell (B. D. Lucas, T. Kanade, IJCAI 1981; weights after Geman and McClure) makes it
exact to a few hundredths of a pixel, which dense flow is not. A translation with a small rotation is fitted to the
cells, first by consensus (M. A. Fischler, R. C. Bolles, "Random Sample Consensus", 1981, with every cell as a
hypothesis, hence without chance), then by iteratively reweighted least squares with Tukey's biweight.
"""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray
from ...errors import SettingsError
from ...video.flow import FlowSettings, estimate_pair, normalise_brightness, prefill_dirt
from ...video.warping import consistency_array

RADIUS = 1
"""A measurement needs the frame and the one before it."""

GRID_ROWS = 6
"""Cells of the grid from top to bottom: large enough that most hold texture, small enough for the motion of each."""

GRID_COLUMNS = 16
"""Cells of the grid from left to right: narrower ones, because scratches are told from what moves beside them."""


@dataclass(frozen=True, kw_only=True)
class SceneMeasure:
    """The size at which motion is measured, and what agrees.

    Attributes:
        working_width: Pixels to which wider frames are reduced: the alignment of cells tells hundredths of a pixel
            there, and larger frames only cost more.
        smallest: Width and height in pixels below which frames are enlarged, so that every cell has pixels.
        consensus_radius: Pixels at the working width by which a cell may be off the global motion and still support it
            to the full. Larger lets parallax and objects into the fit.
    """

    working_width: int = 480
    smallest: tuple[int, int] = (64, 48)
    consensus_radius: float = 0.5


@dataclass(frozen=True, kw_only=True)
class StandingLines:
    """What counts as a narrow vertical line that stands still and is taken out of both frames.

    Attributes:
        levels: Grey levels that a line is away from both its flanks, at the same place in both frames. Lower takes
            texture out, higher leaves scratches in that pull the motion to zero.
        rows: Rows over which a line is averaged, so that grain falls to a sixth and a scratch stays. Odd.
        flank: Columns from a line to its flanks: wider than a scratch at the working width.
    """

    levels: float = 5.0
    rows: int = 41
    flank: int = 4


@dataclass(frozen=True, kw_only=True)
class CellAlignment:
    """How a cell of the grid is aligned by least squares.

    Attributes:
        sigma: Pixels of the blur before gradients are taken: without it grain is most of their energy.
        steps: Gauss-Newton steps from the optical flow, which is less than a pixel off where it is right.
        largest_step: Pixels of a step: a linear picture holds no farther.
        ridge: Energy of gradients, grey levels² per pixel², that is added at least: it keeps directions without texture
            where the optical flow put them.
        ridge_of_variance: The same as a share of the variance of the residual.
        grain: Share of the variance of the residual that is taken off the gradient energy before it counts as texture:
            grain alone gives blurred frames a quarter.
        doubt_of_variance: Share of the variance of the residual that texture is weighed against in the confidence.
        doubt: Energy, grey levels² per pixel², that it is weighed against at least.
    """

    sigma: float = 1.0
    steps: int = 3
    largest_step: float = 1.0
    ridge: float = 0.05
    ridge_of_variance: float = 0.1
    grain: float = 0.3
    doubt_of_variance: float = 0.5
    doubt: float = 0.3


_MEASURE = SceneMeasure()
_STANDING = StandingLines()
_ALIGN = CellAlignment()


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameMotion:
    """Motion of the scene content from the previous frame to this one.

    Content at p in the previous frame is at p + d(p) in this one. Global: d(p) = (dx, dy) + rotation by `angle` about
    the centre of the frame.

    Attributes:
        dx: Global displacement to the right, pixels of the full frame.
        dy: Global displacement downwards, pixels of the full frame.
        angle: Global rotation, degrees, positive from the x axis towards the y axis (clockwise on the screen).
        grid_dx: (6, 16) float32 local displacement, pixels of the full frame. Cells divide the frame evenly.
        grid_dy: (6, 16) float32.
        grid_confidence: (6, 16) float32 in 0 … 1: texture of the cell times the share of consistent flow.
        confidence: 0 … 1: how much of the confident part of the grid agrees with the global motion.
    """

    dx: float
    dy: float
    angle: float
    grid_dx: FloatArray
    grid_dy: FloatArray
    grid_confidence: FloatArray
    confidence: float


def measure_motion(previous: FloatArray, current: FloatArray) -> FrameMotion:
    """Measure how the scene moved from one frame to the next.

    Args:
        previous: (H, W) float32 luma, grey levels 0 … 255.
        current: (H, W), the following frame of the same shot.

    Returns:
        The motion; all zero with confidence 0 where neither frame has any texture.

    Raises:
        SettingsError: The frames differ in size or are not two-dimensional.
    """
    if previous.ndim != 2 or previous.shape != current.shape:
        raise SettingsError(f"motion needs two (H, W) frames of one size; got {previous.shape} and {current.shape}")
    full_height, full_width = previous.shape
    scale = min(1.0, _MEASURE.working_width / full_width)
    size = (max(_MEASURE.smallest[0], round(full_width * scale)), max(_MEASURE.smallest[1], round(full_height * scale)))
    before, after = (_reduce(luma, size) for luma in (previous, current))
    before, after = prefill_dirt(before), prefill_dirt(after)
    standing = _standing_lines(before, after)
    before, after = _bridge((before, after), standing)
    after = normalise_brightness(after, before)

    start, consistent = _coarse_grid(before, after)
    grid, confidence = _align_cells(before, after, start, ~standing)
    confidence = confidence * consistent

    to_full = np.array([full_width / size[0], full_height / size[1]], np.float32)
    grid = grid * to_full
    dx, dy, angle, agreement = _fit_global(grid, confidence, full_height, full_width)
    return FrameMotion(
        dx=dx,
        dy=dy,
        angle=angle,
        grid_dx=np.ascontiguousarray(grid[..., 0]),
        grid_dy=np.ascontiguousarray(grid[..., 1]),
        grid_confidence=confidence,
        confidence=agreement,
    )


def _reduce(luma: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Reduce a frame to the working size (width, height)."""
    if luma.shape == (size[1], size[0]):
        return luma.astype(np.float32, copy=False)
    return cast(FloatArray, cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32))


def _standing_lines(before: FloatArray, after: FloatArray) -> BoolArray:
    """Find narrow vertical lines that stand at the same place in both frames: (H, W) bool, one pixel of margin.

    A line differs from *both* its flanks in the same direction; an edge between two regions does not.
    """

    def ridge(luma: FloatArray) -> FloatArray:
        columns = cv2.blur(luma, (1, _STANDING.rows), borderType=cv2.BORDER_REFLECT)
        padded = cv2.copyMakeBorder(columns, 0, 0, _STANDING.flank, _STANDING.flank, cv2.BORDER_REFLECT)
        left = columns - padded[:, : -2 * _STANDING.flank]
        right = columns - padded[:, 2 * _STANDING.flank :]
        weaker = np.minimum(np.abs(left), np.abs(right))
        return cast(FloatArray, np.where(left * right > 0, np.sign(left) * weaker, 0.0).astype(np.float32))

    first, second = ridge(before), ridge(after)
    standing = (np.minimum(np.abs(first), np.abs(second)) > _STANDING.levels) & (first * second > 0)
    return cv2.dilate(standing.astype(np.uint8), np.ones((1, 3), np.uint8)) > 0


def _bridge(pair: tuple[FloatArray, FloatArray], mask: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Interpolate masked pixels of both frames along their row, which leaves vertical lines without a trace."""
    hidden_columns = mask.any(axis=0)
    if not hidden_columns.any() or hidden_columns.all():
        return pair
    # Only the columns that hide something, and their neighbours, which are visible in every row.
    columns = np.flatnonzero(np.convolve(hidden_columns, np.ones(3), mode="same") > 0)
    hidden = mask[:, columns]
    place = np.broadcast_to(np.arange(len(columns), dtype=np.int32), hidden.shape)
    left = np.maximum.accumulate(np.where(hidden, np.int32(-1), place), axis=1)
    right = np.minimum.accumulate(np.where(hidden, np.int32(len(columns)), place)[:, ::-1], axis=1)[:, ::-1]
    left, right = np.where(left < 0, right, left), np.where(right == len(columns), left, right)
    position = columns.astype(np.float32)
    share = (position[None] - position[left]) / np.maximum(position[right] - position[left], np.float32(1.0))
    row = np.arange(len(mask))[:, None]

    def bridge(luma: FloatArray) -> FloatArray:
        part = luma[:, columns]
        bridged = luma.copy()
        bridged[:, columns] = part[row, left] * (1.0 - share) + part[row, right] * share
        return bridged

    return bridge(pair[0]), bridge(pair[1])


def _coarse_grid(before: FloatArray, after: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Summarise the optical flow at half size.

    Returns:
        Displacement (6, 16, 2) in pixels of the given frames, the median over the better textured half of the
        consistent pixels of each cell; and the share (6, 16) of consistent pixels.
    """
    height, width = before.shape
    half = (max(1, width // 2), max(1, height // 2))
    small = [cast(FloatArray, cv2.resize(luma, half, interpolation=cv2.INTER_AREA)) for luma in (before, after)]
    settings = FlowSettings(quality="fast", working_side=max(*half, 64), spike_threshold=0, match_brightness=False)
    flow = estimate_pair(small[0], small[1], settings=settings)
    back = estimate_pair(small[1], small[0], settings=settings)
    valid = consistency_array(flow, back)
    smooth = cv2.GaussianBlur(small[0], (0, 0), 1.0)
    energy = np.square(cv2.Scharr(smooth, cv2.CV_32F, 1, 0)) + np.square(cv2.Scharr(smooth, cv2.CV_32F, 0, 1))

    # A fixed number of samples per cell keeps the medians one vectorised sort.
    rows, columns = 16, 8
    y = ((np.arange(GRID_ROWS * rows) + 0.5) / (GRID_ROWS * rows) * half[1]).astype(int)
    x = ((np.arange(GRID_COLUMNS * columns) + 0.5) / (GRID_COLUMNS * columns) * half[0]).astype(int)

    def by_cell(picture: NDArray) -> NDArray:
        samples = picture[y[:, None], x[None]].reshape(GRID_ROWS, rows, GRID_COLUMNS, columns, -1)
        return samples.transpose(0, 2, 4, 1, 3).reshape(GRID_ROWS, GRID_COLUMNS, -1, rows * columns)

    usable = by_cell(valid)
    share = usable.mean(axis=(2, 3)).astype(np.float32)
    strength = np.where(usable, by_cell(energy), -1.0)
    usable &= strength >= np.median(strength, axis=-1, keepdims=True)
    ordered = np.sort(np.where(usable, by_cell(flow), np.inf), axis=-1)
    middle = np.maximum(usable.sum(-1, keepdims=True) - 1, 0) // 2
    median = np.take_along_axis(ordered, np.broadcast_to(middle, (*ordered.shape[:-1], 1)), axis=-1)[..., 0]
    median = np.where(np.isfinite(median), median, 0.0)
    return cast(FloatArray, (median * (width / half[0], height / half[1])).astype(np.float32)), share


def _align_cells(
    before: FloatArray, after: FloatArray, start: FloatArray, usable: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Align every cell of `before` with `after` by robust least squares, beginning at `start`.

    Each step solves, per cell, min Σ w (∇I · δ + c − r)² with r = after(p + d) − before(p), and sets d ← d − δ. The
    offset c takes up what is left of flicker.

    Returns:
        Displacement (6, 16, 2) in pixels; and confidence (6, 16) in 0 … 1 from texture against residual.
    """
    height, width = before.shape
    smooth_before = cv2.GaussianBlur(before, (0, 0), _ALIGN.sigma)
    smooth_after = cv2.GaussianBlur(after, (0, 0), _ALIGN.sigma)
    gradient_x = cv2.Scharr(smooth_before, cv2.CV_32F, 1, 0, scale=1 / 32)
    gradient_y = cv2.Scharr(smooth_before, cv2.CV_32F, 0, 1, scale=1 / 32)
    # Cells of whole pixels; every second row is enough, the blur has made neighbours alike.
    cell_height, cell_width = height // GRID_ROWS // 2 * 2, width // GRID_COLUMNS
    top, left = (height - cell_height * GRID_ROWS) // 2, (width - cell_width * GRID_COLUMNS) // 2
    part = np.s_[top : top + cell_height * GRID_ROWS : 2, left : left + cell_width * GRID_COLUMNS]
    target, usable = smooth_before[part], usable[part]
    gradient_x, gradient_y = gradient_x[part], gradient_y[part]
    y = np.arange(height, dtype=np.float32)[part[0], None]
    x = np.arange(width, dtype=np.float32)[None, part[1]]

    def cell_mean(picture: NDArray) -> NDArray:
        cells = picture.reshape(GRID_ROWS, cell_height // 2, GRID_COLUMNS, cell_width)
        return cells.sum(axis=1).mean(axis=-1, dtype=np.float64)

    def spread(values: NDArray) -> NDArray:
        return np.repeat(np.repeat(values.astype(np.float32), cell_height // 2, 0), cell_width, 1)

    displacement = start.astype(np.float64)
    weakest = variance = np.zeros((GRID_ROWS, GRID_COLUMNS))
    for _ in range(_ALIGN.steps):
        position = x + spread(displacement[..., 0]), y + spread(displacement[..., 1])
        residual = cv2.remap(smooth_after, *position, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) - target
        scale = 1.48 * float(np.median(np.abs(residual[::2, ::3]))) * 2.0 + 1.0
        weight = (usable / np.square(1.0 + np.square(residual / scale))).astype(np.float32)
        total = np.maximum(cell_mean(weight), 1e-6)
        weighted_x, weighted_y = weight * gradient_x, weight * gradient_y
        mean_x, mean_y = cell_mean(weighted_x) / total, cell_mean(weighted_y) / total
        mean_r = cell_mean(weight * residual) / total
        xx = cell_mean(weighted_x * gradient_x) / total - mean_x * mean_x
        xy = cell_mean(weighted_x * gradient_y) / total - mean_x * mean_y
        yy = cell_mean(weighted_y * gradient_y) / total - mean_y * mean_y
        xr = cell_mean(weighted_x * residual) / total - mean_x * mean_r
        yr = cell_mean(weighted_y * residual) / total - mean_y * mean_r
        variance = cell_mean(weight * residual * residual) / total - mean_r * mean_r
        weakest = 0.5 * (xx + yy - np.sqrt(np.square(xx - yy) + 4.0 * xy * xy))
        # The ridge keeps directions without texture where the optical flow put them.
        ridge = _ALIGN.ridge + _ALIGN.ridge_of_variance * variance
        determinant = (xx + ridge) * (yy + ridge) - xy * xy
        step = np.stack(((yy + ridge) * xr - xy * yr, (xx + ridge) * yr - xy * xr), -1) / determinant[..., None]
        displacement = displacement - np.clip(step, -_ALIGN.largest_step, _ALIGN.largest_step)

    # Grain alone gives blurred frames a gradient energy of a quarter of the variance of their difference.
    texture = np.maximum(weakest - _ALIGN.grain * variance, 0.0)
    confidence = texture / (texture + _ALIGN.doubt_of_variance * variance + _ALIGN.doubt)
    return cast(FloatArray, displacement.astype(np.float32)), cast(FloatArray, confidence.astype(np.float32))


def _fit_global(grid: NDArray, confidence: FloatArray, height: int, width: int) -> tuple[float, float, float, float]:
    """Fit translation and rotation to the grid: dx, dy, angle in degrees, agreement 0 … 1."""
    weight = confidence.astype(np.float64).ravel()
    if weight.sum() <= 0:
        return 0.0, 0.0, 0.0, 0.0
    motion = grid.reshape(-1, 2).astype(np.float64)
    x = np.tile((np.arange(GRID_COLUMNS) + 0.5) / GRID_COLUMNS * width - width / 2, GRID_ROWS)
    y = np.repeat((np.arange(GRID_ROWS) + 0.5) / GRID_ROWS * height - height / 2, GRID_COLUMNS)
    unit = max(1.0, width / _MEASURE.working_width)

    distance = np.linalg.norm(motion[:, None] - motion[None], axis=-1) / unit
    support = (np.maximum(0.0, 1.0 - np.square(distance / (2 * _MEASURE.consensus_radius))) * weight).sum(1)
    start = motion[int(np.argmax(support * (weight > 0)))]
    solution = np.array([start[0], start[1], 0.0])

    design = np.zeros((2 * len(x), 3))
    design[: len(x), 0] = 1.0
    design[: len(x), 2] = -y
    design[len(x) :, 1] = 1.0
    design[len(x) :, 2] = x
    target = motion.T.ravel()
    biweight = np.ones(len(x))
    for reach in (3.0, 2.0, 1.5, 1.0, 1.0, 1.0):
        residual = (target - design @ solution).reshape(2, -1)
        error = np.hypot(residual[0], residual[1]) / (2 * _MEASURE.consensus_radius * unit * reach)
        biweight = np.square(np.maximum(0.0, 1.0 - np.square(error)))
        total = np.tile(weight * biweight, 2)
        normal = design.T @ (design * total[:, None])
        # A weak pull to "no rotation" decides where the cells lie too close together to tell.
        normal[2, 2] += 1e-3 * (weight.sum() + 1e-9) * (width * width + height * height) / 24
        normal[[0, 1], [0, 1]] += 1e-9
        solution = solution + np.linalg.solve(normal, design.T @ (total * (target - design @ solution)))
    agreement = float((weight * biweight).sum() / weight.sum() * min(1.0, 4 * weight.mean()))
    return float(solution[0]), float(solution[1]), float(np.rad2deg(solution[2])), agreement

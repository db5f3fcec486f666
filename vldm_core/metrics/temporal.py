"""Temporal steadiness: brightness flicker and warp error, along the motion.

Frames are (T, 3, H, W) RGB in [0, 1], flow is backward (T-1, 2, H, W) in pixels. A temporal figure alone rewards blur
and freezing, so it is never reported without a fidelity figure beside it.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import SettingsError
from ..video.luma import luma_array
from ..video.warping import warp_array

_LOG_OFFSET = 8.0
"""Grey levels added before a logarithm, so that noise in near-black pixels does not dominate a brightness ratio."""


@dataclass(frozen=True, kw_only=True)
class FlickerIndex:
    """Brightness instability of a film, as a fraction (0.01 = 1 %).

    Attributes:
        overall: Standard deviation over time of the frame-to-frame change of log brightness of the whole picture.
        local: The same per grid cell after the overall change is taken out, root mean square over the cells.
    """

    overall: float
    local: float


def flicker_index(frames: Tensor, flow: Tensor, visible: Tensor, *, grid: tuple[int, int] = (4, 4)) -> FlickerIndex:
    """Measure brightness flicker along the motion.

    For each pair of frames the log ratio of frame t+1 to the motion-compensated frame t is taken at the visible
    pixels; its median over the picture is the overall change d(t), its median over a cell minus d(t) the local one.
    The index is the standard deviation of d over time: a steady fade has none.

    Args:
        frames: (T, 3, H, W) in [0, 1], T ≥ 3.
        flow: (T-1, 2, H, W) backward flow.
        visible: (T-1, H, W), 1 where frame t+1 shows what frame t shows (not occluded, not leaving the picture).
        grid: Rows and columns of the local cells.

    Raises:
        SettingsError: There are fewer than three frames, or the flow does not fit them.
    """
    _check_flow(frames, flow, visible, least=3)
    overall: list[float] = []
    local: list[np.ndarray] = []
    for index in range(flow.shape[0]):
        current = np.log(luma_array(frames[index + 1]) + _LOG_OFFSET)
        previous = np.log(luma_array(frames[index]) + _LOG_OFFSET)
        ratio = current - _look_up(previous, flow[index])
        seen = visible[index].numpy() > 0.5
        change = float(np.median(ratio[seen])) if seen.any() else 0.0
        overall.append(change)
        local.append(_cell_medians(ratio, seen, grid) - change)
    spread = np.nanstd(np.stack(local), axis=0)
    return FlickerIndex(overall=float(np.std(overall)), local=float(np.sqrt(np.mean(np.square(spread)))))


def warp_error(frames: Tensor, flow: Tensor, visible: Tensor) -> float | None:
    """Return the mean absolute difference between frame t+1 and the flow-warped frame t, in grey levels.

    The warping error of Lai et al. (ECCV 2018, equation 5) as a mean absolute luma difference over the visible
    pixels. Give every method the same flow, taken from the undamaged film, or the figures do not compare.

    Args:
        frames: (T, 3, H, W) in [0, 1], T ≥ 2.
        flow: (T-1, 2, H, W) backward flow.
        visible: (T-1, H, W), 1 where the pair shows the same thing.

    Returns:
        0 … 255, or None when nothing is visible in both frames of any pair.
    """
    _check_flow(frames, flow, visible, least=2)
    total, count = 0.0, 0
    for index in range(flow.shape[0]):
        warped = _look_up(luma_array(frames[index]), flow[index])
        seen = visible[index].numpy() > 0.5
        total += float(np.abs(luma_array(frames[index + 1]) - warped)[seen].sum())
        count += int(seen.sum())
    return total / count if count else None


def _look_up(image: np.ndarray, flow: Tensor) -> np.ndarray:
    """Sample a plane (H, W) along a flow (2, H, W)."""
    return warp_array(image, np.ascontiguousarray(flow.permute(1, 2, 0).numpy(), dtype=np.float32))


def _cell_medians(values: np.ndarray, seen: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Median of the seen values per cell, (rows, columns); the median of all where a cell shows too little."""
    medians = np.zeros(grid)
    fallback = float(np.median(values[seen])) if seen.any() else 0.0
    for row, band in enumerate(np.array_split(np.arange(values.shape[0]), grid[0])):
        for column, stripe in enumerate(np.array_split(np.arange(values.shape[1]), grid[1])):
            cell = np.ix_(band, stripe)
            inside = values[cell][seen[cell]]
            enough = inside.size * 4 >= band.size * stripe.size and inside.size > 0
            medians[row, column] = float(np.median(inside)) if enough else fallback
    return medians


def _check_flow(frames: Tensor, flow: Tensor, visible: Tensor, *, least: int) -> None:
    if frames.shape[0] < least:
        raise SettingsError(f"need at least {least} frames for a temporal figure, got {frames.shape[0]}")
    expected = (frames.shape[0] - 1, *frames.shape[2:])
    if tuple(visible.shape) != expected or tuple(flow.shape) != (expected[0], 2, *expected[1:]):
        raise SettingsError(
            f"flow {tuple(flow.shape)} and visibility {tuple(visible.shape)} do not fit frames {tuple(frames.shape)}"
        )

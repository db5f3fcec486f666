"""Figures of merit for restored film: fidelity, damage left outside, detection with tolerance, flicker, warp error.

All functions take what the rest of the core takes: frames (T, 3, H, W) RGB in [0, 1], masks (T, H, W) with 1 = damaged,
backward flow (T-1, 2, H, W) in pixels. Differences are reported in grey levels (0 … 255), shares as fractions.

A temporal figure alone rewards blur and freezing, so it is never reported without a fidelity figure beside it.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import SettingsError
from ..video.luma import luma_array
from ..video.warping import warp_array

GREY_LEVELS = 255.0

_LOG_OFFSET = 8.0
"""Grey levels added before a logarithm, so that noise in near-black pixels does not dominate a brightness ratio."""


@dataclass(frozen=True, kw_only=True)
class DetectionScore:
    """How well a mask finds the truth, in pixels counted with a spatial tolerance.

    Attributes:
        recall: Share of true pixels with a detection within the tolerance, or None when nothing is damaged.
        precision: Share of detected pixels with damage within the tolerance, or None when nothing was detected.
        f1: Harmonic mean of the two; 0 when damage exists and none was hit; None when nothing is damaged.
        false_alarm: Share of the undamaged pixels (outside the tolerance) that are flagged, or None without any.
    """

    recall: float | None
    precision: float | None
    f1: float | None
    false_alarm: float | None


@dataclass(frozen=True, kw_only=True)
class FlickerIndex:
    """Brightness instability of a film, as a fraction (0.01 = 1 %).

    Attributes:
        overall: Standard deviation over time of the frame-to-frame change of log brightness of the whole picture.
        local: The same per grid cell after the overall change is taken out, root mean square over the cells.
    """

    overall: float
    local: float


@dataclass(frozen=True, kw_only=True)
class Texture:
    """What became of the fine texture of a picture.

    Attributes:
        detail: Share of the reference's fine texture that is there, at its place: 1 = all, less = blurred, more =
            sharpened or steeper in contrast. None where the reference has none.
        residue: Fine texture that is not the reference's, grain, noise and artefacts alike: its standard deviation in
            grey levels.
    """

    detail: float | None
    residue: float


def psnr(output: Tensor, reference: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB for a peak of 1, infinite when the two are equal.

    Args:
        output: Any shape, in [0, 1].
        reference: Same shape.
    """
    _same_shape(output, reference)
    return _decibels(float((output - reference).square().mean(dtype=torch.float64)))


def psnr_inside(output: Tensor, reference: Tensor, mask: Tensor) -> float | None:
    """Return the PSNR over the masked pixels of all frames together, or None when the mask is empty.

    The squared error is pooled over all masked pixels and channels before the logarithm, so that a frame with a
    single speck does not weigh as much as a frame full of dirt.

    Args:
        output: (T, 3, H, W) in [0, 1].
        reference: Same shape.
        mask: (T, H, W); pixels above 0.5 count.
    """
    _same_shape(output, reference)
    chosen = _binary(mask, output)
    if not bool(chosen.any()):
        return None
    error = (output - reference).square().mean(dim=1)
    return _decibels(float(error[chosen].mean(dtype=torch.float64)))


def ssim(output: Tensor, reference: Tensor, mask: Tensor | None = None) -> float | None:
    """Return the mean structural similarity of the luma (Wang et al. 2004, equation 13).

    Gaussian window 11×11 with σ 1.5, K1 = 0.01, K2 = 0.03, mirrored borders.

    Args:
        output: (T, 3, H, W) in [0, 1].
        reference: Same shape.
        mask: Optional (T, H, W): average the similarity map over its pixels above 0.5 only.

    Returns:
        -1 … 1, or None when the mask is empty.
    """
    values = ssim_map(output, reference)
    if mask is not None:
        values = values[_binary(mask, output)]
    return float(values.mean(dtype=torch.float64)) if values.numel() else None


def ssim_map(output: Tensor, reference: Tensor) -> Tensor:
    """Return the structural similarity of the luma around every pixel; see `ssim`.

    Args:
        output: (T, 3, H, W) in [0, 1].
        reference: Same shape.

    Returns:
        (T, H, W), -1 … 1.
    """
    _same_shape(output, reference)
    maps = [_ssim_map(luma_array(one), luma_array(other)) for one, other in zip(output, reference, strict=True)]
    return torch.from_numpy(np.stack(maps).astype(np.float32))


def largest_change_outside(output: Tensor, source: Tensor, mask: Tensor) -> float:
    """Return the largest absolute change of any channel outside a mask, in grey levels.

    Args:
        output: (T, 3, H, W) in [0, 1].
        source: The frames before the change, same shape.
        mask: (T, H, W); pixels above 0 count as inside (a feathered mask may change them).

    Returns:
        0 … 255; 0 when the mask covers everything.
    """
    _same_shape(output, source)
    if mask.shape != output.shape[:1] + output.shape[2:]:
        raise SettingsError(f"mask {tuple(mask.shape)} does not fit frames {tuple(output.shape)}; pass (T, H, W)")
    change = (output - source).abs().amax(dim=1)
    return float(torch.where(mask > 0, torch.zeros_like(change), change).max()) * GREY_LEVELS


def share_changed_outside(output: Tensor, source: Tensor, mask: Tensor, *, levels: float = 2.0) -> float | None:
    """Return the share of pixels outside a mask that changed by more than some grey levels, or None without any.

    With the truth as the mask this is the collateral damage of a method: sound picture that it rewrote.

    Args:
        output: (T, 3, H, W) in [0, 1].
        source: The frames before the change, same shape.
        mask: (T, H, W); pixels above 0 are left out.
        levels: Smallest change in grey levels that counts.
    """
    _same_shape(output, source)
    outside = mask <= 0
    total = int(outside.sum())
    if total == 0:
        return None
    changed = (output - source).abs().amax(dim=1) * GREY_LEVELS > levels
    return int((changed & outside).sum()) / total


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Grow a mask by a square of (2·radius + 1) pixels.

    Args:
        mask: (T, H, W) bool or float.
        radius: Pixels, 0 or more.

    Returns:
        (T, H, W) bool.
    """
    if radius < 0:
        raise SettingsError(f"the dilation radius must be 0 or more pixels, got {radius}")
    solid = mask > 0.5
    if radius == 0:
        return solid
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    grown = [cv2.dilate(plane, kernel) for plane in solid.to(torch.uint8).numpy()]
    return torch.from_numpy(np.stack(grown)) > 0


def score_detection(
    detected: Tensor, truth: Tensor, *, tolerance: int = 1, ignore: Tensor | None = None
) -> DetectionScore:
    """Score a mask against the truth with a spatial tolerance.

    A true pixel is found if a detected pixel lies within `tolerance` (Chebyshev distance); a detected pixel is right
    if a true pixel lies within `tolerance`; a false alarm is a detected pixel that is not right.

    Args:
        detected: (T, H, W), 1 = flagged.
        truth: (T, H, W), 1 = damaged.
        tolerance: Pixels, 0 … 2 are usual.
        ignore: Optional (T, H, W): places that count neither for nor against (damage of another kind, which a
            detector may or may not flag). True pixels of `truth` always count.

    Returns:
        The scores; see `DetectionScore` for what is None when.
    """
    if detected.shape != truth.shape:
        raise SettingsError(f"detected {tuple(detected.shape)} and truth {tuple(truth.shape)} differ in shape")
    flagged, real = detected > 0.5, truth > 0.5
    near_truth = dilate(truth, tolerance)
    near_flag = dilate(detected, tolerance)
    if ignore is not None:
        flagged = flagged & (near_truth | ~dilate(ignore, tolerance))
    undamaged = ~near_truth
    if ignore is not None:
        undamaged &= ~dilate(ignore, tolerance)
    real_count, flag_count, calm_count = int(real.sum()), int(flagged.sum()), int(undamaged.sum())
    recall = int((real & near_flag).sum()) / real_count if real_count else None
    precision = int((flagged & near_truth).sum()) / flag_count if flag_count else None
    false_alarm = int((flagged & undamaged).sum()) / calm_count if calm_count else None
    return DetectionScore(
        recall=recall, precision=precision, f1=_harmonic_mean(recall, precision), false_alarm=false_alarm
    )


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


def texture(output: Tensor, reference: Tensor) -> Texture:
    """Tell detail that was kept from texture that does not belong to the picture.

    The fine texture of the luma is what a Gaussian of σ 2 px takes off. That of the output is split into its projection
    on that of the reference, the detail, and the rest, over all frames together.

    Args:
        output: (T, 3, H, W) in [0, 1].
        reference: Same shape.
    """
    _same_shape(output, reference)
    own = both = wanted = 0.0
    for one, other in zip(output, reference, strict=True):
        fine, true = _fine(one), _fine(other)
        own += float(np.square(fine).sum())
        both += float((fine * true).sum())
        wanted += float(np.square(true).sum())
    foreign = own - both * both / wanted if wanted > 0 else own
    pixels = output.shape[0] * output.shape[2] * output.shape[3]
    return Texture(detail=both / wanted if wanted > 0 else None, residue=math.sqrt(max(0.0, foreign) / pixels))


def _fine(frame: Tensor) -> np.ndarray:
    plane = luma_array(frame).astype(np.float64)
    return plane - cv2.GaussianBlur(plane, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT)


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


def _ssim_map(output: np.ndarray, reference: np.ndarray) -> np.ndarray:
    def blur(plane: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(plane, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    first, second = (0.01 * GREY_LEVELS) ** 2, (0.03 * GREY_LEVELS) ** 2
    output, reference = output.astype(np.float64), reference.astype(np.float64)
    mean_o, mean_r = blur(output), blur(reference)
    variance_o = blur(output * output) - mean_o**2
    variance_r = blur(reference * reference) - mean_r**2
    covariance = blur(output * reference) - mean_o * mean_r
    structure = (2 * mean_o * mean_r + first) * (2 * covariance + second)
    return structure / ((mean_o**2 + mean_r**2 + first) * (variance_o + variance_r + second))


def _harmonic_mean(recall: float | None, precision: float | None) -> float | None:
    if recall is None:
        return None
    if precision is None or recall + precision == 0:
        return 0.0
    return 2 * recall * precision / (recall + precision)


def _decibels(mean_square: float) -> float:
    return math.inf if mean_square == 0 else -10.0 * math.log10(mean_square)


def _binary(mask: Tensor, frames: Tensor) -> Tensor:
    if mask.shape != frames.shape[:1] + frames.shape[2:]:
        raise SettingsError(f"mask {tuple(mask.shape)} does not fit frames {tuple(frames.shape)}; pass (T, H, W)")
    return mask > 0.5


def _same_shape(output: Tensor, reference: Tensor) -> None:
    if output.shape != reference.shape:
        raise SettingsError(f"output {tuple(output.shape)} and reference {tuple(reference.shape)} differ in shape")


def _check_flow(frames: Tensor, flow: Tensor, visible: Tensor, *, least: int) -> None:
    if frames.shape[0] < least:
        raise SettingsError(f"need at least {least} frames for a temporal figure, got {frames.shape[0]}")
    expected = (frames.shape[0] - 1, *frames.shape[2:])
    if tuple(visible.shape) != expected or tuple(flow.shape) != (expected[0], 2, *expected[1:]):
        raise SettingsError(
            f"flow {tuple(flow.shape)} and visibility {tuple(visible.shape)} do not fit frames {tuple(frames.shape)}"
        )

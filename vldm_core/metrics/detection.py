"""Detection: how well a mask finds the damage, with a spatial tolerance. Curves over thresholds: `detection_curve`."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import SettingsError


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


def _harmonic_mean(recall: float | None, precision: float | None) -> float | None:
    if recall is None:
        return None
    if precision is None or recall + precision == 0:
        return 0.0
    return 2 * recall * precision / (recall + precision)

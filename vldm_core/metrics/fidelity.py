"""Fidelity: how near a film is to a reference, what is left of its fine texture, and what was changed elsewhere.

Frames are (T, 3, H, W) RGB in [0, 1], masks (T, H, W) with 1 = damaged. Differences are reported in grey levels
(0 … 255), shares as fractions.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import SettingsError
from ..video.luma import luma_array

GREY_LEVELS = 255.0


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

    kornia's sums up in the precision of the frames, 2e-6 dB off in single precision, and its way to double precision
    would copy whole films.

    Args:
        output: Any shape, in [0, 1].
        reference: Same shape.
    """
    _same_shape(output, reference)
    return decibels(float((output - reference).square().mean(dtype=torch.float64)))


def decibels(mean_square: float, peak: float = 1.0) -> float:
    """Return the peak signal-to-noise ratio in dB of a mean squared error, infinite when there is none.

    Args:
        mean_square: Mean squared error, 0 or more.
        peak: Largest value of what was compared, in the same unit.
    """
    return math.inf if mean_square == 0 else 20.0 * math.log10(peak) - 10.0 * math.log10(mean_square)


def ssim(output: Tensor, reference: Tensor, mask: Tensor | None = None) -> float | None:
    """Return the mean structural similarity of the luma (Wang et al. 2004, equation 13).

    Gaussian window 11×11 with σ 1.5, K1 = 0.01, K2 = 0.03, mirrored borders. kornia's gives the same away from the
    borders, in about fifteen times the time on a processor.

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

    With the truth as the mask this is the collateral damage of a method: undamaged picture that it rewrote.

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


def _binary(mask: Tensor, frames: Tensor) -> Tensor:
    if mask.shape != frames.shape[:1] + frames.shape[2:]:
        raise SettingsError(f"mask {tuple(mask.shape)} does not fit frames {tuple(frames.shape)}; pass (T, H, W)")
    return mask > 0.5


def _same_shape(output: Tensor, reference: Tensor) -> None:
    if output.shape != reference.shape:
        raise SettingsError(f"output {tuple(output.shape)} and reference {tuple(reference.shape)} differ in shape")

"""Textbook detectors and repairs to measure against, in their usual untuned form.

They are kept apart from `vldm_core.film` on purpose and use plain OpenCV DIS flow of their own, so that they stay what
they are while the pack's stages improve. Frames: (T, 3, H, W) RGB in [0, 1]; masks: (T, H, W) float {0, 1}.

Every function sees one shot. The first and last frame have only one neighbour; there the two nearest frames on the
same side serve as the references.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.video.luma import luma
from vldm_core.video.warping import warp_array

SDIP_THRESHOLD = 14.0
"""Grey levels; the threshold at which the spike detection index is usually quoted."""

ROD_THRESHOLDS = (25.0, 38.0, 55.0)
"""Grey levels for the three rank-ordered differences."""

_INPAINT_RADIUS = 3.0


@dataclass(frozen=True, kw_only=True)
class _References:
    """Frame t in grey levels and its two motion-compensated references, all (H, W) float32."""

    index: int
    current: np.ndarray
    first: np.ndarray
    second: np.ndarray


def sdip_strength(frames: Tensor) -> Tensor:
    """Measure dirt with the spike detection index with polarity test (Kokaram 1998, SDIp).

    A pixel is dirt if it differs from both motion-compensated neighbours by more than a threshold, usually
    `SDIP_THRESHOLD`, in the same direction: the smaller of the two differences where they have one sign, 0 elsewhere.

    Args:
        frames: (T, 3, H, W), T ≥ 3.

    Returns:
        (T, H, W) grey levels, ≥ 0.

    Raises:
        SettingsError: Fewer than three frames.
    """
    strength = torch.zeros(frames.shape[0], *frames.shape[2:])
    for references in _motion_compensated(frames):
        first = references.current - references.first
        second = references.current - references.second
        least = np.where(first * second > 0, np.minimum(np.abs(first), np.abs(second)), 0)
        strength[references.index] = torch.from_numpy(least.astype(np.float32))
    return strength


def rod_strength(frames: Tensor, *, thresholds: tuple[float, float, float] = ROD_THRESHOLDS) -> Tensor:
    """Measure dirt with rank-ordered differences (Nadenau and Mitra 1997, ROD), each in units of its threshold.

    The references are the pixel and the ones above and below it in both motion-compensated neighbours, sorted as
    r1 … r6. With m = (r3 + r4) / 2 the differences are d_i = r_i - I where I ≤ m and d_i = I - r_(7-i) elsewhere,
    i = 1 … 3; the pixel is dirt if the largest of them, in units of its threshold, exceeds 1.

    Args:
        frames: (T, 3, H, W), T ≥ 3.
        thresholds: Grey levels, rising.

    Returns:
        (T, H, W), ≥ 0.

    Raises:
        SettingsError: Fewer than three frames.
    """
    strength = torch.zeros(frames.shape[0], *frames.shape[2:])
    for references in _motion_compensated(frames):
        samples = []
        for plane in (references.first, references.second):
            padded = np.pad(plane, ((1, 1), (0, 0)), mode="edge")
            samples += [padded[:-2], plane, padded[2:]]
        ranked = np.sort(np.stack(samples), axis=0)
        below = references.current <= (ranked[2] + ranked[3]) / 2
        largest = np.zeros(below.shape, np.float32)
        for rank, threshold in enumerate(thresholds):
            difference = np.where(below, ranked[rank] - references.current, references.current - ranked[5 - rank])
            largest = np.maximum(largest, difference / np.float32(threshold))
        strength[references.index] = torch.from_numpy(largest)
    return strength


def inpaint_telea(frames: Tensor, mask: Tensor) -> Tensor:
    """Fill masked pixels frame by frame with fast marching inpainting (Telea 2004, as in OpenCV).

    Args:
        frames: (T, 3, H, W).
        mask: (T, H, W), filled where above 0.5.

    Returns:
        (T, 3, H, W), bit-equal to the input outside the mask.
    """
    return _inpaint(frames, mask, cv2.INPAINT_TELEA)


def inpaint_navier_stokes(frames: Tensor, mask: Tensor) -> Tensor:
    """Fill masked pixels frame by frame with Navier–Stokes inpainting (Bertalmio et al. 2001, as in OpenCV).

    Args:
        frames: (T, 3, H, W).
        mask: (T, H, W), filled where above 0.5.

    Returns:
        (T, 3, H, W), bit-equal to the input outside the mask.
    """
    return _inpaint(frames, mask, cv2.INPAINT_NS)


def fill_neighbour_mean(frames: Tensor, mask: Tensor) -> Tensor:
    """Fill masked pixels with the mean of the motion-compensated previous and next frame.

    Motion is measured, and the fill is taken, on frames whose masked pixels were first inpainted (Telea), so that
    damage does not attract the flow and a neighbour's own damage is not copied in.

    Args:
        frames: (T, 3, H, W), T ≥ 3.
        mask: (T, H, W), filled where above 0.5.

    Returns:
        (T, 3, H, W), bit-equal to the input outside the mask.

    Raises:
        SettingsError: Fewer than three frames.
    """
    prefilled = inpaint_telea(frames, mask)
    output = frames.clone()
    planes = _eight_bit_grey(prefilled)
    for index in range(frames.shape[0]):
        inside = mask[index] > 0.5
        if not bool(inside.any()):
            continue
        warped = [
            warp_array(prefilled[other].numpy().transpose(1, 2, 0), _dis_flow(planes[index], planes[other]))
            for other in _neighbours(index, frames.shape[0])
        ]
        mean = torch.from_numpy(np.mean(warped, axis=0).transpose(2, 0, 1).astype(np.float32))
        output[index] = torch.where(inside[None], mean, frames[index])
    return output


def median_of_three(frames: Tensor) -> Tensor:
    """Replace every pixel by the median of itself and its two motion-compensated neighbours, per channel.

    Args:
        frames: (T, 3, H, W), T ≥ 3.

    Returns:
        (T, 3, H, W); the whole picture is filtered, there is no mask.

    Raises:
        SettingsError: Fewer than three frames.
    """
    output = torch.empty_like(frames)
    planes = _eight_bit_grey(frames)
    for index in range(frames.shape[0]):
        stack = [frames[index].numpy().transpose(1, 2, 0)]
        for other in _neighbours(index, frames.shape[0]):
            flow = _dis_flow(planes[index], planes[other])
            stack.append(warp_array(frames[other].numpy().transpose(1, 2, 0), flow))
        output[index] = torch.from_numpy(np.median(stack, axis=0).transpose(2, 0, 1).astype(np.float32))
    return output


def _motion_compensated(frames: Tensor) -> Iterator[_References]:
    planes = _eight_bit_grey(frames)
    exact = luma(frames).numpy()
    for index in range(frames.shape[0]):
        first, second = (
            warp_array(exact[other], _dis_flow(planes[index], planes[other]))
            for other in _neighbours(index, frames.shape[0])
        )
        yield _References(index=index, current=exact[index], first=first, second=second)


def _neighbours(index: int, count: int) -> tuple[int, int]:
    if count < 3:
        raise SettingsError(f"a temporal baseline needs at least 3 frames, got {count}")
    if index == 0:
        return 1, 2
    if index == count - 1:
        return count - 2, count - 3
    return index - 1, index + 1


def _eight_bit_grey(frames: Tensor) -> np.ndarray:
    return luma(frames).round().clamp(0, 255).to(torch.uint8).numpy()


def _dis_flow(current: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Flow (H, W, 2) with which `current` looks up `other`: dense inverse search (Kroeger et al. 2016), medium."""
    if min(current.shape) < 16:
        # DIS cannot build its pyramid below one 8 px patch at half size; such a picture is all but still anyway.
        return np.zeros((*current.shape, 2), np.float32)
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(current, other, None)  # type: ignore[call-overload]


def _inpaint(frames: Tensor, mask: Tensor, method: int) -> Tensor:
    if mask.shape != frames.shape[:1] + frames.shape[2:]:
        raise SettingsError(f"mask {tuple(mask.shape)} does not fit frames {tuple(frames.shape)}; pass (T, H, W)")
    output = frames.clone()
    for index in range(frames.shape[0]):
        inside = mask[index] > 0.5
        if not bool(inside.any()):
            continue
        image = (frames[index] * 255).round().clamp(0, 255).to(torch.uint8).numpy().transpose(1, 2, 0)
        filled = cv2.inpaint(np.ascontiguousarray(image), inside.to(torch.uint8).numpy(), _INPAINT_RADIUS, method)
        repaired = torch.from_numpy(filled.transpose(2, 0, 1).astype(np.float32) / 255)
        output[index] = torch.where(inside[None], repaired, frames[index])
    return output

"""Bring what the network knows of one frame to the place where the next one has it, and say how far to trust it."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..arrays import BoolArray, FloatArray
from ..errors import SettingsError
from ..video.warping import consistency, consistency_array, warp, warp_array

NEARBY_CHANNELS = 6
"""Of `nearby`: three colours of two neighbours."""

_RIM = cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3))
"""The pixel on each side that interpolation mixes in."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How frames look one neighbour up, at the size of the features.

    Attributes:
        flow: (B, N, 2, h, w), pixels of the features: lives on frame n and looks up its neighbour.
        trust: (B, N, h, w) in 0 … 1: 0 where either frame is damaged or the flow cannot be right.
    """

    flow: Tensor
    trust: Tensor

    def __len__(self) -> int:
        return self.flow.shape[1]


def alignments(backward: Tensor, forward: Tensor, masks: Tensor, *, scale: int) -> tuple[Alignment, Alignment]:
    """Prepare the two directions of a clip.

    A masked pixel gives nothing, because what it shows is damage or its repair, and takes nothing, because the motion
    measured there is that of the damage.

    Args:
        backward: (B, T-1, 2, H, W), pixels: entry t lives on frame t+1 and looks up frame t.
        forward: (B, T-1, 2, H, W), pixels: entry t lives on frame t and looks up frame t+1.
        masks: (B, T, H, W), 1 = damaged.
        scale: Size of a frame over that of its features; divides H and W.

    Returns:
        For frames 1 … T-1 looking up their predecessors, and for frames 0 … T-2 looking up their successors.

    Raises:
        SettingsError: The shapes do not belong together.
    """
    if backward.shape != forward.shape or backward.ndim != 5 or masks.shape[1] != backward.shape[1] + 1:
        raise SettingsError(
            f"flows {tuple(backward.shape)} and {tuple(forward.shape)} and masks {tuple(masks.shape)} do not belong "
            "together; give two flows per pair of neighbours (B, T-1, 2, H, W) and a mask per frame (B, T, H, W)"
        )
    if backward.shape[-2] % scale or backward.shape[-1] % scale:
        raise SettingsError(f"frames of {tuple(backward.shape[-2:])} cannot be divided by {scale}; pad them first")
    sound = soundness(masks, scale=scale).to(backward.dtype)

    before = alignment_of(backward, consistency(backward, forward), sound[:, 1:], sound[:, :-1], scale=scale)
    after = alignment_of(forward, consistency(forward, backward), sound[:, :-1], sound[:, 1:], scale=scale)
    return before, after


def alignment_of(flow: Tensor, right: Tensor, here: Tensor, there: Tensor, *, scale: int) -> Alignment:
    """Prepare one direction of a clip; see `alignments`.

    Args:
        flow: (B, N, 2, H, W), pixels: lives on the frames that look up a neighbour.
        right: (B, N, H, W), True where that flow can be right.
        here: (B, N, H/scale, W/scale), `soundness` of these frames.
        there: (B, N, H/scale, W/scale), of the neighbours.
        scale: Size of a frame over that of its features.
    """
    shape = flow.shape[:2]
    small = functional.avg_pool2d(flow.flatten(0, 1), scale).unflatten(0, shape) / scale
    share = functional.avg_pool2d(right.to(flow.dtype).flatten(0, 1)[:, None], scale)[:, 0].unflatten(0, shape)
    shown = warp(there[:, :, None], small)[:, :, 0]
    return Alignment(flow=small, trust=share * here * (shown > 0.999).to(flow.dtype))


def nearby(frames: Tensor, backward: Tensor, forward: Tensor, masks: Tensor) -> Tensor:
    """Return what the neighbours of every frame show, pixel by pixel, less what the frame shows itself.

    Added to a frame in equal shares they give the motion-compensated mean, in which grain and noise cancel out.

    Args:
        frames: (T, 3, H, W).
        backward: (T-1, 2, H, W), pixels: entry t lives on frame t+1 and looks up frame t.
        forward: (T-1, 2, H, W), pixels: entry t lives on frame t and looks up frame t+1.
        masks: (T, H, W), above 0 = damaged.

    Returns:
        (T, 6, H, W): the predecessor's three channels, then the successor's; 0 where there is no neighbour, or where it
        cannot be trusted.
    """
    pictures = [interleaved(frame) for frame in frames]
    back, ahead = ([interleaved(flow) for flow in flows] for flows in (backward, forward))
    damage = [mask.numpy() > 0 for mask in masks]
    result = torch.zeros(len(frames), NEARBY_CHANNELS, *frames.shape[-2:])
    for t in range(len(frames) - 1):
        later, earlier = (pictures[t + 1], damage[t + 1]), (pictures[t], damage[t])
        result[t + 1, :3] = seen_from(*later, *earlier, back[t], consistency_array(back[t], ahead[t]))
        result[t, 3:] = seen_from(*earlier, *later, ahead[t], consistency_array(ahead[t], back[t]))
    return result


def interleaved(planes: Tensor) -> FloatArray:
    """Return (C, H, W) as an array (H, W, C)."""
    return np.ascontiguousarray(planes.numpy().transpose(1, 2, 0))


def seen_from(
    here: FloatArray,
    damaged_here: NDArray[np.bool_],
    there: FloatArray,
    damaged_there: NDArray[np.bool_],
    flow: FloatArray,
    right: BoolArray,
) -> Tensor:
    """Return what another frame shows at the place of every pixel, less what is here; see `nearby`.

    Args:
        here: (H, W, 3).
        damaged_here: (H, W).
        there: (H, W, 3), the other frame.
        damaged_there: (H, W).
        flow: (H, W, 2), pixels, lives here and looks the other frame up.
        right: (H, W), where that flow can be right.

    Returns:
        (3, H, W); 0 where either frame is damaged or the flow cannot be right.
    """
    spoilt = cv2.dilate(damaged_there.astype(np.float32), _RIM)
    lost = damaged_here | (warp_array(spoilt, flow) > 0) | ~right
    apart = warp_array(there, flow) - here
    apart[lost] = 0
    return torch.from_numpy(apart.transpose(2, 0, 1))


def soundness(masks: Tensor, *, scale: int) -> Tensor:
    """Tell which features show nothing of the damage.

    A feature covers `scale` pixels on a side, and one damaged pixel spoils it; convolutions have carried the damage to
    the features beside, so they do not count as sound, either.

    Args:
        masks: (B, T, H, W), above 0 = damaged.
        scale: Size of a frame over that of its features.

    Returns:
        (B, T, H/scale, W/scale), 0 or 1.
    """
    damaged = functional.max_pool2d((masks > 0).float().flatten(0, 1)[:, None], scale)
    damaged = functional.max_pool2d(damaged, 3, stride=1, padding=1)
    return 1 - damaged[:, 0].unflatten(0, masks.shape[:2])


def aligned(features: Tensor, flow: Tensor, trust: Tensor) -> Tensor:
    """Look features up along a flow; 0 where they cannot be trusted.

    Args:
        features: (B, C, h, w) of the neighbour.
        flow: (B, 2, h, w), pixels of the features.
        trust: (B, h, w).
    """
    # Positions need single precision, whatever the features are kept in.
    moved = warp(features.float(), flow.float()).to(features.dtype)
    return moved * (trust[:, None] > 0).to(features.dtype)

"""Bring what the network knows of one frame to the place where the next one has it, and say how far to trust it."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError
from ..video.warping import consistency, warp


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

    def prepared(flow: Tensor, back: Tensor, here: Tensor, there: Tensor) -> Alignment:
        shape = flow.shape[:2]
        right = consistency(flow, back).to(flow.dtype)
        small = functional.avg_pool2d(flow.flatten(0, 1), scale).unflatten(0, shape) / scale
        right = functional.avg_pool2d(right.flatten(0, 1)[:, None], scale)[:, 0].unflatten(0, shape)
        shown = warp(there[:, :, None], small)[:, :, 0]
        return Alignment(flow=small, trust=right * here * (shown > 0.999).to(flow.dtype))

    return (
        prepared(backward, forward, sound[:, 1:], sound[:, :-1]),
        prepared(forward, backward, sound[:, :-1], sound[:, 1:]),
    )


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

"""Losses for networks that restore clips."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError
from ..video.warping import warp

_EPSILON = 1e-3


def charbonnier(output: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of √(d² + ε²), ε = 10⁻³: an L1 that is smooth at 0.

    P. Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed imaging", ICIP 1994.

    Args:
        output: Any shape.
        target: The same shape.
        weight: Broadcasts to that shape; None weighs all alike.
    """
    distance = torch.sqrt((output - target).square() + _EPSILON**2)
    if weight is None:
        return distance.mean()
    weight = weight.expand_as(distance)
    return (distance * weight).sum() / weight.sum().clamp(min=1e-6)


def multi_scale(pictures: Sequence[Tensor], target: Tensor, weights: Sequence[float]) -> Tensor:
    """Charbonnier at every scale against the target of that size.

    Args:
        pictures: (B, T, C, H/s, W/s) at s = 1, 2, 4 ….
        target: (B, T, C, H, W).
        weights: One per picture.

    Raises:
        SettingsError: Pictures and weights differ in number.
    """
    if len(pictures) != len(weights):
        raise SettingsError(f"{len(pictures)} pictures and {len(weights)} weights; give one weight per picture")
    total = target.new_zeros(())
    flat = target.flatten(0, 1)
    for level, (picture, weight) in enumerate(zip(pictures, weights, strict=True)):
        smaller = flat if level == 0 else functional.avg_pool2d(flat, 2**level)
        total = total + weight * charbonnier(picture.flatten(0, 1), smaller)
    return total


def gradient(output: Tensor, target: Tensor) -> Tensor:
    """L1 between the differences of neighbouring pixels: edges as sharp as those of the target, and flat where it is.

    Args:
        output: (…, H, W).
        target: The same shape.
    """
    apart = output - target
    return apart.diff(dim=-1).abs().mean() + apart.diff(dim=-2).abs().mean()


def temporal(output: Tensor, target: Tensor, flow: Tensor, trust: Tensor) -> Tensor:
    """Charbonnier between how output and target change along the motion.

    W.-S. Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, compare the output with its warped
    predecessor; the target's own change along the same motion is taken off here, so that wrong flow, light that changes
    and what is uncovered are not punished.

    Args:
        output: (B, T, C, H, W).
        target: The same shape.
        flow: (B, T-1, 2, H, W), pixels: entry t lives on frame t+1 and looks up frame t.
        trust: (B, T-1, H, W), weight of every pixel.
    """
    apart = output - target
    change = apart[:, 1:] - warp(apart[:, :-1], flow)
    return charbonnier(change, torch.zeros_like(change), trust[:, :, None])

"""Curves that give one distribution of L*, a* and b* another (histogram specification, Gonzalez and Woods)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .colour_space import lab_from_rgb, rgb_from_lab


@dataclass(frozen=True, kw_only=True)
class CurveGrid:
    """How finely distributions and curves are held.

    Attributes:
        bins: Bins of the histogram of a channel: a twentieth of a unit of L*, an eighth of one of a* and b*, finer than
            8 bits are.
        quantiles: Quantiles of a distribution, at even shares: one for every thousandth of the picture.
        ranges: Least and largest L*, a* and b* of sRGB.
        slope: Units of the channel by which quantiles are made to rise from the first to the last at least, so that the
            inverse exists.
    """

    bins: int = 2048
    quantiles: int = 1025
    ranges: tuple[tuple[float, float], ...] = ((0.0, 100.0), (-128.0, 128.0), (-128.0, 128.0))
    slope: float = 1e-6


CURVE = CurveGrid()


def quantiles_of(frame: Tensor) -> Tensor:
    """Quantiles of L*, a*, b* of (1, 3, H, W) at even shares from 0 to 1, (3, quantiles) float64."""
    lab = lab_from_rgb(frame.clamp(0, 1))[0]
    shares = torch.linspace(0, 1, CURVE.quantiles, dtype=torch.float64)
    found = []
    for values, (lowest, highest) in zip(lab, CURVE.ranges, strict=True):
        counts = torch.histc(values, CURVE.bins, lowest, highest).double()
        edges = torch.linspace(lowest, highest, CURVE.bins + 1, dtype=torch.float64)
        # Empty bins have no share; without them the sum rises at every step.
        filled = functional.pad(counts > 0, (1, 0), value=True)
        filled[:-1] |= counts > 0
        reached = functional.pad(counts.cumsum(0), (1, 0)) / counts.sum()
        found.append(_interpolate(shares, reached[filled], edges[filled]))
    return torch.stack(found)


def matching_curves(content: Tensor, style: Tensor) -> Tensor:
    """Monotone curves that give one distribution the other: their values at the edges of the bins, (3, bins + 1)."""
    curves = []
    for channel, (lowest, highest) in enumerate(CURVE.ranges):
        edges = torch.linspace(lowest, highest, CURVE.bins + 1, dtype=torch.float64)
        # A trace of a slope makes the quantiles rise everywhere, so that the inverse exists.
        slope = torch.linspace(0, CURVE.slope, CURVE.quantiles, dtype=torch.float64)
        before, after = content[channel] + slope, style[channel] + slope
        inside = _interpolate(edges, before, after)
        # Beyond what was seen the curve goes on in parallel.
        curves.append(inside + (edges - before[0]).clamp(max=0) + (edges - before[-1]).clamp(min=0))
    return torch.stack(curves).float()


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear interpolation at ``x`` of ``values`` at rising ``knots``."""
    right = torch.searchsorted(knots, x.contiguous()).clamp(1, len(knots) - 1)
    left = right - 1
    share = ((x - knots[left]) / (knots[right] - knots[left]).clamp(min=1e-12)).clamp(0, 1)
    return values[left] + share * (values[right] - values[left])


def follow_curves(frame: Tensor, curves: Tensor, lightness: bool) -> Tensor:
    """Send the L*, a*, b* of (1, 3, H, W) through curves."""
    lab = lab_from_rgb(frame.clamp(0, 1))
    channels = []
    for channel, (lowest, highest) in enumerate(CURVE.ranges):
        values = lab[:, channel]
        if channel or lightness:
            position = ((values - lowest) / (highest - lowest) * CURVE.bins).clamp(0, CURVE.bins)
            left = position.floor().long().clamp(max=CURVE.bins - 1)
            curve = curves[channel].to(values)
            values = curve[left] + (position - left) * (curve[left + 1] - curve[left])
        channels.append(values)
    return rgb_from_lab(torch.stack(channels, dim=1))

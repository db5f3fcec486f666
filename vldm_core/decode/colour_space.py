"""CIE L*a*b* of sRGB pictures, and the way back.

sRGB by IEC 61966-2-1, L*a*b* by CIE 15:2004 with the D65 white point. Lightness is 0 … 100; a* and b* are within ±128
for every sRGB colour. The way back and forth closes to 1e-5.

The white point is that of the matrix, so that grey has no a* and no b*. kornia takes it from a table: its grey is off
by up to 0.005, which moves every colour-matched picture by a twentieth of a grey level, and it takes as long.
"""

import torch
from torch import Tensor

_RGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Factors of linear R, G and B in X, Y and Z (IEC 61966-2-1)."""

_DELTA = 6.0 / 29.0
"""The cube root becomes a line below the cube of this, a share of white, with the slope that continues it (CIE 15)."""


def lab_from_rgb(frames: Tensor) -> Tensor:
    """Return L*, a*, b* of pictures.

    Args:
        frames: (..., 3, H, W) RGB in [0, 1].

    Returns:
        (..., 3, H, W).
    """
    linear = torch.where(frames <= 0.04045, frames / 12.92, ((frames.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    matrix = _matrix(frames)
    white = matrix.sum(dim=1)
    share = torch.einsum("ij,...jhw->...ihw", matrix / white[:, None], linear)
    root = torch.where(share > _DELTA**3, share.clamp(min=1e-12) ** (1.0 / 3.0), share / (3 * _DELTA**2) + 4.0 / 29.0)
    x, y, z = root.unbind(dim=-3)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-3)


def rgb_from_lab(lab: Tensor) -> Tensor:
    """Return RGB of L*, a*, b*; colours outside sRGB leave [0, 1].

    Args:
        lab: (..., 3, H, W).
    """
    lightness, a, b = lab.unbind(dim=-3)
    y = (lightness + 16) / 116
    root = torch.stack((y + a / 500, y, y - b / 200), dim=-3)
    share = torch.where(root > _DELTA, root**3, 3 * _DELTA**2 * (root - 4.0 / 29.0))
    matrix = _matrix(lab)
    white = matrix.sum(dim=1)
    linear = torch.einsum("ij,...jhw->...ihw", torch.linalg.inv(matrix) * white, share)
    curved = 1.055 * linear.clamp(min=1e-12) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curved)


def _matrix(like: Tensor) -> Tensor:
    return torch.tensor(_RGB_TO_XYZ, dtype=like.dtype, device=like.device)

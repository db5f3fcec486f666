"""Blur, and the soft edge along which one picture takes over from another."""

import cv2
import numpy as np
import torch
from torch import Tensor


def takeover(mask: Tensor, grow: int, feather: float) -> Tensor:
    """Return how much of a fill shows: 1 inside a mask, falling to 0 at the rim of its widened shape.

    Args:
        mask: (H, W), above 0.5 is inside.
        grow: Pixels by which it is widened.
        feather: Pixels over which the fill takes over.

    Returns:
        (H, W) float32; exactly 0 outside the widened mask.
    """
    inside = (mask > 0.5).cpu().numpy().astype(np.uint8)
    if grow and inside.any():
        # Distance to the mask, so that it grows to a round shape.
        inside = (cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) <= grow).astype(np.uint8)
    if feather <= 0:
        return torch.from_numpy(inside.astype(np.float32))
    if inside.all():
        return torch.ones(mask.shape)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    return torch.from_numpy(np.clip(depth / np.float32(feather), 0, 1).astype(np.float32))


def gaussian(frame: Tensor, sigma: float) -> Tensor:
    """Blur a picture with a Gaussian; borders are repeated.

    Args:
        frame: (C, H, W).
        sigma: Pixels.
    """
    # Here, because importing it takes a quarter of a second that no command without a blur needs.
    from kornia.filters import gaussian_blur2d

    side = 2 * max(1, round(3 * sigma)) + 1
    return gaussian_blur2d(frame[None], (side, side), (sigma, sigma), border_type="replicate")[0]

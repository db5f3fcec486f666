"""Look pictures up along an optical flow, and tell where it can be trusted.

A flow has channel 0 = x, channel 1 = y, in pixels, and *lives on* the frame that looks something up: `other` sampled at
p + flow(p) looks like `here`. Functions named `…_array` take NumPy arrays laid out (H, W) or (H, W, C), flow (H, W, 2);
the others take torch tensors laid out (…, C, H, W), flow (…, 2, H, W).

Where a flow can be trusted is told by forward-backward consistency: N. Sundaram, T. Brox, K. Keutzer, "Dense Point
Trajectories by GPU-accelerated Large Displacement Optical Flow", ECCV 2010, equation 5.
"""

from functools import lru_cache
from typing import Literal, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import BoolArray, FloatArray
from ..errors import SettingsError

CONSISTENCY_SLOPE = 0.01
"""Share of the squared lengths of two opposite flows that their squared sum may have (Sundaram et al., equation 5)."""

CONSISTENCY_OFFSET = 0.5
"""Pixels² that are added to that."""


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Look `image` up along `flow`, bilinearly.

    Beyond the border the nearest border pixel is taken; `inside` tells where that happened.

    Args:
        image: (…, C, H, W) float.
        flow: (…, 2, H, W) pixels, with the same leading dimensions.

    Returns:
        (…, C, H, W): value at p is image(p + flow(p)).

    Raises:
        SettingsError: The shapes do not belong together.
    """
    height, width = image.shape[-2:]
    if flow.shape[-3] != 2 or flow.shape[-2:] != image.shape[-2:] or flow.shape[:-3] != image.shape[:-3]:
        raise SettingsError(f"image {tuple(image.shape)} and flow {tuple(flow.shape)} do not belong together")
    x, y = _positions(flow)
    grid = torch.stack((x * (2.0 / max(width - 1, 1)) - 1.0, y * (2.0 / max(height - 1, 1)) - 1.0), dim=-1)
    flat = image.reshape(-1, *image.shape[-3:])
    warped = torch.nn.functional.grid_sample(
        flat, grid.reshape(-1, height, width, 2).to(flat.dtype), mode="bilinear", padding_mode="border",
        align_corners=True,
    )  # fmt: skip
    return warped.reshape(image.shape)


def inside(flow: Tensor) -> Tensor:
    """Tell where a flow stays inside the frame.

    Args:
        flow: (…, 2, H, W) pixels.

    Returns:
        (…, H, W) bool, True where p + flow(p) lies between the centres of the outermost pixels.
    """
    height, width = flow.shape[-2:]
    x, y = _positions(flow)
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def consistency(flow: Tensor, back: Tensor) -> Tensor:
    """Check a flow against the flow of the opposite direction.

    With f = flow(p) and b = back(p + f), a pixel is valid where |f + b|² < 0.01 (|f|² + |b|²) + 0.5 (Sundaram et al.
    2010, equation 5) and where p + f is inside the frame.

    Args:
        flow: (…, 2, H, W) pixels. The answer lives on the same frame as this flow.
        back: (…, 2, H, W) pixels, from the looked-up frame to this one.

    Returns:
        (…, H, W) bool.
    """
    returned = warp(back, flow)
    error = (flow + returned).square().sum(-3)
    length = flow.square().sum(-3) + returned.square().sum(-3)
    return (error < CONSISTENCY_SLOPE * length + CONSISTENCY_OFFSET) & inside(flow)


def _positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute positions p + flow(p), each (…, H, W)."""
    height, width = flow.shape[-2:]
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    return flow[..., 0, :, :] + columns, flow[..., 1, :, :] + rows


def warp_array(image: NDArray, flow: FloatArray, interpolation: Literal["linear", "nearest"] = "linear") -> NDArray:
    """Look `image` up along `flow`; the NumPy twin of `warp`.

    Beyond the border the nearest border pixel is taken; `inside_array` tells where that happened.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        flow: (H, W, 2) float32, pixels.
        interpolation: "nearest" keeps masks binary. OpenCV's cubic kernel is not offered: it does not reproduce a ramp
            and displaces content by up to 0.05 px.

    Returns:
        Array like `image`: value at p is image(p + flow(p)).
    """
    mode = cv2.INTER_NEAREST if interpolation == "nearest" else cv2.INTER_LINEAR
    place = cv2.add(flow, pixel_grid(*flow.shape[:2]))
    return cv2.remap(image, place, cast(NDArray, None), mode, borderMode=cv2.BORDER_REPLICATE)


def inside_array(flow: FloatArray) -> BoolArray:
    """Tell where a flow (H, W, 2) stays inside the frame: (H, W) bool; the NumPy twin of `inside`."""
    height, width = flow.shape[:2]
    place = cv2.add(flow, pixel_grid(height, width))
    return cv2.inRange(place, (0.0, 0.0), (width - 1.0, height - 1.0)) > 0


def consistency_array(flow: FloatArray, back: FloatArray) -> BoolArray:
    """Check a flow (H, W, 2) against its opposite (H, W, 2): (H, W) bool; the NumPy twin of `consistency`."""
    returned = warp_array(back, flow)
    error = np.square(flow + returned).sum(-1)
    length = np.square(flow).sum(-1) + np.square(returned).sum(-1)
    return cast(BoolArray, (error < CONSISTENCY_SLOPE * length + CONSISTENCY_OFFSET) & inside_array(flow))


@lru_cache(maxsize=6)
def pixel_grid(height: int, width: int, scale: int = 1) -> FloatArray:
    """Place of every pixel, (H, W, 2) float32, x first, in parts of which a pixel has `scale`; not to be written to."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = scale * np.arange(width, dtype=np.float32)
    grid[..., 1] = scale * np.arange(height, dtype=np.float32)[:, None]
    grid.flags.writeable = False
    return grid

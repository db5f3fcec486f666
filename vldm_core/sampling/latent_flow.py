"""Optical flow of the picture on the grid of the latent.

Latents are looked up at the nearest pixel and not bilinearly: interpolation would take away variance, and a latent that
is too smooth decodes to a blurred picture (Upscale-A-Video, arXiv:2312.06640, section 3.3).
"""

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError


def to_latent_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """Bring a flow from picture to latent size.

    Vectors are averaged over the area of a latent pixel and each component is scaled by its own axis.

    Args:
        flow: (N, 2, H, W), picture pixels, channel 0 = x.
        height: Latent rows.
        width: Latent columns.

    Returns:
        (N, 2, height, width) float32, latent pixels.

    Raises:
        SettingsError: `flow` has another layout.
    """
    if flow.ndim != 4 or flow.shape[1] != 2:
        raise SettingsError(f"flow is {tuple(flow.shape)}; give (T-1, 2, H, W) in pixels")
    if flow.shape[0] == 0:
        return flow.new_zeros(0, 2, height, width, dtype=torch.float32)
    small = functional.interpolate(flow.float(), size=(height, width), mode="area")
    scale = torch.tensor([width / flow.shape[-1], height / flow.shape[-2]], device=flow.device)
    return small * scale[:, None, None]


def look_up(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the position that each pixel looks up.

    Args:
        flow: (…, 2, h, w), pixels.

    Returns:
        Rows and columns p + flow(p), each (…, h, w) float.
    """
    height, width = flow.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    return rows + flow[..., 1, :, :], columns + flow[..., 0, :, :]


def warp_nearest(latent: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Look a latent up along a flow at the nearest pixel.

    Args:
        latent: (C, h, w).
        flow: (2, h, w), latent pixels; lives on the frame that looks up.

    Returns:
        The values (C, h, w), the nearest border pixel where the flow leaves the frame; and (h, w) bool, where it does
        not.
    """
    height, width = latent.shape[-2:]
    rows, columns = look_up(flow)
    rows, columns = (rows + 0.5).floor().long(), (columns + 0.5).floor().long()
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return latent[:, rows.clamp(0, height - 1), columns.clamp(0, width - 1)], inside


def consistent(flow: Tensor, back: Tensor, *, slope: float = 0.001, offset: float = 0.05) -> Tensor:
    """Tell where a flow and the opposite one return to the same pixel.

    With f = flow(p) and b = back(p + f), valid where |f + b|² < slope · (|f|² + |b|²) + offset and where p + f is
    inside the frame. The default constants are Upscale-A-Video's, for flow in latent pixels; they are stricter than
    :func:`vldm_core.video.warping.consistency`, because a wrong latent spreads over 8 × 8 picture pixels.

    Args:
        flow: (2, h, w), latent pixels; the answer lives on its frame.
        back: (2, h, w), latent pixels, from the looked-up frame to this one.
        slope: Error allowed per squared length.
        offset: Squared error always allowed, latent pixels squared.

    Returns:
        (h, w) bool.
    """
    returned, inside = warp_nearest(back, flow)
    error = (flow + returned).square().sum(0)
    length = flow.square().sum(0) + returned.square().sum(0)
    return (error < slope * length + offset) & inside

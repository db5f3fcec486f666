"""Batches of frames: the layout that every stage takes, looked at before the work."""

import torch
from torch import Tensor

from ..errors import SettingsError


def check_frames(frames: Tensor) -> None:
    """Check the layout of a batch of frames.

    Raises:
        SettingsError: The batch is not (T, 3, H, W) with at least one frame, or holds values that are not finite.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
        raise SettingsError(f"frames must be (T, 3, H, W) with at least one frame, got {tuple(frames.shape)}")
    if not bool(torch.isfinite(frames).all()):
        raise SettingsError("frames hold NaN or infinite values; check the node or file they come from")

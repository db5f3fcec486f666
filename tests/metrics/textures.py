"""Frames for tests of the figures of merit."""

import numpy as np
import torch


def texture_frames(count: int, height: int, width: int, seed: int = 3) -> torch.Tensor:
    """Smooth random frames (T, 3, H, W) in [0.2, 0.8], all alike."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, height // 4, width // 4), dtype=np.float32))
    frame = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return frame.clamp(0, 1).mul(0.6).add(0.2).expand(count, -1, -1, -1).clone()

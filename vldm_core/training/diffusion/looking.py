"""What trainings on a prior show of themselves, for TensorBoard: a few small pictures."""

from collections.abc import Callable

import torch
from torch import Tensor

Decode = Callable[[Tensor], Tensor]
"""Makes pictures (T, 3, H, W) in [0, 1] of scaled latents (T, 4, h, w)."""

SHOWN = 2
"""Films or pictures of validation that are shown."""

_FRAMES = 4


def strip(frames: Tensor) -> Tensor:
    """Put the first frames of a clip (T, 3, H, W) side by side, as (3, H, W')."""
    return torch.cat(list(frames[:_FRAMES].float().cpu()), dim=-1)

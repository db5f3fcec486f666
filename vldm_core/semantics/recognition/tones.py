"""Whether a picture has colour at all: measured, not guessed."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ...errors import SettingsError
from ...video.luma import COLOURED

Tone = Literal["monochrome", "tinted", "coloured"]

_LEVELS = 16
"""Levels of brightness at which the colour of a tint is told."""

_LEAST_BLOCKS = 4
"""Blocks that a level of brightness needs before its own mean says anything."""


def measure_tone(frames: Tensor) -> Tone | None:
    """Tell whether frames have no colour, one tint that follows brightness alone, or colours of things.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1]; the key frames of one shot. T may be 0.

    Returns:
        "monochrome": grey throughout. "tinted": the colour of every place follows from its brightness, as in tinted and
        toned film. "coloured": neither. None where there is no frame.

    Raises:
        SettingsError: The frames have another layout.
    """
    if frames.ndim != 4 or frames.shape[1] != 3:
        raise SettingsError(f"frames must be (T, 3, H, W), got {tuple(frames.shape)}")
    if len(frames) == 0:
        return None
    means = avg_pool2d(frames.float(), COLOURED.block, ceil_mode=True).flatten(2)
    spread = means.amax(1) - means.amin(1)
    if float((spread > COLOURED.spread).double().mean()) < COLOURED.share:
        return "monochrome"
    # Reels are tinted shot by shot, but exposure drifts: every frame is measured against itself.
    beside = [_beside_the_tint(picture) for picture in means]
    share = sum(float((distance > COLOURED.spread).double().mean()) for distance in beside) / len(beside)
    return "tinted" if share < COLOURED.share else "coloured"


def _beside_the_tint(blocks: Tensor) -> Tensor:
    """Distance of every block's colour from the median colour at its brightness; (3, N) to (N,)."""
    luma = blocks.mean(0)
    chroma = blocks - luma
    level = (luma * _LEVELS).long().clamp(0, _LEVELS - 1)
    distance = torch.zeros_like(luma)
    for index in level.unique().tolist():
        inside = level == index
        if int(inside.sum()) < _LEAST_BLOCKS:
            continue
        part, light = chroma[:, inside], luma[inside]
        # Inside a level the tint still changes with brightness: a straight line is taken off.
        offset = light - light.mean()
        slope = (part * offset).sum(1, keepdim=True) / offset.square().sum().clamp_min(1e-6)
        residual = part - slope * offset
        residual = residual - residual.median(1, keepdim=True).values
        distance[inside] = residual.amax(0) - residual.amin(0)
    return distance

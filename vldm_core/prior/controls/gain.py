"""How much of a control's change is kept, by frame and by place in the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True, eq=False)
class Gain:
    """A factor on what a control changes.

    Attributes:
        frames: (N · F, 1, 1, 1), a factor for each item of the batch.
        picture: (N · F, 1, h, w) on the latent's grid; None where it is the same everywhere.
        plain: Whether it is 1 everywhere.
    """

    frames: Tensor
    picture: Tensor | None
    plain: bool

    def at(self, scale: int) -> Tensor:
        """Return the factor (N · F, 1, h or 1, w or 1) where the latent's sides are divided by `scale`."""
        if self.picture is None:
            return self.frames
        height, width = (-(-side // scale) for side in self.picture.shape[-2:])
        return self.frames * functional.adaptive_avg_pool2d(self.picture, (height, width))


def gain_of(frames: Sequence[float], damage: Tensor | None, in_damage: float, *, chunks: int) -> Gain:
    """Make the gain of one pass of the UNet.

    Args:
        frames: A factor for each of F frames.
        damage: (F, h, w), [0, 1], or None.
        in_damage: Factor where damage is 1.
        chunks: Chunks of conditioning in the batch, N.
    """
    device = None if damage is None else damage.device
    factors = torch.tensor(frames, device=device, dtype=torch.float32).reshape(-1, 1, 1, 1).repeat(chunks, 1, 1, 1)
    picture = None
    if damage is not None and in_damage != 1 and bool(damage.any()):
        picture = (1 - (1 - in_damage) * damage.float().clamp(0, 1))[:, None].repeat(chunks, 1, 1, 1)
    return Gain(frames=factors, picture=picture, plain=picture is None and all(factor == 1 for factor in frames))


def weighed(before: Tensor, after: Tensor, gain: Gain, *, tokens: bool, scale: int) -> Tensor:
    """Return before + gain · (after - before).

    Args:
        before: (B, C, h, w), or (B, h · w, C) with `tokens`.
        after: Likewise.
        gain: See :class:`Gain`; a plain one returns `after`.
        tokens: Which of the two layouts.
        scale: The latent's sides are divided by this here.
    """
    if gain.plain:
        return after
    factor = gain.at(scale).to(before)
    if tokens:
        factor = factor.flatten(2).transpose(1, 2)
    return before + factor * (after - before)

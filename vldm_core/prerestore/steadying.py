"""Hold what a still-image model makes of neighbouring frames together.

Such a model sees every frame alone, so the detail it adds comes out differently from frame to frame and crawls. Here
each restored frame is mixed with the restored frame before it, looked up along the motion of the film, with the weight

    strength · trust · agreement,

where trust is 1 if forward and backward flow agree (Sundaram et al. 2010) and neither frame is damaged, and agreement
falls where the two differ in tone over a few pixels, not in detail only: light has changed there, or the flow is wrong.
A mixed frame is what the next is mixed with, so a strength of s takes the power of what is independent from frame to
frame to (1 - s) / (1 + s), and remembers about 1 / (1 - s) frames.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..arrays import FloatArray
from ..video.blending import gaussian
from ..video.flow import FlowSettings, estimate_pair, to_luma
from ..video.warping import warp
from .alignment import alignments

_FLOW = FlowSettings(quality="fast")


@dataclass(frozen=True, kw_only=True)
class ToneAgreement:
    """When two restored frames agree in tone.

    Attributes:
        sigma: Pixels over which they are compared: detail that crawls averages out, light that has changed does not.
        tone: Of [0, 1], the difference at which the weight has fallen to 1/e: some 15 grey levels.
    """

    sigma: float = 2.0
    tone: float = 0.06


_AGREEMENT = ToneAgreement()


@dataclass(frozen=True, kw_only=True)
class _Before:
    """The frame before.

    Attributes:
        luma: (H, W) of the film, grey levels.
        mask: (H, W), above 0 = damaged.
        restored: (3, h, w), mixed already.
    """

    luma: FloatArray
    mask: Tensor
    restored: Tensor


class Steadier:
    """Steadies the frames of one shot, in order.

    Args:
        strength: 0 … 0.9: most that the frame before counts.
    """

    def __init__(self, strength: float) -> None:
        self._strength = strength
        self._before: _Before | None = None

    def steadied(self, restored: Tensor, image: Tensor, mask: Tensor | None) -> Tensor:
        """Mix a restored frame with the one before.

        Args:
            restored: (3, h, w), what the model makes of the frame.
            image: (3, H, W), the frame as it came; its motion is followed. h / H = w / W.
            mask: (H, W), above 0 = damaged or repaired: it is neither mixed nor handed on.

        Returns:
            (3, h, w); the first frame of the shot as it is.
        """
        if self._strength == 0:
            return restored
        luma = to_luma(image)
        marked = torch.zeros(luma.shape) if mask is None else mask.detach().float().cpu()
        if self._before is not None:
            flow, trust = _motion(self._before, luma, marked, restored)
            moved = warp(self._before.restored, flow)
            tone = gaussian(moved - restored, _AGREEMENT.sigma * restored.shape[-1] / luma.shape[1]).abs().amax(0)
            weight = self._strength * trust * torch.exp(-((tone / _AGREEMENT.tone) ** 2))
            restored = restored + weight * (moved - restored)
        self._before = _Before(luma=luma, mask=marked, restored=restored)
        return restored


def _motion(before: _Before, luma: FloatArray, mask: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """How a frame looks the one before up, (2, h, w), and where that can be trusted, (h, w), at the size of `like`."""
    here, there = mask.numpy() > 0, before.mask.numpy() > 0
    back = estimate_pair(luma, before.luma, mask_from=here, mask_to=there, settings=_FLOW)
    ahead = estimate_pair(before.luma, luma, mask_from=there, mask_to=here, settings=_FLOW)
    looked, _ = alignments(_planes(back), _planes(ahead), torch.stack([before.mask, mask])[None], scale=1)
    flow, trust = looked.flow[0], looked.trust
    size = like.shape[-2:]
    if flow.shape[-2:] != size:
        ratio = torch.tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]])
        flow = functional.interpolate(flow, size, mode="bilinear", align_corners=False) * ratio[:, None, None]
        # Less than full trust marks the neighbourhood of what is wrong.
        trust = (functional.interpolate(trust, size, mode="bilinear", align_corners=False) > 0.999).float()
    return flow[0].to(like), trust[0, 0].to(like)


def _planes(flow: FloatArray) -> Tensor:
    """(H, W, 2) to (1, 1, 2, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))[None, None]

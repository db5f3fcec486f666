"""The cognitive encoder: what a damaged frame shows, as tokens of language that stand beside the prompt's.

frame → fourfold enlargement (`PreSR`) → 224×224 → CLIP ViT-H/14 of OpenCLIP (laion2B) → Q-Former → 50 tokens.

Of CLIP it takes all 257 tokens of the last layer, the class token first, before the final LayerNorm, and multiplies
them by CLIP's own projection of a picture (1280 → 1024). That is `last_hidden_state` of transformers'
`CLIPVisionModel` and of ComfyUI's CLIP_VISION_OUTPUT, times `visual_projection.weight` of the same model. A complete
checkpoint brings the projection along; else whoever gives the hidden states gives it, too.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import SettingsError
from ....files.published import below, shape_of
from .presr import PreSR
from .qformer import QFormer

PRE_SR = "pre_sr_model."
Q_FORMER = "global_adapter."
PROJECTION = "cond_stage_model.model.visual.proj"

CLIP_SIDE = 224
"""Sides of the picture that CLIP looks at, in pixels."""

LARGEST_SIDE = 256
"""Short side, in pixels, to which a larger frame is reduced before it is enlarged fourfold: the network was trained on
128 pixels, four times 256 is far above what CLIP sees, and memory grows with the square."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class CognitiveEncoder(nn.Module):
    """Frames to what CLIP must look at, and CLIP's hidden states to tokens of language.

    Args:
        pre_sr: Enlarges the frames.
        q_former: Makes the tokens.
        projection: CLIP's projection of a picture (hidden width, Q-Former's vision width); None where the file has
            none.
    """

    def __init__(self, pre_sr: PreSR, q_former: QFormer, projection: Tensor | None = None) -> None:
        super().__init__()
        self.pre_sr = pre_sr
        self.q_former = q_former
        self.projection: Tensor | None
        self.register_buffer("projection", projection)

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], *, heads: int = 16) -> "CognitiveEncoder":
        """Build the encoder of a checkpoint: the complete one, or the one of the encoder's own training.

        Args:
            tensors: With the prefixes `pre_sr_model.`, `global_adapter.` and, where CLIP is in the file,
                `cond_stage_model.model.visual.proj`.
            heads: Attention heads of the Q-Former.

        Raises:
            WeightFileError: Something does not fit; the message lists why.
        """
        projection = None
        if PROJECTION in tensors:
            shape_of(tensors, PROJECTION, 2)
            projection = tensors[PROJECTION]
        return cls(
            PreSR.from_published(below(tensors, PRE_SR)),
            QFormer.from_published(below(tensors, Q_FORMER), heads=heads),
            projection,
        )

    def pictures(self, frames: Tensor, *, side: int = CLIP_SIDE) -> Tensor:
        """Return what CLIP must look at.

        Args:
            frames: (B, 3, h, w), [0, 1], as damaged as they are; one at a time, so memory is that of one.
            side: Sides of CLIP's picture, pixels.

        Returns:
            (B, 3, side, side), about [0, 1]; squeezed, not cropped and not clamped, as the original does it.
        """
        weight = next(self.pre_sr.parameters())
        return torch.cat([self._picture(frame.to(weight), side) for frame in frames.split(1)])

    def _picture(self, frame: Tensor, side: int) -> Tensor:
        shrink = LARGEST_SIDE / min(frame.shape[-2:])
        if shrink < 1:
            size = [round(length * shrink) for length in frame.shape[-2:]]
            frame = functional.interpolate(frame, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        # Without antialiasing, as the original's version of torchvision resized tensors.
        return functional.interpolate(self.pre_sr(frame), size=(side, side), mode="bicubic")

    def forward(self, hidden: Tensor, *, projection: Tensor | None = None) -> Tensor:
        """Return tokens of language (B, queries, width).

        Args:
            hidden: CLIP's last hidden states (B, n, hidden width), class token first, before the final norm.
            projection: (hidden width, vision width), the transpose of `visual_projection.weight`; None takes the one
                of the checkpoint.

        Raises:
            SettingsError: There is no projection, or it does not fit.
        """
        projection = self.projection if projection is None else projection
        if projection is None:
            raise SettingsError(
                "this file has no projection of CLIP's tokens; give visual_projection of the CLIP vision model too"
            )
        wanted = (hidden.shape[-1], self.q_former.config.vision)
        if tuple(projection.shape) != wanted:
            raise SettingsError(
                f"CLIP's projection is {tuple(projection.shape)}, but {wanted} is needed; CoSeR reads CLIP ViT-H/14 of "
                "OpenCLIP (CLIP-ViT-H-14-laion2B-s32B-b79K)"
            )
        weight = self.q_former.queries
        return self.q_former(hidden.to(weight) @ projection.to(weight))

    def look(self, frames: Tensor, clip: Any) -> Tensor:
        """Return tokens of language (B, queries, width) of frames, with transformers' CLIP.

        Args:
            frames: (B, 3, h, w), [0, 1].
            clip: `CLIPVisionModelWithProjection` of transformers, or one with the same attributes.

        Raises:
            SettingsError: It is another CLIP than the encoder was trained with.
        """
        pixels = normalised(self.pictures(frames, side=clip.config.image_size))
        weight = clip.visual_projection.weight
        hidden = clip.vision_model(pixel_values=pixels.to(weight)).last_hidden_state
        return self(hidden, projection=weight.t())


def normalised(pictures: Tensor) -> Tensor:
    """Return pictures (B, 3, h, w), about [0, 1], as CLIP was trained on them."""
    mean, std = (torch.tensor(values).to(pictures)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (pictures - mean) / std

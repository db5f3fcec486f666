"""PASD and PASD light: the same ControlNet, and two ways in which the UNet looks at its residuals.

The ControlNet is that of Stable Diffusion 1.5, behind PASD's own embedding of the degraded picture
(:mod:`.embedding`). Its residuals, times the published strength, are added to the skips and the middle as any
ControlNet's are, and the UNet's new layers (:mod:`.pixel_attention`) look at them besides. Everything else of the UNet
is Stable Diffusion 1.5's, unchanged, so any checkpoint of that family takes its place.

In the original, a strength of 0 is not off: the residuals are 0 then, and the pixel transformers still pass the picture
through their own self-attention, biases and feed-forward. Here strength 0 is off, as for every control, and bit-equal
to the model alone; a strength near 0 is what the original calls 0.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor

from ....files.published import below, fill
from ....files.weights import WeightFileError
from ...unet import UNetView
from ..control import ControlPlace, ControlRequest, ControlSystem, Features, check_text_width
from ..material import HintKind
from ..network.control_branch import ControlBranch
from ..network.encoder import EncoderConfig
from ..network.names import KEPT, original_names
from ..network.residuals import residual_places
from .embedding import DegradationRemoval
from .pixel_attention import InsideAttention, PixelReader, PixelTransformers
from .windows import PixelAttentionWindows


class PasdControl(ControlSystem):
    """PASD's control.

    Args:
        branch: The ControlNet.
        embedding: What the degraded picture passes before it.
        reader: The UNet's new layers.

    Attributes:
        windows: What a position of the UNet looks at.
    """

    name: ClassVar[str] = "PASD"
    hint: ClassVar[HintKind] = "pixels"
    embeds: ClassVar[bool] = True
    added: ClassVar[type[PixelReader]] = PixelTransformers

    def __init__(self, branch: ControlBranch, embedding: DegradationRemoval, reader: PixelReader) -> None:
        super().__init__()
        self.branch = branch
        self.embedding = embedding
        self.reader = reader
        self.windows = PixelAttentionWindows()

    @classmethod
    def from_published(
        cls,
        control: Mapping[str, Tensor],
        unet: Mapping[str, Tensor],
        *,
        heads: tuple[int, ...] | None = None,
    ) -> Self:
        """Build the control that two files hold.

        Args:
            control: State dict of the ControlNet, in diffusers' layout.
            unet: What PASD adds to the UNet, likewise.
            heads: Of the ControlNet; see :meth:`.network.encoder.EncoderConfig.of`. The UNet's are those of the model
                that it joins.

        Raises:
            WeightFileError: A file does not fit; the message lists why.
        """
        what = f"{cls.name}'s ControlNet"
        tensors = original_names(control)
        picture = below(tensors, KEPT)
        tensors = {key: value for key, value in tensors.items() if not key.startswith(KEPT)}
        config = EncoderConfig.of({key: tuple(value.shape) for key, value in tensors.items()}, heads=heads)
        if config.tokens is not None:
            raise WeightFileError(f"{what} has image_attentions, which are SeeSR's; take PASD's own ControlNet")
        reader = cls.added.from_published(unet, f"{cls.name}'s UNet")
        with torch.device("meta"):
            branch, embedding = ControlBranch(config), DegradationRemoval.like(picture)
        fill(branch, tensors, what)
        fill(embedding, picture, f"the picture's embedding of {what}")
        return cls(branch, embedding, reader).eval()

    def seeing(self, positions: int) -> "PasdControl":
        """Return the same control, with the same weights, that looks at a square of so many positions a side, or 0."""
        windows = PixelAttentionWindows(seen=positions)
        if windows == self.windows:
            return self
        other = copy.copy(self)
        other.windows = windows
        return other

    def embed(self, hint: Tensor) -> Tensor:
        """Return the embedding (F, C, h, w) of pictures (F, 3, 8·h, 8·w)."""
        return self.embedding(hint)

    def features(self, request: ControlRequest) -> Features:
        """Return the residuals."""
        added = self.embed(request.hint) if request.embedded is None else request.embedded
        return self.branch.residuals(
            request.x, request.timesteps, request.context, strength=request.strength, added=added
        )

    def residuals(
        self, x: Tensor, timesteps: Tensor, context: Tensor, picture: Tensor, *, strength: float = 1.0
    ) -> dict[str, Tensor]:
        """Return `residual.0` … and `middle`.

        Args:
            x: (B, 4, h, w) noisy latents.
            timesteps: (B,).
            context: (B, L, 768) text.
            picture: (B, 3, 8·h, 8·w), RGB, [0, 1].
            strength: Factor on all of them.
        """
        return self.branch.residuals(x, timesteps, context, strength=strength, added=self.embed(picture))

    def places(self, view: UNetView) -> Iterable[ControlPlace]:
        """Return the skips, the middle and the layers that look at pixels.

        Raises:
            SettingsError: The UNet is of another family.
        """
        check_text_width(view, self.branch.config.context, self.name)
        added = residual_places(view, len(self.branch.zero_convs))
        return [*added, *self.reader.places(view, tuple(self.branch.skips), lambda: self.windows)]


class PasdLightControl(PasdControl):
    """PASD light's control."""

    name: ClassVar[str] = "PASD light"
    added: ClassVar[type[PixelReader]] = InsideAttention

"""SeeSR: a ControlNet that reads the degraded picture, and transformers that read what a tagger saw in it.

The ControlNet is that of Stable Diffusion 2 with a picture's embedding before it and a transformer more behind each of
its own. Its residuals are added as any ControlNet's; the published strength weighs them alone. Beside it the UNet gains
transformers of the same kind (:mod:`.representation`). Both read one embedding, in both halves of classifier-free
guidance.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ....errors import SettingsError
from ....files.published import below, fill
from ....files.weights import WeightFileError
from ...unet import UNetView
from ..control import ControlPlace, ControlRequest, ControlSystem, Features, Need, check_text_width
from ..material import ControlMaterial, HintKind
from ..network.control_branch import ControlBranch
from ..network.encoder import EncoderConfig
from ..network.names import KEPT, original_names
from ..network.picture_embedding import PictureEmbedding
from ..network.residuals import residual_places
from .representation import TOKENS, RepresentationAttention

logger = logging.getLogger(__name__)


class SeeSrControl(ControlSystem):
    """SeeSR's control.

    Args:
        branch: The ControlNet, with transformers for the embedding.
        picture: What the degraded picture passes before it.
        representation: The UNet's further transformers.
    """

    name: ClassVar[str] = "SeeSR"
    hint: ClassVar[HintKind] = "pixels"
    embeds: ClassVar[bool] = True
    takes_tokens: ClassVar[Need] = "optional"

    def __init__(
        self, branch: ControlBranch, picture: PictureEmbedding, representation: RepresentationAttention
    ) -> None:
        super().__init__()
        self.branch = branch
        self.picture = picture
        self.representation = representation
        self._told = False

    @classmethod
    def from_published(
        cls,
        control: Mapping[str, Tensor],
        unet: Mapping[str, Tensor],
        *,
        heads: tuple[int, ...] | None = None,
        what: tuple[str, str] = ("SeeSR's ControlNet", "SeeSR's UNet"),
    ) -> "SeeSrControl":
        """Build the control that two files hold.

        Args:
            control: State dict of the ControlNet, in diffusers' layout.
            unet: What SeeSR adds to the UNet, likewise.
            heads: Of the ControlNet; see :meth:`.network.encoder.EncoderConfig.of`. The UNet's are those of the model
                that it joins.
            what: Names of the two files in messages.

        Raises:
            WeightFileError: A file does not fit; the message lists why.
        """
        tensors = original_names(control)
        embedding = below(tensors, KEPT)
        tensors = {key: value for key, value in tensors.items() if not key.startswith(KEPT)}
        config = EncoderConfig.of({key: tuple(value.shape) for key, value in tensors.items()}, heads=heads)
        if config.tokens is None:
            raise WeightFileError(f"{what[0]} has no image_attentions; take SeeSR's own ControlNet")
        representation = RepresentationAttention.from_published(unet, what[1])
        if representation.width != config.tokens:
            raise WeightFileError(
                f"{what[0]} reads embeddings {config.tokens} wide, {what[1]} {representation.width}; take both of one "
                "version of SeeSR"
            )
        with torch.device("meta"):
            branch, picture = ControlBranch(config), PictureEmbedding.like(embedding)
        fill(branch, tensors, what[0])
        fill(picture, embedding, f"the picture's embedding of {what[0]}")
        return cls(branch, picture, representation).eval()

    def accept(self, material: ControlMaterial) -> None:
        """Check the embedding, and say once, however many clips there are, where there is none.

        Raises:
            SettingsError: It is not as wide as the tagger's.
        """
        wanted = self.representation.width
        if material.tokens is None:
            if self._told:
                return
            self._told = True
            logger.warning(
                "SeeSR runs without a tagger's embedding (tokens × %d): its image attentions are left out, in the "
                "UNet and in the control; tags in the prompt still act",
                wanted,
            )
        elif material.tokens.shape[-1] != wanted:
            raise SettingsError(
                f"the embedding is {material.tokens.shape[-1]} wide; SeeSR reads that of its tagger (RAM with DAPE), "
                f"{wanted} wide"
            )

    def embed(self, hint: Tensor) -> Tensor:
        """Return the embedding (F, C, h, w) of pictures (F, 3, 8·h, 8·w)."""
        return self.picture(hint)

    def features(self, request: ControlRequest) -> Features:
        """Return the residuals, and the embedding as it came."""
        found = self.branch.residuals(
            request.x,
            request.timesteps,
            request.context,
            strength=request.strength,
            added=self.embed(request.hint) if request.embedded is None else request.embedded,
            tokens=request.tokens,
        )
        return found if request.tokens is None else {**found, TOKENS: request.tokens}

    def residuals(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        picture: Tensor,
        *,
        tokens: Tensor | None = None,
        strength: float = 1.0,
    ) -> dict[str, Tensor]:
        """Return `residual.0` … and `middle`.

        Args:
            x: (B, 4, h, w) noisy latents.
            timesteps: (B,).
            context: (B, L, 1024) text.
            picture: (B, 3, 8·h, 8·w), RGB, [0, 1].
            tokens: (B, n, 512), the tagger's embedding; None leaves its transformers out.
            strength: Factor on all of them.
        """
        return self.branch.residuals(x, timesteps, context, strength=strength, added=self.embed(picture), tokens=tokens)

    def places(self, view: UNetView) -> Iterable[ControlPlace]:
        """Return the skips, the middle and the transformers.

        Raises:
            SettingsError: The UNet is of another family.
        """
        check_text_width(view, self.branch.config.context, self.name)
        return [*self.representation.places(view), *residual_places(view, len(self.branch.zero_convs))]

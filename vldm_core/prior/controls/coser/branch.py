"""CoSeR's control branch: one ControlNet that looks at the degraded frame and, once more, at the reference.

A copy of the UNet's way down whose second level has no transformers. It is given the noisy latent as the UNet is, and
the latent of what it looks at through one 3×3 convolution, added after the first layer. Its residuals are not added to
the UNet; All-in-Attention reads them.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ....files.published import fill, shape_of
from ....files.weights import WeightFileError
from ..control import LATENT_CHANNELS
from ..network.control_branch import ControlBranch
from ..network.encoder import EncoderConfig


class CoserBranch(ControlBranch):
    """A control branch with a convolution for a latent; its keys are those below `structcond_stage_model.`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.hint_zero_conv = nn.Conv2d(LATENT_CHANNELS, config.channels[0], 3, padding=1)

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], *, heads: tuple[int, ...] | None = None) -> "CoserBranch":
        """Build the branch that a file holds.

        Args:
            tensors: Without the prefix.
            heads: See :meth:`..network.encoder.EncoderConfig.of`.

        Raises:
            WeightFileError: The file does not fit; the message lists why.
        """
        config = EncoderConfig.of({key: tuple(value.shape) for key, value in tensors.items()}, heads=heads)
        hint = shape_of(tensors, "hint_zero_conv.weight", 4)[1]
        if (config.in_channels, hint) != (LATENT_CHANNELS, LATENT_CHANNELS):
            raise WeightFileError(
                f"CoSeR's control branch takes {config.in_channels} and {hint} channels; the published one takes "
                f"{LATENT_CHANNELS} of the noisy latent and {LATENT_CHANNELS} of the hint"
            )
        with torch.device("meta"):
            branch = cls(config)
        fill(branch, tensors, "CoSeR's control branch (structcond_stage_model)")
        return branch.eval()

    def look(self, x: Tensor, timesteps: Tensor, context: Tensor, latent: Tensor) -> dict[str, Tensor]:
        """Return `residual.0` … and `middle` for noisy latents and what is looked at, both (F, 4, h, w)."""
        return self.residuals(x, timesteps, context, added=self.hint_zero_conv(latent))

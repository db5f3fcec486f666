"""DiffBIR's IRControlNet, versions 1, 2 and 2.1, which are of one shape.

The first convolution takes the noisy latent and, behind it, the latent of the picture that a degradation remover
cleaned. Its residuals are added to the skips and the middle of an unchanged UNet of Stable Diffusion 2.1. Versions 1
and 2 were trained with a UNet that predicts ε, 2.1 with one that predicts v on a schedule of zero terminal SNR; the
file does not say which.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ....files.published import fill
from ....files.weights import WeightFileError
from ...unet import UNetView
from ..control import LATENT_CHANNELS, ControlPlace, ControlRequest, ControlSystem, Features, check_text_width
from ..material import HintKind
from ..network.control_branch import ControlBranch
from ..network.encoder import EncoderConfig
from ..network.residuals import residual_places

FULL = "control_model."
"""Prefix in complete checkpoints of version 1."""


class DiffBirControl(ControlSystem):
    """DiffBIR's control.

    Args:
        config: Shape of its branch, with twice the latent's channels coming in.
    """

    name: ClassVar[str] = "DiffBIR"
    hint: ClassVar[HintKind] = "latent"

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.branch = ControlBranch(config)

    @classmethod
    def from_published(
        cls, tensors: Mapping[str, Tensor], *, heads: tuple[int, ...] | None = None, what: str = "DiffBIR's control"
    ) -> "DiffBirControl":
        """Build the control that a file holds.

        Args:
            tensors: State dict of a control file.
            heads: See :meth:`.network.encoder.EncoderConfig.of`.
            what: Name of the file in messages.

        Raises:
            WeightFileError: The file does not fit; the message lists why.
        """
        config = EncoderConfig.of({key: tuple(value.shape) for key, value in tensors.items()}, heads=heads)
        if config.in_channels != 2 * LATENT_CHANNELS:
            raise WeightFileError(
                f"{what} begins with {config.in_channels} channels; DiffBIR's has {2 * LATENT_CHANNELS}: the noisy "
                "latent and the hint"
            )
        with torch.device("meta"):
            control = cls(config)
        fill(control.branch, tensors, what)
        return control.eval()

    def features(self, request: ControlRequest) -> Features:
        """Return the residuals."""
        return self.residuals(request.x, request.timesteps, request.context, request.hint, strength=request.strength)

    def residuals(
        self, x: Tensor, timesteps: Tensor, context: Tensor, hint: Tensor, *, strength: float = 1.0
    ) -> dict[str, Tensor]:
        """Return `residual.0` … and `middle` for noisy latents and hints (B, 4, h, w)."""
        return self.branch.residuals(torch.cat([x, hint], dim=1), timesteps, context, strength=strength)

    def places(self, view: UNetView) -> Iterable[ControlPlace]:
        """Return the skips and the middle.

        Raises:
            SettingsError: The UNet is of another family.
        """
        check_text_width(view, self.branch.config.context, self.name)
        return residual_places(view, len(self.branch.zero_convs))

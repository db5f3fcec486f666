"""One-step restorers on diffusers' networks, whose weights are merged for as long as they are needed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...attachment import Attachment, calling
from ...call import UNetCall
from ...unet import UNetView
from ..changes import NO_CHANGE, Change, changed
from ..networks import unet_layers, vae_layers
from .restore import Predict


class DiffusersHost:
    """diffusers' UNet and VAE.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        vae: diffusers' `AutoencoderKL`.
        encode: Encodes one picture, (1, 3, H, W), to what `vae.encode` gives; None is that.
        device: Where they run; None is where the UNet lies.
        attachments: What is on the UNet.
    """

    def __init__(
        self,
        unet: nn.Module,
        vae: Any,
        *,
        encode: Callable[[Tensor], Any] | None = None,
        device: torch.device | None = None,
        attachments: Sequence[Attachment] = (),
    ) -> None:
        self._unet, self._vae, self._encode = unet, vae, encode or vae.encode
        self.device = device or next(unet.parameters()).device
        self._attachments = tuple(attachments)
        self.mixes = bool(self._attachments)
        self.scale = float(vae.config.scaling_factor)

    @contextmanager
    def with_unet(self, change: Change) -> Iterator[Predict]:
        """See :class:`.restore.OneStepHost`."""
        dtype = next(self._unet.parameters()).dtype

        def predict(call: UNetCall) -> Tensor:
            given = call.inputs
            assert given is not None
            with calling(self._attachments, call):
                text = given.context.to(dtype)
                return self._unet(given.x.to(dtype), given.timesteps, encoder_hidden_states=text, return_dict=False)[0]

        with changed(unet_layers(UNetView(self._unet)), change):
            yield predict

    @contextmanager
    def with_vae(self, change: Change) -> Iterator[Callable[[Tensor], Tensor]]:
        """See :class:`.restore.OneStepHost`."""

        def moments(pictures: Tensor) -> Tensor:
            return self._encode(pictures.to(self._vae.dtype)).latent_dist.parameters

        with changed(vae_layers(self._vae) if change is not NO_CHANGE else {}, change):
            yield moments

"""A trained fusion in the host's hands."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy import model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....vldm_core.decode.fused_clip import TrainedFusion, fuse_clip
from ....vldm_core.decode.fusion_decoder import KIND, FusionDecoder
from ....vldm_core.progress import Progress
from ....vldm_core.video.shots import Shot
from ..prerestore import ManagedPreRestorer, managed
from .vae import vae_decoder

if TYPE_CHECKING:
    from comfy.sd import VAE

_BYTES_PER_PIXEL = 1500
"""What fusing four frames takes per pixel of one of them, in single precision."""


def check_fusion(path: Path) -> None:
    """Look at the header of a file.

    Raises:
        WeightFileError: It is missing, damaged, or does not hold a fusion.
    """
    KIND.check(path)


def fusion_model(path: Path) -> ModelPatcher:
    """Read a fusion as a model whose memory the host manages.

    Raises:
        WeightFileError: The file is missing, damaged, or does not hold a fusion.
    """
    return managed(KIND.load(path))


def network_on_device(model: ModelPatcher, frames: Tensor) -> FusionDecoder:
    """Make room on the device, load a fusion there and return it.

    Args:
        model: From `fusion_model`.
        frames: (T, 3, H, W), that it is for.
    """
    needed = _BYTES_PER_PIXEL * frames.shape[-2] * frames.shape[-1]
    model_management.load_models_gpu([model], memory_required=needed, force_full_load=True)
    network: Any = model.model
    # With --novram the host leaves weights behind and expects layers of its own kind to fetch them.
    return network.to(model.load_device)


class ReelFusion:
    """Fuses what comes out of a prior with what was pre-restored for it.

    Args:
        how: Fusion and pre-restorer, on any device.
    """

    def __init__(self, how: TrainedFusion) -> None:
        self.how = how
        self.restorer = ManagedPreRestorer(how.network, how.settings)
        self._layers = managed(how.fusion)

    def after(self, frames: Tensor, latents: Tensor, vae: "VAE", repaired: Tensor | None, progress: Progress) -> Tensor:
        """Fuse a part of a shot with what a prior made of it.

        Args:
            frames: (T, 3, H, W), as they were before `restorer`.
            latents: (T, 4, h, w), unscaled, as a LATENT has them.
            vae: Of the prior.
            repaired: (T, H, W), 1 = repaired, or None.
            progress: Called per frame; may raise to interrupt.

        Raises:
            SettingsError: The fusion was trained on another VAE.
        """
        network = self.restorer.on_device(*frames.shape[-2:])
        here = replace(self.how, fusion=network_on_device(self._layers, frames), network=network)
        return fuse_clip(
            frames,
            latents,
            here,
            decode=vae_decoder(vae, self._layers, self.restorer.model),
            decoder=vae.first_stage_model.decoder,
            masks=repaired,
            shots=(Shot(0, len(frames)),),
            progress=progress,
        )

"""Decoding through the host's VAE: its memory management, its device, and one call of its network per chunk.

``VAE.decode`` chooses its own batch by the memory that is free, so what a temporal VAE makes of a clip varies with it.
Here the chunk that is given is decoded in one call; memory that runs out is reported, not worked around.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....vldm_core.decode.chunks import Decode
from ....vldm_core.decode.wrapping.network import read_feature_wrapping
from ....vldm_core.decode.wrapping.wrapped import Encode
from ....vldm_core.errors import SettingsError

if TYPE_CHECKING:
    from comfy.sd import VAE

OUT_OF_MEMORY: type[BaseException] = model_management.OOM_EXCEPTION
# Frames for which a temporal VAE asks the host to make room: the longest automatic chunk and its halo.
_TEMPORAL_FRAMES = 32


def is_temporal(vae: "VAE") -> bool:
    """Tell whether a VAE's decoder mixes neighbouring frames, like Stable Video Diffusion's."""
    # Whoever has a VAE has loaded this; importing it with the pack would load all of the host's models with it.
    from comfy.ldm.modules.temporal_ae import VideoDecoder

    return isinstance(getattr(vae.first_stage_model, "decoder", None), VideoDecoder)


def check_latents(vae: "VAE", samples: Tensor) -> None:
    """Check that latents are pictures that this VAE decodes.

    Raises:
        SettingsError: They are a video of another kind, or those of another model.
    """
    vae.throw_exception_if_invalid()
    if vae.latent_dim != 2 or samples.ndim != 4:
        raise SettingsError(
            f"the latents are {tuple(samples.shape)} and the VAE works on {vae.latent_dim}-dimensional ones; this node "
            "decodes one picture per latent (Stable Diffusion, SVD), use VAE Decode for other video models"
        )
    if samples.shape[1] != vae.latent_channels:
        raise SettingsError(
            f"the latents have {samples.shape[1]} channels, the VAE needs {vae.latent_channels}; "
            "connect the VAE of the model that made them"
        )


def frames_in_memory(vae: "VAE", samples: Tensor, *beside: ModelPatcher) -> float:
    """Load a VAE and what works beside it, and return how many whole frames it can decode in one call."""
    one = vae.memory_used_decode((1, *samples.shape[1:]), vae.vae_dtype)
    _load(vae, one * (_TEMPORAL_FRAMES if is_temporal(vae) else 1), beside)
    return float(model_management.get_free_memory(vae.device) / one)


def vae_decoder(vae: "VAE", *beside: ModelPatcher) -> Decode:
    """Return a VAE as the core calls it.

    Args:
        vae: The host's VAE.
        beside: What has to be on the device while it decodes.

    Returns:
        Unscaled latents (F, C, h, w), as a LATENT has them, to pictures (F, 3, H, W) in [0, 1], float32, on the host's
        intermediate device. All frames of a call go through the network together.
    """

    def run(latents: Tensor) -> Tensor:
        _load(vae, vae.memory_used_decode(latents.shape, vae.vae_dtype) * len(latents), beside)
        decoded = vae.first_stage_model.decode(latents.to(vae.vae_dtype).to(vae.device))
        return vae.process_output(decoded.to(vae.output_device).float())

    return run


def vae_encoder(vae: "VAE", *beside: ModelPatcher) -> Encode:
    """Return what runs a VAE's encoder over pictures (F, 3, H, W) in [0, 1], all in one call.

    Args:
        vae: The host's VAE.
        beside: What has to stay on the device.
    """

    def run(pictures: Tensor) -> object:
        _load(vae, vae.memory_used_encode(pictures.shape, vae.vae_dtype) * len(pictures), beside)
        return vae.first_stage_model.encode(vae.process_input(pictures).to(vae.vae_dtype).to(vae.device))

    return run


def wrapping_model(vae: "VAE", path: Path) -> ModelPatcher:
    """Read layers of feature wrapping as a model that lives where a VAE lives, and whose memory the host manages.

    Raises:
        WeightFileError: The file is unreadable or holds something else.
    """
    return ModelPatcher(
        read_feature_wrapping(path).to(vae.vae_dtype),
        load_device=vae.device,
        offload_device=model_management.vae_offload_device(),
    )


def _load(vae: "VAE", needed: float, beside: tuple[ModelPatcher, ...]) -> None:
    model_management.load_models_gpu(
        [vae.patcher, *beside], memory_required=needed, force_full_load=vae.disable_offload
    )
    for patcher in beside:
        # With --novram the host leaves weights behind and expects layers of its own kind to fetch them.
        patcher.model.to(patcher.load_device)


def new_image(vae: "VAE", samples: Tensor) -> Tensor:
    """Return room for the decoded clip as an IMAGE, (T, H, W, 3)."""
    scale = vae.spacial_compression_decode()
    height, width = samples.shape[-2] * scale, samples.shape[-1] * scale
    return torch.empty(len(samples), height, width, vae.output_channels)

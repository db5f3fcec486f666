"""Wrapped decoding with diffusers' VAE, which is told by its methods and never imported."""

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...progress import Progress
from ..chunks import Decode
from ..memory_fallback import DecodeSettings, choose_plan
from .network import FeatureWrapping
from .wrapped import WrappedVAE, decode_wrapped


def wrap(
    vae: Any, layers: FeatureWrapping | None, *, fidelity: float, temporal_decoder: nn.Module | None
) -> WrappedVAE | None:
    """Check layers against a VAE; None where there are none.

    Args:
        vae: diffusers' `AutoencoderKL`.
        layers: From :func:`.network.read_feature_wrapping`.
        fidelity: See :class:`.wrapped.WrappedVAE`.
        temporal_decoder: What decodes in the VAE's place.

    Raises:
        SettingsError: The layers do not fit the VAE, or something stands in their way.
    """
    if layers is None:
        return None
    if temporal_decoder is not None:
        raise SettingsError(
            "feature wrapping was trained for the decoder of single pictures; give it or a temporal decoder"
        )
    if vae.use_tiling:
        raise SettingsError("feature wrapping cannot follow the VAE's own tiles; set `finish.decode.tile` instead")
    return WrappedVAE(vae, layers, fidelity=fidelity)


def decode_frames(
    latents: Tensor,
    frames: Tensor,
    wrapped: WrappedVAE,
    settings: DecodeSettings,
    *,
    vae: Any,
    decode: Decode,
    device: torch.device,
    progress: Progress,
) -> Tensor:
    """Decode a clip with the frames that went into the prior.

    Args:
        latents: (T, 4, h, w), scaled as ``decode`` takes them.
        frames: (T, 3, 8·h, 8·w), RGB, [0, 1].
        wrapped: From `wrap`.
        settings: Chunks and tiles.
        vae: The same VAE.
        decode: Its decoding.
        device: Where it works.
        progress: Called once per chunk.

    Returns:
        (T, 3, 8·h, 8·w), float32 on the CPU, [0, 1].
    """

    def encode(pictures: Tensor) -> object:
        return vae.encode(pictures.to(device=device, dtype=vae.dtype) * 2 - 1)

    wrapped.layers.to(device=device, dtype=vae.dtype)
    height, width = latents.shape[-2:]
    plan = choose_plan(settings, temporal=False, frames_in_memory=1, height=height, width=width)
    return decode_wrapped(latents, frames, wrapped, plan, decode=decode, encode=encode, progress=progress)

"""Pictures to latents and back by diffusers' VAE of Stable Diffusion, as far as memory goes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...decode.chunks import TEMPORAL_HALO, Decode
from ...decode.memory_fallback import DecodeSettings, choose_plan, decode_within_memory
from ...decode.temporal_vae import temporal_decode
from ...decode.wrapping.headless import decode_frames
from ...decode.wrapping.wrapped import WrappedVAE
from ...progress import Progress
from ...video.shots import Shot

_LOG = logging.getLogger(__name__)

# Frames that are tried first with a temporal VAE; the ladder goes down from there.
_TEMPORAL_FRAMES = 24 + 2 * TEMPORAL_HALO


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureCoder:
    """A VAE and where it runs.

    Attributes:
        vae: diffusers' `AutoencoderKL`.
        device: Where pictures and latents are brought to.
    """

    vae: Any
    device: torch.device

    @property
    def scale(self) -> float:
        """What the VAE's latents are multiplied by for the UNet."""
        return float(self.vae.config.scaling_factor)

    def encode(self, picture: Tensor) -> Any:
        """Encode a picture (1, 3, H, W), [-1, 1], as `vae.encode` does; in tiles where memory runs out."""
        try:
            return self.vae.encode(picture)
        except torch.OutOfMemoryError:
            if self.vae.use_tiling:
                raise
        _LOG.warning("encode: memory ran out; going on in tiles")
        self.vae.enable_tiling()
        try:
            return self.vae.encode(picture)
        finally:
            self.vae.disable_tiling()

    def latents(self, frames: Tensor, progress: Progress, phase: str = "encode") -> Tensor:
        """Encode frames (T, 3, H, W), [0, 1], one by one to scaled latents (T, 4, h, w), float32, on the device."""
        found = []
        for t in range(len(frames)):
            picture = frames[t : t + 1].to(device=self.device, dtype=self.vae.dtype) * 2 - 1
            found.append(self.encode(picture).latent_dist.mode().float() * self.scale)
            progress(phase, t + 1, len(frames))
        return torch.cat(found)

    def scaled(self, latent: Tensor) -> Tensor:
        """Return latents of the VAE's own size (T, 4, h, w) as `latents` gives them."""
        return latent.to(self.device) * self.scale

    def decode_with_gradient(self) -> Decode:
        """Return what decodes scaled latents on the device to pictures that are not clamped, so gradients pass."""

        def decode(latents: Tensor) -> Tensor:
            unscaled = (latents / self.scale).to(self.vae.dtype)
            return (self.vae.decode(unscaled).sample.to(latents.dtype) + 1) / 2

        return decode

    def decode(self) -> Decode:
        """Return what decodes a part of scaled latents, wherever it lies, to pictures in [0, 1]."""
        whole = self.decode_with_gradient()

        def decode(part: Tensor) -> Tensor:
            return whole(part.to(self.device)).clamp(0, 1)

        return decode

    def pictures(
        self,
        latents: Tensor,
        fitted: Tensor,
        settings: DecodeSettings,
        shots: Sequence[Shot],
        *,
        wrapped: WrappedVAE | None = None,
        temporal_decoder: nn.Module | None = None,
        progress: Progress,
    ) -> Tensor:
        """Decode scaled latents (T, 4, h, w) to frames (T, 3, H, W), [0, 1], in parts that memory holds.

        Args:
            latents: The latents.
            fitted: (T, 3, H, W), [0, 1], the frames that went in; they steer a VAE that is wrapped.
            settings: Parts and tiles.
            shots: The shots of the frames.
            wrapped: The VAE with added layers, which decodes in its place.
            temporal_decoder: A decoder that sees neighbouring frames, in its place.
            progress: Called per part.

        Raises:
            SettingsError: Memory runs out even with the smallest parts.
        """
        if wrapped is not None:
            return decode_frames(
                latents,
                fitted,
                wrapped,
                settings,
                vae=self.vae,
                decode=self.decode(),
                device=self.device,
                progress=progress,
            )
        if temporal_decoder is not None:
            decode = temporal_decode(temporal_decoder.to(self.device), scale=self.scale)
        else:
            decode = self.decode()
        height, width = latents.shape[-2:]
        plan = choose_plan(
            settings,
            temporal=temporal_decoder is not None,
            frames_in_memory=_TEMPORAL_FRAMES,
            height=height,
            width=width,
        )
        return decode_within_memory(latents, decode, plan, shots=shots, progress=progress)

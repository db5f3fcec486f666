"""What the trainer needs to know of a temporal decoder: its loss, and how it is judged."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...metrics.fidelity import psnr
from ...metrics.temporal import warp_error
from ..diffusion.latent_films import LatentFilms
from ..diffusion.looking import SHOWN, strip
from ..losses import charbonnier, gradient, temporal
from ..settings import TrainerSettings
from ..trainer import Validation
from .examples import DecoderClip, clip_of


@dataclass(frozen=True, kw_only=True)
class DecoderTrainingSettings:
    """How a temporal decoder is trained.

    Attributes:
        trainer: Steps, rates and precision.
        frames: Length of a sample.
        side: Height and width of a sample, px, a multiple of 8; None is whole frames.
        noise: Standard deviation of noise on the latents, of which the scaled ones have 1: what a sampler gives differs
            from frame to frame, and a decoder that has only seen clean latents passes it on as flicker.
        gradient: Weight of the gradient loss beside the picture loss.
        temporal: Weight of the temporal loss.
    """

    trainer: TrainerSettings = TrainerSettings(steps=4000, batch=1, accumulation=2, rate=1e-4)
    frames: int = 8
    side: int | None = 256
    noise: float = 0.1
    gradient: float = 0.3
    temporal: float = 0.5

    def __post_init__(self) -> None:
        if self.frames < 2 or not 0 <= self.noise <= 1 or min(self.gradient, self.temporal) < 0:
            raise SettingsError(
                f"samples of {self.frames} frames, noise of {self.noise}, losses of {self.gradient} and "
                f"{self.temporal}: use 2 frames or more, noise from 0 to 1, and weights from 0"
            )

    def description(self) -> dict[str, Any]:
        """Return what makes the run what it is, beside the trainer's own settings."""
        return {name: value for name, value in asdict(self).items() if name != "trainer"}


class DecoderTask:
    """What the trainer needs to know of a temporal decoder.

    Args:
        module: diffusers' `TemporalDecoder`.
        scale: Factor between the VAE's latents and the scaled ones.
        settings: Weights of the losses.
        films: Of validation.
        plain: Decodes scaled latents (T, 4, h, w) frame by frame, to judge beside.
    """

    def __init__(
        self,
        module: nn.Module,
        scale: float,
        settings: DecoderTrainingSettings,
        films: LatentFilms | None = None,
        *,
        plain: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.module = module
        self._scale, self._settings, self._films, self._plain = scale, settings, films, plain

    def loss(self, module: nn.Module, batch: DecoderClip) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        settings, latents = self._settings, batch["latents"]
        made = self.decoded(module, latents + settings.noise * torch.randn_like(latents))
        parts = {
            "picture": charbonnier(made, batch["frames"]),
            "gradient": settings.gradient * gradient(made, batch["frames"]),
            "temporal": settings.temporal * temporal(made, batch["frames"], batch["flow"], batch["visible"]),
        }
        return torch.stack(list(parts.values())).sum(), parts

    def decoded(self, module: nn.Module, latents: Tensor) -> Tensor:
        """Decode clips (B, T, 4, h, w) to (B, T, 3, 8h, 8w), about [0, 1]."""
        clips, frames = latents.shape[:2]
        film = torch.zeros(clips, frames, device=latents.device)
        made = module(latents.flatten(0, 1) / self._scale, num_frames=frames, image_only_indicator=film)
        return (made.float() / 2 + 0.5).unflatten(0, (clips, frames))

    @torch.no_grad()
    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`: on noisy latents, beside decoding every frame by itself."""
        if self._films is None:
            return Validation()
        device = next(module.parameters()).device
        figures: dict[str, list[float]] = {}
        shown: dict[str, Tensor] = {}
        for number in range(len(self._films)):
            clip = clip_of(self._films.clip(number)["clean"], self._films.frames(number))
            generator = torch.Generator().manual_seed(number)
            noise = self._settings.noise * torch.randn(clip["latents"].shape, generator=generator)
            latents = (clip["latents"] + noise).to(device)
            results = {"": self.decoded(module, latents[None])[0]}
            if self._plain is not None:
                results[" frame by frame"] = self._plain(latents)
            for name, pictures in results.items():
                made = pictures.cpu().clamp(0, 1)
                error = warp_error(made, clip["flow"], clip["visible"])
                figures.setdefault(f"psnr{name}", []).append(float(psnr(made, clip["frames"])))
                if error is not None:
                    figures.setdefault(f"warp error{name}", []).append(error)
            if number < SHOWN:
                strips = [strip(pictures.clamp(0, 1)) for pictures in (*results.values(), clip["frames"])]
                shown[f"film {number}: {', '.join(name.strip() or 'decoder' for name in results)}, target"] = torch.cat(
                    strips, dim=1
                )
        return Validation(figures={name: sum(values) / len(values) for name, values in figures.items()}, pictures=shown)

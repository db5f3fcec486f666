"""What the trainer needs to know of the pre-restoration network: its losses, and how it is judged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...metrics.fidelity import psnr, ssim
from ...prerestore.alignment import alignments
from ...prerestore.network import STATE_SCALE, Decoded, PreRestorer
from ...video.warping import consistency
from ..diffusion.looking import SHOWN, strip
from ..losses import charbonnier, gradient, multi_scale, temporal
from ..settings import TrainerSettings
from ..trainer import Validation
from .examples import RepairedClip, RepairedFilmSettings


@dataclass(frozen=True, kw_only=True)
class PreRestoreTrainingSettings:
    """How the network is trained.

    Attributes:
        trainer: Steps, rates and precision.
        films: The films that samples are cut from.
        validation_films: Films of validation files that the run is judged by.
        frames: Length of a sample.
        side: Height and width of a sample, px, a multiple of 8.
        scales: Weights of the picture loss at 1, 1/2, 1/4 and 1/8 of the size: the whole picture counts most, and the
            smallest has to be good enough to stand on.
        gradient: Weight of the gradient loss beside the picture loss.
        temporal: Weight of the temporal loss.
        latent: Weight of the latent loss, where a VAE is given.
        head_only: Train nothing but the latent head, by the latent loss alone; the pictures stay as they are.
    """

    trainer: TrainerSettings = TrainerSettings(steps=3000, batch=6, rate=1.2e-3)
    films: RepairedFilmSettings = RepairedFilmSettings()
    validation_films: int = 6
    frames: int = 5
    side: int = 64
    scales: tuple[float, float, float, float] = (1.0, 0.5, 0.25, 0.25)
    gradient: float = 0.3
    temporal: float = 0.5
    latent: float = 0.1
    head_only: bool = False

    def __post_init__(self) -> None:
        for name in ("gradient", "temporal", "latent"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"the weight of the {name} loss is {getattr(self, name)}; use 0 or more")
        if self.validation_films < 1 or self.frames > self.films.frames:
            raise SettingsError(
                f"{self.validation_films} validation films and samples of {self.frames} frames of {self.films.frames}; "
                "use at least one film and samples no longer than films"
            )
        if self.head_only and not self.latent:
            raise SettingsError("the latent head alone is trained with a latent loss of 0; use a weight above 0")

    def description(self) -> dict[str, Any]:
        """Return what makes the run what it is, beside the trainer's own settings."""
        passing = ("trainer", "validation_films")
        return {name: value for name, value in asdict(self).items() if name not in passing}


class LatentTarget(nn.Module):
    """What the latent head is to give: the mean of the VAE's latent, unscaled.

    Args:
        vae: diffusers' `AutoencoderKL`; it is not trained.
    """

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Return (B, T, 4, H/8, W/8) for frames (B, T, 3, H, W) in [0, 1]."""
        vae: Any = self.vae.to(frames.device)
        encoded = vae.encode(2 * frames.flatten(0, 1) - 1)
        return encoded.latent_dist.mode().unflatten(0, frames.shape[:2])

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """Return (T, 3, 8h, 8w) in [0, 1] for latents (T, 4, h, w), on the processor."""
        vae: Any = self.vae.to(latents.device)
        return (vae.decode(latents.float()).sample.cpu() / 2 + 0.5).clamp(0, 1)


class PreRestoreTask:
    """What the trainer needs to know of the network.

    Args:
        module: The network.
        settings: Weights of the losses.
        films: Of validation, whole.
        latents: What the latent head is trained against; needed where the network has one.

    Raises:
        SettingsError: There is a latent head and nothing to train it against, or the other way round.
    """

    def __init__(
        self,
        module: PreRestorer,
        settings: PreRestoreTrainingSettings,
        films: Sequence[RepairedClip] = (),
        latents: LatentTarget | None = None,
    ) -> None:
        if module.config.latent is not (latents is not None):
            raise SettingsError(
                "a latent head needs a VAE to be trained against, and a VAE a latent head; "
                f"here are: head {module.config.latent}, VAE {latents is not None}"
            )
        self.module: nn.Module = module
        self._settings, self._films, self._latents = settings, films, latents

    def loss(self, module: nn.Module, batch: RepairedClip) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        settings = self._settings
        ways = alignments(batch["backward"], batch["forward"], batch["masks"], scale=STATE_SCALE)
        decoded = module(batch["frames"], batch["masks"], *ways, nearby=batch["nearby"]).decoded
        parts = {} if settings.head_only else self._picture_losses(decoded, batch)
        if self._latents is not None:
            wanted = self._latents(batch["target"])
            parts["latent"] = settings.latent * charbonnier(decoded.latent.float(), wanted)
        return torch.stack(list(parts.values())).sum(), parts

    def _picture_losses(self, decoded: Decoded, batch: RepairedClip) -> dict[str, Tensor]:
        settings = self._settings
        pictures = [picture.float() for picture in decoded.pictures]
        trust = consistency(batch["backward"], batch["forward"]).float()
        return {
            "picture": multi_scale(pictures, batch["target"], settings.scales),
            "gradient": settings.gradient * gradient(pictures[0], batch["target"]),
            "temporal": settings.temporal * temporal(pictures[0], batch["target"], batch["backward"], trust),
        }

    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`: pictures beside those that went in, latents beside what the VAE makes of those."""
        figures: dict[str, list[float]] = {"psnr": [], "psnr before": [], "ssim": [], "ssim before": []}
        pictures: dict[str, Tensor] = {}
        device = next(module.parameters()).device
        for number, film in enumerate(self._films):
            clip = {name: value[None].to(device) for name, value in film.items() if isinstance(value, Tensor)}
            ways = alignments(clip["backward"], clip["forward"], clip["masks"], scale=STATE_SCALE)
            decoded = module(clip["frames"], clip["masks"], *ways, nearby=clip["nearby"]).decoded
            made = decoded.pictures[0][0].float().cpu().clamp(0, 1)
            for name, frames in (("", made), (" before", film["frames"])):
                figures[f"psnr{name}"].append(float(psnr(frames, film["target"])))
                figures[f"ssim{name}"].append(float(ssim(frames, film["target"]) or 0.0))
            middle = len(made) // 2
            if self._latents is not None:
                wanted, plain = self._latents(clip["target"]), self._latents(clip["frames"])
                for name, latent in (("", decoded.latent), (" of the VAE", plain)):
                    figures.setdefault(f"latent L1{name}", []).append(float((latent.float() - wanted).abs().mean()))
                if number < SHOWN:
                    shown = torch.stack([latents[0, middle].float() for latents in (plain, decoded.latent, wanted)])
                    name = f"film {number}: latents of the VAE, of the head, of the target"
                    pictures[name] = strip(self._latents.pictures(shown))
            rows = film["frames"][middle], made[middle], film["target"][middle]
            pictures[f"film {number}: before, after, target"] = torch.cat(rows, dim=-1)
        return Validation(
            figures={name: sum(values) / len(values) for name, values in figures.items() if values}, pictures=pictures
        )

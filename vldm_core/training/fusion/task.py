"""What the trainer needs to know of the fusion: its loss, and how it is judged."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...decode.fusion_decoder import (
    DecoderFeatures,
    FusionDecoder,
    FusionDecoderConfig,
    Source,
    from_latent,
    from_picture,
)
from ...errors import SettingsError
from ...metrics.fidelity import psnr, ssim
from ...prerestore.network import PreRestorer
from ..diffusion.prior import TrainingPrior
from ..losses import charbonnier, gradient
from ..settings import TrainerSettings
from ..trainer import Validation
from .examples import FusionExample, FusionFilms

PriorOf = Callable[[Tensor], Mapping[int, Tensor]]
"""Makes of the prior's clean latents (B, 4, h, w) what the fusion takes, by level."""


@dataclass(frozen=True, kw_only=True)
class FusionTrainingSettings:
    """How a fusion is trained.

    Attributes:
        trainer: Steps, rates and precision.
        source: What comes from the prior; see `FusionDecoder`.
        side: Height and width of a sample, px, a multiple of 8; None is whole frames.
        frames: Frames that are kept of a film.
        gradient: Weight of the gradient loss beside the picture loss.
    """

    trainer: TrainerSettings = TrainerSettings(steps=6000, batch=4, rate=4e-4)
    source: Source = "latent"
    side: int | None = 256
    frames: int = 2
    gradient: float = 0.3

    def __post_init__(self) -> None:
        if self.frames < 1 or not 0 <= self.gradient < 1e3:
            raise SettingsError(
                f"{self.frames} frames of a film, a gradient loss of {self.gradient}: use 1 or more, and from 0"
            )

    def description(self) -> dict[str, Any]:
        """Return what makes the run what it is, beside the trainer's own settings."""
        return {name: value for name, value in asdict(self).items() if name != "trainer"}


def new_fusion(source: Source, network: PreRestorer, prior: TrainingPrior) -> FusionDecoder:
    """Return a fusion that gives the pre-restored picture, bit for bit, for these two."""
    return FusionDecoder(
        FusionDecoderConfig(source=source, widths=network.config.widths, decoder_widths=_decoder_widths(prior))
    )


def _decoder_widths(prior: TrainingPrior) -> tuple[int, int, int]:
    """Return the channels of the VAE decoder's features at 1/2, 1/4 and 1/8."""
    features = DecoderFeatures(prior.vae.decoder)
    parameter = next(prior.vae.parameters())
    with torch.no_grad(), features.caught() as found:
        prior.vae.decode(torch.zeros(1, 4, 2, 2).to(parameter))
    return found[0].shape[1], found[1].shape[1], found[2].shape[1]


def prior_of(source: Source, network: PreRestorer, prior: TrainingPrior) -> PriorOf:
    """Return what makes of clean latents what a fusion of that source takes."""

    def decoded(latents: Tensor) -> Tensor:
        vae = prior.vae.to(latents.device)
        return vae.decode(latents.to(vae.dtype) / prior.scale).sample

    @torch.no_grad()
    def of(latents: Tensor) -> Mapping[int, Tensor]:
        if source == "latent":
            return from_latent(latents)
        if source == "decoder":
            with DecoderFeatures(prior.vae.decoder).caught() as found:
                decoded(latents)
            return found
        pictures = (decoded(latents).float() / 2 + 0.5).clamp(0, 1)[None]
        unmasked = pictures.new_zeros(1, *pictures.shape[1:2], *pictures.shape[-2:])
        halves, quarters = network.to(latents.device).encode(pictures, unmasked)
        return from_picture(halves[0], quarters[0])

    return of


class FusionTask:
    """What the trainer needs to know of a fusion.

    Args:
        module: The fusion.
        prior: Makes of latents what it takes.
        pictures: Decodes latents, to judge beside.
        settings: Weights.
        films: Of validation.
    """

    def __init__(
        self,
        module: FusionDecoder,
        prior: PriorOf,
        pictures: Callable[[Tensor], Tensor],
        settings: FusionTrainingSettings,
        films: FusionFilms | None = None,
    ) -> None:
        self.module: nn.Module = module
        self._prior, self._pictures, self._settings, self._films = prior, pictures, settings, films

    def loss(self, module: nn.Module, batch: FusionExample) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        made = self._fused(module, batch)
        parts = {
            "picture": charbonnier(made, batch["target"]),
            "gradient": self._settings.gradient * gradient(made, batch["target"]),
        }
        return torch.stack(list(parts.values())).sum(), parts

    def _fused(self, module: nn.Module, batch: FusionExample) -> Tensor:
        features = batch["half"], batch["quarter"], batch["eighth"]
        found = {level: part.float() for level, part in self._prior(batch["latent"]).items()}
        return module(batch["picture"], features, found)

    @torch.no_grad()
    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`: beside the pre-restored picture alone and the decoded one alone."""
        if self._films is None:
            return Validation()
        device = next(module.parameters()).device
        figures: dict[str, list[float]] = {}
        pictures: dict[str, Tensor] = {}
        for film in range(len(self._films.files)):
            example = self._films.example(film, 0)
            batch: Any = {name: part[None].to(device) for name, part in example.items() if isinstance(part, Tensor)}
            target = batch["target"].cpu()
            made = {
                "fused": self._fused(module, batch).cpu().clamp(0, 1),
                "pre-restored": batch["picture"].cpu(),
                "decoded": self._pictures(batch["latent"]).cpu(),
            }
            for name, picture in made.items():
                figures.setdefault(f"psnr {name}", []).append(float(psnr(picture, target)))
                figures.setdefault(f"ssim {name}", []).append(float(ssim(picture, target) or 0.0))
            if film < 6:
                row = (*(made[name][0] for name in ("pre-restored", "decoded", "fused")), target[0])
                pictures[f"film {film}: pre-restored, decoded, fused, target"] = torch.cat(row, dim=-1)
        return Validation(
            figures={name: sum(values) / len(values) for name, values in figures.items()}, pictures=pictures
        )

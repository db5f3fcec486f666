"""What the trainer needs to know of a LoRA: its loss, and how it is judged."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ..diffusion.latent_films import LatentClip, LatentFilms
from ..diffusion.looking import SHOWN, Decode, strip
from ..diffusion.objective import Objective, ObjectiveSettings
from ..settings import TrainerSettings
from ..trainer import Validation
from .adapter import LOOK


@dataclass(frozen=True, kw_only=True)
class LoraTrainingSettings:
    """How a LoRA is trained.

    Attributes:
        trainer: Steps, rates and precision.
        objective: Levels of noise.
        rank: Of every update.
        alpha: What the LoRA adds is multiplied by alpha / rank.
        layers: Endings of the names of the layers that it is on.
        prompt: What the pictures show; "{era}" stands for the era.
        dropout: Share of samples without text, so that the look comes without it, too.
        levels: Levels of noise that validation looks at, evenly spread.
    """

    trainer: TrainerSettings = TrainerSettings(steps=1500, batch=2, accumulation=2, rate=1e-4, precision="bf16")
    objective: ObjectiveSettings = ObjectiveSettings()
    rank: int = 16
    alpha: float = 16.0
    layers: tuple[str, ...] = LOOK
    prompt: str = "a film still from the {era}"
    dropout: float = 0.3
    levels: int = 8

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0 or self.levels < 1 or not self.layers:
            raise SettingsError(
                f"a LoRA of rank {self.rank} and alpha {self.alpha} on {len(self.layers)} kinds of layers, judged at "
                f"{self.levels} levels: use 1 or more of each, and an alpha above 0"
            )
        if not 0 <= self.dropout <= 1:
            raise SettingsError(f"{self.dropout} of the samples have no text; use a share from 0 to 1")

    def description(self) -> dict[str, Any]:
        """Return what makes the run what it is, beside the trainer's own settings."""
        return {name: value for name, value in asdict(self).items() if name not in ("trainer", "levels")}


class LoraTask:
    """What the trainer needs to know of a LoRA.

    Args:
        module: diffusers' UNet with the LoRA on it.
        objective: Noise and loss.
        settings: Text and levels.
        texts: (2, L, C), conditioning of the prompt and of no text.
        pictures: Of validation.
        decode: Makes pictures (T, 3, H, W) of scaled latents (T, 4, h, w), to be looked at; None shows none.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        settings: LoraTrainingSettings,
        texts: Tensor,
        pictures: LatentFilms | None = None,
        *,
        decode: Decode | None = None,
    ) -> None:
        self.module, self._decode = module, decode
        self._objective, self._settings, self._texts, self._pictures = objective, settings, texts, pictures

    def loss(self, module: nn.Module, batch: LatentClip) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        clean = batch["clean"].flatten(0, 1)
        dropped = (torch.rand(len(clean)) < self._settings.dropout).long()
        timesteps = self._objective.timesteps(len(clean), clean.device)
        loss = self._objective_loss(module, clean, torch.randn_like(clean), timesteps, self._texts[dropped])
        return loss, {"noise": loss}

    def _objective_loss(
        self, module: nn.Module, clean: Tensor, noise: Tensor, timesteps: Tensor, texts: Tensor
    ) -> Tensor:
        objective = self._objective
        like = next(parameter for parameter in module.parameters() if not parameter.requires_grad)
        noisy = objective.noisy(clean, noise, timesteps)
        output = module(noisy.to(like.dtype), timesteps, texts.to(like)).sample
        return objective.loss(output, objective.target(clean, noise, timesteps), timesteps)

    @torch.no_grad()
    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        if self._pictures is None:
            return Validation()
        shown = {} if self._decode is None else self._shown(module, self._pictures, self._decode)
        return Validation(figures={"noise": self.judge(module, self._pictures)}, pictures=shown)

    def _shown(self, module: nn.Module, pictures: LatentFilms, decode: Decode) -> dict[str, Tensor]:
        """Return what pictures are taken for at half of the noise, beside what they are."""
        like = next(parameter for parameter in module.parameters() if not parameter.requires_grad)
        timesteps, made = self._objective.spread(1, like.device), {}
        for number in range(min(SHOWN, len(pictures))):
            clean = pictures.clip(number)["clean"][:1].to(like.device)
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(number)).to(like.device)
            noisy = self._objective.noisy(clean, noise, timesteps)
            output = module(noisy.to(like.dtype), timesteps, self._texts[:1].to(like)).sample.float()
            found = self._objective.clean(noisy, output, timesteps)
            made[f"picture {number}: with the LoRA, target"] = strip(decode(torch.cat((found, clean))))
        return made

    @torch.no_grad()
    def judge(self, module: nn.Module, pictures: LatentFilms) -> float:
        """Return the mean loss over pictures and levels of noise, on the same noise whoever asks."""
        device = next(module.parameters()).device
        timesteps = self._objective.spread(self._settings.levels, device)
        found = []
        for number in range(len(pictures)):
            clean = pictures.clip(number)["clean"][:1].to(device).expand(len(timesteps), -1, -1, -1)
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(number)).to(device)
            texts = self._texts[:1].expand(len(timesteps), -1, -1)
            found.append(float(self._objective_loss(module, clean, noise, timesteps, texts)))
        return sum(found) / len(found)

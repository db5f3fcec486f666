"""The training of the small world's UNet."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vldm_core.training.diffusion.latent_films import LatentClip, LatentFilms
from vldm_core.training.diffusion.objective import Objective
from vldm_core.training.diffusion.prior import TrainingPrior
from vldm_core.training.settings import TrainerSettings
from vldm_core.training.trainer import Validation

UNET = TrainerSettings(
    steps=900, batch=32, rate=1e-3, final_rate=2e-5, checkpoint_every=200, validate_every=500, average=0.995
)
PROMPTS = ("a colour film", "a black-and-white film", "")
"""All texts that the small world knows."""

_LEAST_COLOUR = 0.02
"""Mean difference of a pixel's largest and smallest value above which a film is in colour."""

_DROPOUT = 0.3


def prompt_of(films: LatentFilms, number: int) -> int:
    """Return which of `PROMPTS` describes a film."""
    frames = films.frames(number)
    return int(float((frames.amax(dim=1) - frames.amin(dim=1)).mean()) < _LEAST_COLOUR)


class UNetTask:
    """What the trainer needs to know of the UNet.

    Args:
        prior: Its UNet is trained, with the text and noise that belong to it.
        objective: Noise and loss.
        films: That are trained on, for their texts.
        kept: Of validation.
    """

    def __init__(self, prior: TrainingPrior, objective: Objective, films: LatentFilms, kept: LatentFilms) -> None:
        self.module: nn.Module = prior.unet.requires_grad_(True)
        self._objective, self._kept = objective, kept
        self._texts = prior.texts(PROMPTS)
        self._prompts = torch.tensor([prompt_of(films, number) for number in range(len(films))])
        self._kept_prompts = [prompt_of(kept, number) for number in range(len(kept))]

    def loss(self, module: nn.Module, batch: LatentClip) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        clean = batch["clean"][:, 0]
        prompts = self._prompts[torch.as_tensor(batch["film"]).cpu()]
        prompts = torch.where(torch.rand(len(clean)) < _DROPOUT, len(PROMPTS) - 1, prompts)
        noise = torch.randn_like(clean)
        timesteps = self._objective.timesteps(len(clean), clean.device)
        loss = self._loss(module, clean, noise, timesteps, self._texts[prompts].to(clean.device))
        return loss, {"noise": loss}

    def _loss(self, module: Any, clean: Tensor, noise: Tensor, timesteps: Tensor, texts: Tensor) -> Tensor:
        output = module(self._objective.noisy(clean, noise, timesteps), timesteps, texts).sample
        return self._objective.loss(output, self._objective.target(clean, noise, timesteps), timesteps)

    @torch.no_grad()
    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        device = next(module.parameters()).device
        steps = self._objective.spread(4, device)
        losses = []
        for number, prompt in enumerate(self._kept_prompts):
            clean = self._kept.clip(number)["clean"][:1].to(device)
            generator = torch.Generator().manual_seed(number)
            for timesteps in steps.split(1):
                noise = torch.randn(clean.shape, generator=generator).to(device)
                texts = self._texts[prompt : prompt + 1].to(device)
                losses.append(float(self._loss(module, clean, noise, timesteps, texts)))
        return Validation(figures={"noise": sum(losses) / len(losses)})

"""Trains the UNet of the small world on latents of clean pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vldm_core.progress import Progress, silent
from vldm_core.training.diffusion.latent_films import LatentClip, LatentClips, LatentFilms
from vldm_core.training.diffusion.objective import Objective
from vldm_core.training.diffusion.prior import TrainingPrior
from vldm_core.training.run import TrainingRun
from vldm_core.training.settings import TrainerSettings
from vldm_core.training.trainer import Validation

from .models import new_unet

PROMPTS = ("a colour film", "a black-and-white film", "")
"""What the text tells the small world; the last is no text."""

_COLOURLESS = 2.0
"""Mean difference between the largest and the smallest of a pixel's channels, grey levels, below which it is grey."""


@dataclass(frozen=True, kw_only=True)
class UnetSettings:
    """How the UNet is trained.

    Attributes:
        trainer: Steps and rates.
        dropout: Share of samples without text.
        levels: Levels of noise that validation looks at.
    """

    trainer: TrainerSettings = TrainerSettings(
        steps=6000, batch=32, rate=1e-3, final_rate=1e-5, warmup=200, checkpoint_every=250, validate_every=500
    )
    dropout: float = 0.15
    levels: int = 8


class UnetTask:
    """What the trainer needs to know of the UNet.

    Args:
        module: diffusers' `UNet2DConditionModel`.
        objective: Noise and loss.
        settings: Text and levels.
        texts: (3, L, C) of `PROMPTS`.
        kinds: For each film to train on, which of the prompts it is.
        kept: Films to validate on, and which prompt each is.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        settings: UnetSettings,
        texts: Tensor,
        kinds: Sequence[int],
        kept: tuple[LatentFilms, Sequence[int]],
    ) -> None:
        self.module: nn.Module = module
        self._objective, self._settings, self._texts = objective, settings, texts
        self._kinds, self._kept = torch.tensor(list(kinds)), kept

    def loss(self, module: nn.Module, batch: LatentClip) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        clean = batch["clean"].flatten(0, 1)
        kinds = self._kinds[torch.as_tensor(batch["film"])]
        dropped = torch.rand(len(clean)) < self._settings.dropout
        texts = self._texts[torch.where(dropped, len(PROMPTS) - 1, kinds)]
        timesteps, noise = self._objective.timesteps(len(clean)), torch.randn_like(clean)
        output = module(self._objective.noisy(clean, noise, timesteps), timesteps, texts).sample
        loss = self._objective.loss(output, self._objective.target(clean, noise, timesteps), timesteps)
        return loss, {"noise": loss}

    @torch.no_grad()
    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        films, kinds = self._kept
        steps = torch.linspace(0, 1, 2 * self._settings.levels + 1)[1::2]
        timesteps = (steps * (self._objective.steps - 1)).long()
        found = []
        for number in range(len(films)):
            clean = films.clip(number)["clean"][:1].expand(len(steps), -1, -1, -1)
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(number))
            texts = self._texts[kinds[number]].expand(len(steps), -1, -1)
            output = module(self._objective.noisy(clean, noise, timesteps), timesteps, texts).sample
            found.append(float(self._objective.loss(output, noise, timesteps)))
        return Validation(figures={"noise": sum(found) / len(found)})


def kinds_of(films: LatentFilms) -> list[int]:
    """Return for each film which of the prompts says what it is."""
    spread = [films.frames(number)[:1] for number in range(len(films))]
    return [int(255 * float((frame.amax(dim=1) - frame.amin(dim=1)).mean()) < _COLOURLESS) for frame in spread]


def train_unet(
    prior: TrainingPrior,
    films: LatentFilms,
    kept: LatentFilms,
    out: Path,
    *,
    settings: UnetSettings | None = None,
    resume: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> nn.Module:
    """Train the UNet.

    Args:
        prior: Of the small world, with the trained VAE; its UNet is not looked at.
        films: To train on.
        kept: To validate on.
        out: File of the weights; checkpoints lie beside it.
        settings: How.
        resume: Go on from the checkpoint, if there is one.
        threads: Of torch.
        progress: Called once per step.
    """
    settings = settings or UnetSettings()
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "UNet of the small world", "dropout": settings.dropout},
        resume=resume,
        overwrite=not resume,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    with run.start():
        unet = new_unet()
    clips = LatentClips(films, frames=1, seed=settings.trainer.seed, batch=settings.trainer.batch, held=2 * len(films))
    objective = Objective(prior.schedule, prior.prediction)
    texts = prior.texts(PROMPTS)
    task = UnetTask(unet, objective, settings, texts, kinds_of(films), (kept, kinds_of(kept)))
    return run.train(task, clips)

"""What the trainer needs to know of a control branch: its loss, and how it is judged."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...prior.controls.diffbir.branch import DiffBirControl
from ..diffusion.controlled import controlled
from ..diffusion.latent_films import LatentClip, LatentFilms
from ..diffusion.looking import SHOWN, Decode, strip
from ..diffusion.objective import Objective, ObjectiveSettings
from ..losses import charbonnier
from ..settings import TrainerSettings
from ..trainer import Validation


@dataclass(frozen=True, kw_only=True)
class ControlTrainingSettings:
    """How a control branch is trained.

    Attributes:
        trainer: Steps, rates and precision.
        objective: Levels of noise.
        prompt: What the films show, for the text conditioning.
        dropout: Share of samples without text, so that guidance finds the branch trained there, too.
        latent: Weight of the latent loss beside the noise loss, where a latent head is trained along: sampling begins
            with what the head gives, which therefore has to stay a latent.
        levels: Levels of noise that validation looks at, evenly spread.
    """

    trainer: TrainerSettings = TrainerSettings(steps=30000, batch=4, accumulation=4, rate=1e-4, precision="bf16")
    objective: ObjectiveSettings = ObjectiveSettings()
    prompt: str = ""
    dropout: float = 0.2
    latent: float = 0.1
    levels: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.dropout <= 1 or self.levels < 1:
            raise SettingsError(
                f"{self.dropout} of the samples have no text and validation looks at {self.levels} levels; use a share "
                "from 0 to 1 and 1 level or more"
            )
        if not 0 <= self.latent < math.inf:
            raise SettingsError(f"the weight of the latent loss is {self.latent}; use 0 or more")

    def description(self) -> dict[str, Any]:
        """Return what makes the run what it is, beside the trainer's own settings."""
        return {name: value for name, value in asdict(self).items() if name not in ("trainer", "levels", "latent")}


class HintHead(nn.Module):
    """The latent head of a pre-restorer, by itself.

    Args:
        head: Of `PreRestorer.latent`; trained.
        scale: Factor between the VAE's latents and the scaled ones.
    """

    def __init__(self, head: nn.Module, scale: float) -> None:
        super().__init__()
        self.head, self.scale = head.requires_grad_(True), scale

    def forward(self, planes: Tensor) -> Tensor:
        """Return scaled latents (B, 4, h, w) for planes (B, C, h, w) of `LatentHead.seen`."""
        return self.scale * self.head(planes)


class ControlledUNet(nn.Module):
    """A frozen UNet and the branch that controls it.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        control: Trained.
        head: Makes the hints, and is trained along; None takes hints as they are.
    """

    def __init__(self, unet: nn.Module, control: DiffBirControl, head: HintHead | None = None) -> None:
        super().__init__()
        self.unet: Any = unet.requires_grad_(False)
        self.control, self.head = control, head

    def forward(self, noisy: Tensor, timesteps: Tensor, context: Tensor, hint: Tensor | None) -> Tensor:
        """Predict.

        Args:
            noisy: (B, 4, h, w).
            timesteps: (B,).
            context: (B, L, C).
            hint: (B, 4, h, w), scaled latents, or with a head the planes that it sees; None runs the UNet alone.
        """
        if hint is None:
            parameter = next(self.unet.parameters())
            return self.unet(noisy.to(parameter), timesteps, context.to(parameter)).sample.float()
        return controlled(self.unet, self.control, noisy, timesteps, context, self.latents(hint))

    def latents(self, hint: Tensor) -> Tensor:
        """Return the scaled latents (B, 4, h, w) that the branch looks at."""
        return hint if self.head is None else self.head(hint)


class ControlTask:
    """What the trainer needs to know of a control branch.

    Args:
        module: The UNet with the branch.
        objective: Noise and loss.
        settings: Text and levels.
        texts: (2, L, C), conditioning of the prompt and of no text.
        films: Of validation.
        decode: Makes pictures (T, 3, H, W) of scaled latents (T, 4, h, w), to be looked at; None shows none.
    """

    def __init__(
        self,
        module: ControlledUNet,
        objective: Objective,
        settings: ControlTrainingSettings,
        texts: Tensor,
        films: LatentFilms | None = None,
        *,
        decode: Decode | None = None,
    ) -> None:
        self.module: nn.Module = module
        self._controlled = module
        self._objective, self._settings, self._texts, self._films = objective, settings, texts, films
        self._decode = decode

    def loss(self, module: nn.Module, batch: LatentClip) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`. Clips of one frame or of several: every frame is a sample of its own."""
        clean, hint = batch["clean"].flatten(0, 1), batch["hint"].flatten(0, 1)
        noise = torch.randn_like(clean)
        timesteps = self._objective.timesteps(len(clean), clean.device)
        dropped = (torch.rand(len(clean)) < self._settings.dropout).long()
        texts = self._texts[dropped].to(clean.device)
        noisy = self._objective.noisy(clean, noise, timesteps)
        output = module(noisy, timesteps, texts, hint)
        loss = self._objective.loss(output, self._objective.target(clean, noise, timesteps), timesteps)
        if self._controlled.head is None:
            return loss, {"noise": loss}
        latent = self._settings.latent * charbonnier(self._controlled.latents(hint).float(), clean)
        return loss + latent, {"noise": loss, "latent": latent}

    @torch.no_grad()
    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`: the loss with the branch and without, on the same noise."""
        if self._films is None:
            return Validation()
        assert isinstance(module, ControlledUNet)
        objective, device = self._objective, next(module.control.parameters()).device
        steps = objective.spread(self._settings.levels, device)
        figures: dict[str, list[float]] = {}
        for number in range(len(self._films)):
            clip = self._films.clip(number)
            clean, hint = clip["clean"][:1].to(device), clip["hint"][:1].to(device)
            if module.head is not None:
                figures.setdefault("latent L1", []).append(float((module.latents(hint) - clean).abs().mean()))
            generator = torch.Generator().manual_seed(number)
            for timesteps in steps.split(1):
                noise = torch.randn(clean.shape, generator=generator).to(device)
                noisy, texts = objective.noisy(clean, noise, timesteps), self._texts[:1].to(device)
                for name, given in (("noise", hint), ("noise without control", None)):
                    output = module(noisy, timesteps, texts, given)
                    loss = objective.loss(output, objective.target(clean, noise, timesteps), timesteps)
                    figures.setdefault(name, []).append(float(loss))
        pictures = {} if self._decode is None else self._pictures(module, self._decode)
        return Validation(
            figures={name: sum(values) / len(values) for name, values in figures.items()}, pictures=pictures
        )

    def _pictures(self, module: ControlledUNet, decode: Decode) -> dict[str, Tensor]:
        """Return what frames are taken for at half of the noise: without control, with it, the hint, and the target."""
        assert self._films is not None
        device, made = next(module.control.parameters()).device, {}
        timesteps = self._objective.spread(1, device)
        for number in range(min(SHOWN, len(self._films))):
            clip = self._films.clip(number)
            clean, hint = clip["clean"][:1].to(device), clip["hint"][:1].to(device)
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(number)).to(device)
            noisy, shown = self._objective.noisy(clean, noise, timesteps), []
            for given in (None, hint):
                output = module(noisy, timesteps, self._texts[:1].to(device), given)
                shown.append(self._objective.clean(noisy, output, timesteps))
            made[f"film {number}: without control, with control, hint, target"] = strip(
                decode(torch.cat((*shown, module.latents(hint), clean)))
            )
        return made

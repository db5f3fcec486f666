"""What the trainer needs to know of temporal layers: their loss, and how they are judged.

The layers of Stable Diffusion stay as they are; the temporal layers learn to predict the noise of a whole clip better
than frame by frame (A. Blattmann et al., "Align your Latents", CVPR 2023, equation 2): all frames of a clip are noised
to one level. Some clips have noise of their own in every frame, others noise that moves with the picture, because a
sampler may start with either, and layers that know one of them alone take the other for a part of the picture (PYoCo,
S. Ge et al., arXiv:2305.10474, section 4.1, trains on the noise it samples with, too).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...prior.call import CONDITIONED, UNetCall, UNetInput
from ...prior.controls.diffbir.branch import DiffBirControl
from ...prior.temporal.layers import TemporalLayers
from ...prior.unet import UNetView
from ...sampling.noise.clip_noise import VideoNoiseSettings, video_noise
from ..diffusion.controlled import MiddleResidual, controlled
from ..diffusion.latent_films import LatentClip, LatentFilms
from ..diffusion.looking import SHOWN, Decode, strip
from ..diffusion.objective import Objective, ObjectiveSettings
from ..losses import temporal
from ..settings import TrainerSettings
from ..trainer import Validation

_CARRIED = VideoNoiseSettings(mode="warped")


@dataclass(frozen=True, kw_only=True)
class TemporalTrainingSettings:
    """How temporal layers are trained.

    Attributes:
        trainer: Steps, rates and precision.
        objective: Levels of noise.
        frames: Length of a sample.
        carried: Share of samples whose noise is carried along the motion, as `VideoNoiseSettings.mode` "warped" makes
            it; the others have noise of their own in every frame.
        consistency: Weight of the flow-consistency loss beside the noise loss. It compares how the predicted and the
            clean latent change along the motion, weighted by how much picture a level of noise leaves.
        prompt: What the films show, for the text conditioning.
        dropout: Share of steps without text, so that guidance finds the layers trained there, too.
        heads: Attention heads of a temporal layer.
        attention: Whether there are attentions over frames beside the convolutions.
        levels: Levels of noise that validation looks at, evenly spread.
    """

    trainer: TrainerSettings = TrainerSettings(steps=20000, batch=1, accumulation=4, rate=1e-4, precision="bf16")
    objective: ObjectiveSettings = ObjectiveSettings()
    frames: int = 8
    carried: float = 0.5
    consistency: float = 0.1
    prompt: str = ""
    dropout: float = 0.1
    heads: int = 8
    attention: bool = True
    levels: int = 4

    def __post_init__(self) -> None:
        if self.frames < 2 or self.levels < 1:
            raise SettingsError(
                f"samples of {self.frames} frames and {self.levels} levels of noise; use 2 frames and 1 level or more"
            )
        if not 0 <= self.carried <= 1:
            raise SettingsError(f"noise is carried along the motion in {self.carried} of the samples; use 0 … 1")
        if not 0 <= self.consistency < 1e3 or not 0 <= self.dropout <= 1:
            raise SettingsError(
                f"the consistency loss weighs {self.consistency} and {self.dropout} of the steps have no text; use a "
                "weight from 0 and a share from 0 to 1"
            )

    def description(self) -> dict[str, Any]:
        """Return what makes the run what it is, beside the trainer's own settings."""
        return {name: value for name, value in asdict(self).items() if name not in ("trainer", "levels")}


class ClipUNet(nn.Module):
    """A frozen UNet that temporal layers have joined, called with clips.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        layers: They are hooked to it for good.
        control: Steers it, frozen too: the layers then learn from what the damaged film says of every frame. None
            leaves the layers alone with the noise.
    """

    def __init__(self, unet: nn.Module, layers: TemporalLayers, control: DiffBirControl | None = None) -> None:
        super().__init__()
        self.unet = unet.requires_grad_(False)
        self.layers = layers
        self.control = None if control is None else control.eval().requires_grad_(False)
        view = UNetView(unet)
        self._middle = None if control is None else MiddleResidual(view)
        layers.attach(view)

    def forward(self, noisy: Tensor, timesteps: Tensor, context: Tensor, hint: Tensor | None = None) -> Tensor:
        """Predict.

        Args:
            noisy: (B, T, 4, h, w).
            timesteps: (B,).
            context: (B, L, C), one text per clip.
            hint: (B, T, 4, h, w), scaled latents that the control looks at; needed with one.

        Returns:
            What the UNet predicts, like `noisy`.
        """
        clips, frames = noisy.shape[:2]
        x = noisy.flatten(0, 1).to(next(self.unet.parameters()).dtype)
        times = timesteps.repeat_interleave(frames)
        text = context.repeat_interleave(frames, dim=0).to(x)
        self.layers.expect(
            UNetCall(
                frames=tuple(range(frames)),
                chunks=(CONDITIONED,) * clips,
                segments=((0, frames),),
                inputs=UNetInput(x=x, timesteps=times, context=text),
            )
        )
        if self.control is None:
            made = self.unet(x, times, text).sample.float()
        else:
            assert hint is not None
            # The text as it came: the UNet's precision may be lower than the control's.
            whole, looked_at = noisy.flatten(0, 1), hint.flatten(0, 1)
            text = context.repeat_interleave(frames, dim=0)
            made = controlled(self.unet, self.control, whole, times, text, looked_at, middle=self._middle)
        return made.unflatten(0, (clips, frames))


class TemporalTask:
    """What the trainer needs to know of temporal layers.

    Args:
        module: The UNet with the layers on it.
        objective: Noise and loss.
        settings: Weights.
        texts: (2, L, C), conditioning of the prompt and of no text.
        films: Of validation.
        decode: Makes pictures (T, 3, H, W) of scaled latents (T, 4, h, w), to be looked at; None shows none.
    """

    def __init__(
        self,
        module: ClipUNet,
        objective: Objective,
        settings: TemporalTrainingSettings,
        texts: Tensor,
        films: LatentFilms | None = None,
        *,
        decode: Decode | None = None,
    ) -> None:
        self.module: nn.Module = module
        self._objective, self._settings, self._texts, self._films = objective, settings, texts, films
        self._decode = decode

    def loss(self, module: nn.Module, batch: LatentClip) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        clean = batch["clean"]
        noise = self._noise(batch)
        timesteps = self._objective.timesteps(len(clean), clean.device)
        dropped = (torch.rand(len(clean)) < self._settings.dropout).long()
        return self._losses(module, batch, noise, timesteps, self._texts[dropped].to(clean.device))

    def _noise(self, batch: LatentClip, generator: torch.Generator | None = None) -> Tensor:
        """Return noise (B, T, 4, h, w) for clips: of every frame for itself, or carried along the motion."""
        clean = batch["clean"]
        noise = torch.randn(clean.shape, generator=generator)
        carried = torch.rand(len(clean), generator=generator) < self._settings.carried
        seeds = torch.randint(1 << 62, (len(clean),), generator=generator).tolist()
        for number in carried.nonzero()[:, 0].tolist():
            flow = batch["flow"][number]
            noise[number] = video_noise(clean.shape[1:], seed=seeds[number], settings=_CARRIED, flow=flow)
        return noise.to(clean)

    def _losses(
        self, module: nn.Module, batch: LatentClip, noise: Tensor, timesteps: Tensor, texts: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        objective, clean = self._objective, batch["clean"]
        noisy = objective.noisy(clean, noise, timesteps)
        output = module(noisy, timesteps, texts, batch["hint"])
        parts = {"noise": objective.loss(output, objective.target(clean, noise, timesteps), timesteps)}
        if self._settings.consistency:
            found = objective.clean(noisy, output, timesteps)
            # Where there is hardly any picture left, x0 is a guess of any size.
            share = objective.signal_share(timesteps)[:, None, None, None]
            trust = batch["visible"] * share
            parts["consistency"] = self._settings.consistency * temporal(found, clean, batch["flow"], trust)
        return torch.stack(list(parts.values())).sum(), parts

    @torch.no_grad()
    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`: the loss with the layers and without, on the same noise."""
        if self._films is None:
            return Validation()
        assert isinstance(module, ClipUNet)
        figures: dict[str, list[float]] = {}
        device = next(module.layers.parameters()).device
        steps = self._objective.spread(self._settings.levels, device)
        for number in range(len(self._films)):
            clip = self._films.clip(number)
            kept = _first_frames(clip, self._settings.frames)
            batch: Any = {name: value[None].to(device) for name, value in kept.items() if isinstance(value, Tensor)}
            generator = torch.Generator().manual_seed(number)
            for timesteps in steps.split(1):
                noise = self._noise(batch, generator)
                texts = self._texts[:1].to(device)
                for name, strength in (("", 1.0), (" without layers", 0.0)):
                    module.layers.strength = strength
                    _, parts = self._losses(module, batch, noise, timesteps, texts)
                    for part, value in parts.items():
                        figures.setdefault(f"{part}{name}", []).append(float(value))
        module.layers.strength = 1.0
        pictures = {} if self._decode is None else self._pictures(module, self._decode)
        return Validation(
            figures={name: sum(values) / len(values) for name, values in figures.items()}, pictures=pictures
        )

    def _pictures(self, module: ClipUNet, decode: Decode) -> dict[str, Tensor]:
        """Return what a clip is taken for at half of the noise: without the layers, with them, and as it is."""
        assert self._films is not None
        device, made = next(module.layers.parameters()).device, {}
        timesteps = self._objective.spread(1, device)
        for number in range(min(SHOWN, len(self._films))):
            clip = _first_frames(self._films.clip(number), self._settings.frames)
            clean, hint = clip["clean"][None].to(device), clip["hint"][None].to(device)
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(number)).to(device)
            noisy, rows = self._objective.noisy(clean, noise, timesteps), []
            for strength in (0.0, 1.0):
                module.layers.strength = strength
                output = module(noisy, timesteps, self._texts[:1].to(device), hint)
                rows.append(self._objective.clean(noisy, output, timesteps)[0])
            strips = [strip(decode(latents)) for latents in (*rows, clean[0])]
            made[f"film {number}: without layers, with layers, target"] = torch.cat(strips, dim=1)
        return made


def _first_frames(clip: LatentClip, count: int) -> LatentClip:
    pairs = count - 1
    return LatentClip(
        clean=clip["clean"][:count],
        hint=clip["hint"][:count],
        masks=clip["masks"][:count],
        flow=clip["flow"][:pairs],
        visible=clip["visible"][:pairs],
        film=clip["film"],
    )

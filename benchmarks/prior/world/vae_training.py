"""Trains the VAE of the small world on pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vldm_core.data.samples import NumberedSamples
from vldm_core.metrics.fidelity import psnr
from vldm_core.progress import Progress, silent
from vldm_core.training.losses import charbonnier, gradient
from vldm_core.training.run import TrainingRun
from vldm_core.training.settings import TrainerSettings
from vldm_core.training.trainer import Validation

from .films import Films
from .models import LATENT_SCALE, new_vae


@dataclass(frozen=True, kw_only=True)
class VaeSettings:
    """How the VAE is trained.

    Attributes:
        trainer: Steps and rates.
        side: Height and width of a sample, px.
        gradient: Weight of the gradient loss beside the picture loss: edges are what 48 numbers for one lose first.
        divergence: Weight of the mean Kullback-Leibler divergence per number of the latent from a standard normal:
            it keeps the latent smooth, and is as small as in Stable Diffusion's own training so that it carries all.
    """

    trainer: TrainerSettings = TrainerSettings(
        steps=5000, batch=8, rate=1.5e-3, final_rate=2e-5, warmup=100, checkpoint_every=250, validate_every=500
    )
    side: int = 64
    gradient: float = 0.5
    divergence: float = 1e-4


class Pictures(NumberedSamples[Tensor]):
    """Single pictures (3, side, side) in [0, 1] cut from films, clean ones and damaged ones, mirrored and turned.

    Args:
        films: What they are cut from.
        side: Height and width, px.
        seed: Another seed gives other pictures.
        batch: Samples in a block.
    """

    def __init__(self, films: Films, *, side: int, seed: int, batch: int) -> None:
        super().__init__(seed=seed, batch=batch)
        self._films, self._side = films, side

    def sample(self, index: int) -> Tensor:
        """Return one picture."""
        stream = np.random.default_rng([self.seed, index])
        number = int(stream.integers(len(self._films)))
        # Stable Diffusion's VAE knows damaged pictures, too: it was trained on all that lies about.
        frames = self._films.frames(number) if stream.random() < 0.25 else self._films.target(number)
        frame = frames[int(stream.integers(len(frames)))]
        top, left = (int(stream.integers(extent - self._side + 1)) for extent in frame.shape[-2:])
        picture = frame[:, top : top + self._side, left : left + self._side]
        for axis in (-1, -2):
            if stream.random() < 0.5:
                picture = np.flip(picture, axis)
        return torch.from_numpy(np.ascontiguousarray(picture)).float() / 255


class VaeTask:
    """What the trainer needs to know of the VAE.

    Args:
        module: diffusers' `AutoencoderKL`.
        settings: Weights of the losses.
        films: Of validation.
    """

    def __init__(self, module: nn.Module, settings: VaeSettings, films: Films) -> None:
        self.module: nn.Module = module
        self._settings, self._films = settings, films

    def loss(self, module: nn.Module, batch: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        vae = cast(Any, module)
        pictures = (2 * batch - 1).contiguous(memory_format=torch.channels_last)
        found = vae.encode(pictures).latent_dist
        made = vae.decode(found.sample()).sample
        parts = {
            "picture": charbonnier(made, pictures),
            "gradient": self._settings.gradient * gradient(made, pictures),
            "divergence": self._settings.divergence * found.kl().mean() / found.mean[0].numel(),
        }
        return torch.stack(list(parts.values())).sum(), parts

    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        vae = cast(Any, module)
        figures, rows = [], {}
        for number in range(len(self._films)):
            frame = torch.from_numpy(self._films.target(number)[:1]).float() / 255
            made = (vae.decode(vae.encode(2 * frame - 1).latent_dist.mode()).sample / 2 + 0.5).clamp(0, 1)
            figures.append(float(psnr(made, frame)))
            if number < 6:
                rows[f"film {number}: picture, decoded"] = torch.cat((frame[0], made[0]), dim=-1)
        return Validation(figures={"psnr": sum(figures) / len(figures)}, pictures=rows)


def train_vae(
    films: Films,
    kept_apart: Films,
    out: Path,
    *,
    settings: VaeSettings | None = None,
    resume: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> nn.Module:
    """Train the VAE, and give its latents Stable Diffusion's size.

    Args:
        films: To train on.
        kept_apart: To validate on.
        out: File of the weights; checkpoints lie beside it.
        settings: How.
        resume: Go on from the checkpoint, if there is one.
        threads: Of torch.
        progress: Called once per step.
    """
    settings = settings or VaeSettings()
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "VAE of the small world", "side": settings.side, "gradient": settings.gradient},
        resume=resume,
        overwrite=not resume,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    with run.start():
        vae = new_vae().to(memory_format=torch.channels_last)
    pictures = Pictures(films, side=settings.side, seed=settings.trainer.seed, batch=settings.trainer.batch)
    trained = run.train(VaeTask(vae, settings, kept_apart), pictures)
    scale_latents(trained, films)
    return trained


@torch.no_grad()
def scale_latents(vae: Any, films: Films, *, pictures: int = 256) -> None:
    """Let every channel of the latent have mean 0 and, scaled by 0.18215, standard deviation 1.

    The change goes into the 1×1 convolutions on both sides of the latent, so decoding undoes it.

    Args:
        vae: diffusers' `AutoencoderKL`, changed in place.
        films: What it is measured on.
        pictures: How many frames.
    """
    found = []
    for number in range(min(pictures, len(films))):
        frame = torch.from_numpy(films.target(number)[:1]).float() / 127.5 - 1
        found.append(vae.encode(frame).latent_dist.mode().transpose(0, 1).flatten(1))
    latents = torch.cat(found, dim=1)
    mean, gain = latents.mean(dim=1), 1 / (LATENT_SCALE * latents.std(dim=1))
    before, behind = vae.quant_conv, vae.post_quant_conv
    rows = torch.cat((gain, torch.ones_like(gain)))
    before.weight.mul_(rows[:, None, None, None])
    before.bias.copy_(before.bias * rows - torch.cat((gain * mean, torch.zeros_like(mean))))
    # The logarithm of the variance follows.
    before.bias[len(gain) :] += 2 * gain.log()
    behind.bias.add_(functional.conv2d(mean[None, :, None, None], behind.weight)[0, :, 0, 0])
    behind.weight.div_(gain[None, :, None, None])

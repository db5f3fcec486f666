"""The Stable Diffusion model that parts are trained on: opened once, frozen, and reduced to what training needs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...prior.checkpoints.opening import open_prior
from ...prior.schedulers import DrivenScheduler
from ...sampling.schedule import NoiseSchedule, Prediction
from ..fingerprints import fingerprint
from ..settings import Precision


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingPrior:
    """A frozen Stable Diffusion model.

    Attributes:
        unet: diffusers' `UNet2DConditionModel`, without gradients of its own weights.
        vae: diffusers' `AutoencoderKL`, likewise.
        schedule: The noise schedule that the UNet was trained on.
        prediction: What the UNet predicts.
        pipeline: The pipeline that it was opened as, for the text and for validation.
        name: Fingerprint of UNet and VAE: the same model, wherever its file lies, has the same.
    """

    unet: Any
    vae: Any
    schedule: NoiseSchedule
    prediction: Prediction
    pipeline: Any
    name: str

    @property
    def scale(self) -> float:
        """Factor between the VAE's latents and those of the UNet."""
        return float(self.vae.config.scaling_factor)

    def make_ready(self, *, precision: Precision, checkpointing: bool) -> None:
        """Bring the UNet into the state in which parts are trained on it.

        Args:
            precision: Of the forward pass; with "bf16" the frozen weights are held in it, too.
            checkpointing: Run its blocks again for the gradients instead of keeping what they computed.
        """
        if precision == "bf16":
            self.unet.to(torch.bfloat16)
        if checkpointing:
            self.unet.enable_gradient_checkpointing()

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Tensor:
        """Return the text conditioning of prompts, (N, L, C)."""
        tokenizer, encoder = self.pipeline.tokenizer, self.pipeline.text_encoder
        tokens = tokenizer(
            list(prompts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True
        ).input_ids
        return encoder(torch.tensor(tokens, device=encoder.device))[0].float()

    @torch.no_grad()
    def latents(self, frames: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames: (T, 3, H, W), RGB, [0, 1]; sides divisible by 8.

        Returns:
            (T, 4, H/8, W/8), scaled: the mean of what the VAE gives, so that the same frame has the same latent.
        """
        parameter = next(self.vae.parameters())
        made = [self.vae.encode(2 * frame[None].to(parameter) - 1).latent_dist.mode() for frame in frames]
        return self.scale * torch.cat(made).float()

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """Decode scaled latents (T, 4, h, w) frame by frame to (T, 3, 8h, 8w), RGB, [0, 1]."""
        parameter = next(self.vae.parameters())
        made = [self.vae.decode(latent[None].to(parameter) / self.scale).sample for latent in latents]
        return (torch.cat(made).float() / 2 + 0.5).clamp(0, 1)


def open_training_prior(
    path: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    prediction: Prediction | None = None,
) -> TrainingPrior:
    """Open a model to train parts on.

    Args:
        path: Folder in diffusers' layout, or a checkpoint in the original layout.
        config: For a checkpoint of unusual sizes: a folder with its configuration; see `open_prior`.
        prediction: What the network predicts; None takes it from the model.

    Returns:
        The model in single precision on the processor; the trainer brings it to where it trains.

    Raises:
        VLDMError: It cannot be opened; see `open_prior`.
    """
    pipeline = open_prior(path, config=config, prediction=prediction, device="cpu")
    return training_prior(pipeline)


def training_prior(pipeline: Any) -> TrainingPrior:
    """Return what training needs of a pipeline, which is frozen by it."""
    for model in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        model.eval().requires_grad_(False)
    drive = DrivenScheduler(pipeline.scheduler, steps=1, strength=1.0)
    return TrainingPrior(
        unet=pipeline.unet,
        vae=pipeline.vae,
        schedule=drive.schedule,
        prediction=drive.prediction,
        pipeline=pipeline,
        name=fingerprint(pipeline.unet, pipeline.vae),
    )


def folder_of(prior: TrainingPrior, cache: Path) -> Path:
    """Return where the latents of a prior lie in a cache: those of another VAE would be of no use to it."""
    return cache / f"latents-{fingerprint(prior.vae)}"

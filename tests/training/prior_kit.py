"""A tiny Stable Diffusion of the real classes, and a little material, for everything that is trained on a prior."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vldm_core.prerestore.network import KIND, PreRestorer, PreRestorerConfig
from vldm_core.training.diffusion.material import PriorMaterial
from vldm_core.training.diffusion.prior import TrainingPrior, training_prior
from vldm_core.training.prerestorer.examples import RepairedFilmSettings
from vldm_core.training.settings import TrainerSettings

from ..prior.tiny_pipeline import tiny_pipeline

TRAINER = TrainerSettings(
    steps=12, batch=2, rate=2e-3, warmup=3, average=0.8, checkpoint_every=5, validate_every=0, record_every=4
)
FILMS = RepairedFilmSettings(films=2, frames=4, height=64, width=64, presets={"heavy": 1.0})


def tiny_prior(prediction: str = "epsilon") -> TrainingPrior:
    return training_prior(tiny_pipeline(prediction=prediction))


def wide_prior() -> TrainingPrior:
    """The tiny prior with a VAE whose groups are SVD's, which are fixed."""
    from diffusers import AutoencoderKL

    pipeline = tiny_prior().pipeline
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        vae = AutoencoderKL(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
        ).eval()
    pipeline.register_modules(vae=vae)
    return training_prior(pipeline)


def material(data: Path, cache: Path) -> PriorMaterial:
    return PriorMaterial(data=(data,), cache=cache, films=FILMS, validation_films=1)


NETWORK = PreRestorerConfig(
    widths=(8, 8, 12),
    encoder_blocks=(1, 1),
    state_blocks=1,
    bottom_blocks=1,
    decoder_blocks=(1, 1),
    heads=2,
    window=4,
    latent=False,
)


def tiny_prerestorer() -> PreRestorer:
    """A pre-restorer with weights that are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return PreRestorer(NETWORK).eval().requires_grad_(False)


def headed_prerestorer() -> PreRestorer:
    """The same with a latent head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        return PreRestorer(replace(NETWORK, latent=True)).eval().requires_grad_(False)


def moved(module: nn.Module, size: float = 0.02) -> Any:
    """Move every weight, so that what begins as nothing does something."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(8)
        for parameter in module.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return module.eval().requires_grad_(False)


def prerestorer_file(folder: Path) -> Path:
    """The same as a file."""
    path = folder / "prerestorer.safetensors"
    if not path.is_file():
        KIND.save(tiny_prerestorer(), path)
    return path

"""The training of the small world's VAE."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vldm_core.data.samples import NumberedSamples
from vldm_core.metrics.fidelity import psnr
from vldm_core.training.example_files import read
from vldm_core.training.losses import charbonnier, gradient
from vldm_core.training.settings import TrainerSettings
from vldm_core.training.trainer import Validation

VAE = TrainerSettings(
    steps=3000, batch=4, rate=1.2e-3, final_rate=2e-5, checkpoint_every=250, validate_every=1000, average=0.995
)
_CROP = 64
_GRADIENT, _KL = 0.5, 1e-4
_ARRAYS = ("target", "frames")
_FIRST_SPREAD = -4.0
"""Logarithm of the variance of a latent."""

_AGED_SHARE = 0.25
"""Share of samples that show the aged film: it is encoded, too."""


class Crops(NumberedSamples[Tensor]):
    """Squares of frames, (3, 64, 64) in [0, 1].

    Args:
        films: Files of `make_films`.
        seed: Another seed gives other squares.
        batch: Samples in a block.
    """

    def __init__(self, films: Sequence[Path], *, seed: int, batch: int) -> None:
        super().__init__(seed=seed, batch=batch)
        self._films = films
        self._held: dict[tuple[int, str], NDArray[np.uint8]] = {}

    def sample(self, index: int) -> Tensor:
        """See `NumberedSamples`."""
        stream = np.random.default_rng([self.seed, index])
        number, name = int(stream.integers(len(self._films))), _ARRAYS[stream.random() < _AGED_SHARE]
        if (number, name) not in self._held:
            self._held[number, name] = read(self._films[number], (name,))[name]
        frames = self._held[number, name]
        frame = frames[int(stream.integers(len(frames)))]
        top, left = (int(stream.integers(extent - _CROP + 1)) for extent in frame.shape[-2:])
        square = frame[:, top : top + _CROP, left : left + _CROP]
        if stream.random() < 0.5:
            square = square[:, :, ::-1]
        return torch.from_numpy(square.copy()).float() / 255


class VaeTask:
    """What the trainer needs to know of a VAE: pictures that come back, latents that spread like normal noise.

    Args:
        module: diffusers' `AutoencoderKL`.
        films: Files of validation.
    """

    def __init__(self, module: nn.Module, films: Sequence[Path]) -> None:
        self.module = module
        self._films = films

    def loss(self, module: nn.Module, batch: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        pictures = batch.to(memory_format=torch.channels_last)
        spread = self.module.encode(2 * pictures - 1).latent_dist  # type: ignore[operator]
        made = self.module.decode(spread.sample()).sample / 2 + 0.5  # type: ignore[operator]
        parts = {
            "picture": 10 * charbonnier(made, pictures),
            "gradient": 10 * _GRADIENT * gradient(made, pictures),
            "kl": _KL * spread.kl().mean(),
        }
        return torch.stack(list(parts.values())).sum(), parts

    @torch.no_grad()
    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        model: Any = module
        figures, pictures = [], {}
        for film in self._films:
            frame = torch.from_numpy(read(film, ("target",))["target"][:1]).float() / 255
            made = (model.decode(model.encode(2 * frame - 1).latent_dist.mode()).sample / 2 + 0.5).clamp(0, 1)
            figures.append(float(psnr(made, frame)))
            pictures[f"{film.stem}: target, decoded"] = torch.cat((frame[0], made[0]), dim=-1)
        return Validation(figures={"psnr": sum(figures) / len(figures)}, pictures=dict(list(pictures.items())[:6]))


@torch.no_grad()
def start_gently(vae: nn.Module) -> None:
    """Let a new VAE start from its shortcuts alone, with latents that hardly spread: it learns in half the steps.

    Args:
        vae: diffusers' `AutoencoderKL`; is changed.
    """
    for name, module in vae.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    spread: Any = vae.quant_conv
    spread.bias[spread.out_channels // 2 :] = _FIRST_SPREAD


@torch.no_grad()
def even_out(vae: Any, films: Sequence[Path]) -> None:
    """Shift and scale latents, channel by channel, so that scaled ones have mean 0 and variance 1.

    Args:
        vae: Is changed in the layers next to the latents; what it decodes stays the same.
        films: Files whose frames are encoded to find out.
    """
    found = []
    for film in films:
        frames = torch.from_numpy(read(film, ("target",))["target"][:2]).float() / 255
        found.append(vae.encode(2 * frames - 1).latent_dist.mode())
    values = torch.cat(found).transpose(0, 1).flatten(1)
    mean, scale = values.mean(dim=1), vae.config.scaling_factor * values.std(dim=1)
    channels = len(mean)
    vae.quant_conv.weight[:channels] /= scale[:, None, None, None]
    vae.quant_conv.bias[:channels] = (vae.quant_conv.bias[:channels] - mean) / scale
    # The logarithm of the variance belongs to the scaled latent, too.
    vae.quant_conv.bias[channels:] -= 2 * scale.log()
    vae.post_quant_conv.bias += (vae.post_quant_conv.weight[:, :, 0, 0] @ mean[:, None])[:, 0]
    vae.post_quant_conv.weight *= scale[None, :, None, None]

"""What the published systems compute, in their own form: the core is held against it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vldm_core.sampling.schedule import NoiseSchedule, Prediction
from vldm_core.sampling.spaced import spaced_timesteps

_VARIANCE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class SpacedTables:
    """Coefficients of the spaced process, variance preserving; entry i belongs to `timesteps[i]`, ascending.

    Attributes:
        timesteps: (S,) int64, what the network is told.
        alphas_cumprod: (S,) float64.
        sqrt_alphas_cumprod: (S,) float32, √ᾱ.
        sqrt_one_minus_alphas_cumprod: (S,) float32, √(1 - ᾱ).
        sqrt_recip_alphas_cumprod: (S,) float32, 1 / √ᾱ.
        sqrt_recipm1_alphas_cumprod: (S,) float32, √(1 / ᾱ - 1).
        posterior_variance: (S,) float32, β (1 - ᾱ') / (1 - ᾱ), where ᾱ' belongs to the entry before.
        posterior_mean_coef1: (S,) float32, of x0: β √ᾱ' / (1 - ᾱ).
        posterior_mean_coef2: (S,) float32, of x_t: √α (1 - ᾱ') / (1 - ᾱ).
    """

    timesteps: Tensor
    alphas_cumprod: Tensor
    sqrt_alphas_cumprod: Tensor
    sqrt_one_minus_alphas_cumprod: Tensor
    sqrt_recip_alphas_cumprod: Tensor
    sqrt_recipm1_alphas_cumprod: Tensor
    posterior_variance: Tensor
    posterior_mean_coef1: Tensor
    posterior_mean_coef2: Tensor

    @classmethod
    def build(cls, schedule: NoiseSchedule, steps: int) -> "SpacedTables":
        """Compute the tables in float64 and keep them in float32.

        Args:
            schedule: The network's training schedule.
            steps: How many timesteps to keep.
        """
        timesteps = torch.tensor(spaced_timesteps(schedule.steps, steps))
        alphas = schedule.alphas_cumprod[timesteps]
        before = torch.cat((alphas.new_ones(1), alphas[:-1]))
        kept = alphas / before
        return cls(
            timesteps=timesteps,
            alphas_cumprod=alphas,
            sqrt_alphas_cumprod=alphas.sqrt().float(),
            sqrt_one_minus_alphas_cumprod=(1 - alphas).sqrt().float(),
            sqrt_recip_alphas_cumprod=(1 / alphas).sqrt().float(),
            sqrt_recipm1_alphas_cumprod=(1 / alphas - 1).sqrt().float(),
            posterior_variance=((1 - kept) * (1 - before) / (1 - alphas)).float(),
            posterior_mean_coef1=((1 - kept) * before.sqrt() / (1 - alphas)).float(),
            posterior_mean_coef2=(kept.sqrt() * (1 - before) / (1 - alphas)).float(),
        )

    def x0(self, x_t: Tensor, output: Tensor, index: int, prediction: Prediction) -> Tensor:
        """Turn a network's output into x0.

        Args:
            x_t: Noisy latent, variance preserving.
            output: The network's output.
            index: Position in the tables.
            prediction: "eps" or "v"; at zero SNR only "v" is defined.

        Returns:
            Tensor like `x_t`.
        """
        if prediction == "v":
            return self.sqrt_alphas_cumprod[index] * x_t - self.sqrt_one_minus_alphas_cumprod[index] * output
        return self.sqrt_recip_alphas_cumprod[index] * x_t - self.sqrt_recipm1_alphas_cumprod[index] * output

    def step(self, x_t: Tensor, x0: Tensor, index: int, noise: Tensor) -> Tensor:
        """Draw x at the timestep before from the posterior.

        Args:
            x_t: Noisy latent, variance preserving.
            x0: Predicted clean latent.
            index: Position in the tables.
            noise: Standard normal; not used at index 0.

        Returns:
            Tensor like `x_t`.
        """
        mean = self.posterior_mean_coef1[index] * x0 + self.posterior_mean_coef2[index] * x_t
        return mean if index == 0 else mean + self.posterior_variance[index].sqrt() * noise


def sliding_windows(height: int, width: int, size: int, stride: int) -> tuple[tuple[int, int, int, int], ...]:
    """Lay tiles as DiffBIR does: by a stride, with a last tile flush with the far edge where it does not divide.

    Args:
        height: Rows.
        width: Columns.
        size: Side of a tile; a smaller frame has tiles of its own size.
        stride: Distance of neighbouring tiles.

    Returns:
        (top, bottom, left, right) of each tile, row by row; bottom and right exclusive.
    """
    tall, wide = min(size, height), min(size, width)
    rows = sorted({*range(0, height - tall + 1, stride), height - tall})
    columns = sorted({*range(0, width - wide + 1, stride), width - wide})
    return tuple((top, top + tall, left, left + wide) for top in rows for left in columns)


def gaussian_weights(width: int, height: int) -> Tensor:
    """Return the tile weights that DiffBIR, StableSR, PASD and SeeSR share.

    exp(-(x - m)² / (2 · 0.01 · side²)) / √(2π · 0.01), with m = (width - 1) / 2 across but m = height / 2 down: the
    bell sits half a pixel too low, and every one of them has copied that. The core's
    own tiles are symmetric.

    Args:
        width: Columns.
        height: Rows.

    Returns:
        (height, width) float64.
    """
    return _bell(height, height / 2)[:, None] * _bell(width, (width - 1) / 2)[None, :]


def _bell(count: int, middle: float) -> Tensor:
    distance = (torch.arange(count, dtype=torch.float64) - middle) / count
    return torch.exp(-distance.square() / (2 * _VARIANCE)) / math.sqrt(2 * math.pi * _VARIANCE)

"""Stable Diffusion's noise schedule, and the conversions between what a network predicts and x0.

Two conventions meet here. The network was trained on variance-preserving latents, x_t = √ᾱ x0 + √(1 - ᾱ) ε. Samplers
in ComfyUI and k-diffusion, and everything in this package, work on x = x_t / √ᾱ = x0 + σ ε with σ = √((1 - ᾱ) / ᾱ)
(Karras et al., arXiv:2206.00364, section 2 and appendix C.3.4).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ..errors import SettingsError

Prediction = Literal["eps", "v"]
PREDICTIONS = ("eps", "v")
FIRST_BETA, LAST_BETA, TRAINING_STEPS = 0.00085, 0.012, 1000
"""Of Stable Diffusion 1.x and 2.x, and of AnimateDiff's motion modules."""

# Zero terminal SNR means an infinite sigma, which samplers cannot start from. ComfyUI puts this in its place (sigma
# 4518.76), and so do we, so that the tables agree.
_LEAST_ALPHA_CUMPROD = 4.8973451890853435e-08
PURE_NOISE = 4000.0
"""σ from which on a level stands for pure noise. In the place of an infinite σ diffusers puts 4096, ComfyUI 4518.76 and
DiffBIR 10 000; without zero terminal SNR the last level is 14.6."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseSchedule:
    """ᾱ of every training timestep.

    Attributes:
        alphas_cumprod: (N,) float64, falling, in [0, 1]; entry t belongs to timestep t.
    """

    alphas_cumprod: Tensor

    def __post_init__(self) -> None:
        table = self.alphas_cumprod
        if table.ndim != 1 or len(table) < 2 or table.dtype != torch.float64:
            raise SettingsError(f"alphas_cumprod is {tuple(table.shape)} of {table.dtype}; give (N,) float64")
        if not (table.min() >= 0 and table.max() <= 1 and bool((table.diff() < 0).all())):
            raise SettingsError("alphas_cumprod must fall from at most 1 to at least 0")

    @classmethod
    def stable_diffusion(
        cls, kind: Literal["scaled_linear", "linear"] = "scaled_linear", *, zero_terminal_snr: bool = False
    ) -> "NoiseSchedule":
        """Build the schedule of Stable Diffusion 1.x and 2.x: 1000 steps, betas 0.00085 … 0.012.

        Args:
            kind: "scaled_linear": √beta rises linearly, Stable Diffusion's own (ComfyUI and AnimateDiff's motion
                modules call it "sqrt_linear" and, misleadingly, DiffBIR "linear"). "linear": beta itself does.
            zero_terminal_snr: Rescale so that the last step is pure noise (Lin et al., arXiv:2305.08891,
                algorithm 1), as DiffBIR 2.1's base model was fine-tuned.

        Returns:
            The schedule.

        Raises:
            SettingsError: `kind` is unknown.
        """
        if kind == "scaled_linear":
            betas = torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, TRAINING_STEPS, dtype=torch.float64).square()
        elif kind == "linear":
            betas = torch.linspace(FIRST_BETA, LAST_BETA, TRAINING_STEPS, dtype=torch.float64)
        else:
            raise SettingsError(f"beta schedule is {kind!r}; use scaled_linear or linear")
        return cls(
            alphas_cumprod=_zero_terminal((1 - betas).cumprod(0)) if zero_terminal_snr else (1 - betas).cumprod(0)
        )

    @property
    def steps(self) -> int:
        """Number of training timesteps."""
        return len(self.alphas_cumprod)

    @property
    def betas(self) -> Tensor:
        """(N,) float64: 1 - ᾱ_t / ᾱ_(t-1)."""
        before = torch.cat((self.alphas_cumprod.new_ones(1), self.alphas_cumprod[:-1]))
        return 1 - self.alphas_cumprod / before

    @cached_property
    def sigmas(self) -> Tensor:
        """(N,) float64, rising. With zero terminal SNR the last is 4518.76 instead of infinite."""
        alphas = self.alphas_cumprod.clamp(min=_LEAST_ALPHA_CUMPROD)
        return ((1 - alphas) / alphas).sqrt()

    @cached_property
    def _log_sigmas(self) -> Tensor:
        return self.sigmas.log()

    def sigma(self, timestep: float) -> float:
        """Return sigma at a timestep; between two, log sigma is interpolated as k-diffusion does.

        Args:
            timestep: 0 … N - 1; what is beyond is taken for the end.
        """
        place = min(max(timestep, 0.0), self.steps - 1.0)
        low = min(int(place), self.steps - 2)
        share = place - low
        return math.exp((1 - share) * self._log_sigmas[low].item() + share * self._log_sigmas[low + 1].item())

    def timestep(self, sigma: float) -> float:
        """Return the timestep of a sigma, the inverse of :meth:`sigma`.

        Args:
            sigma: Above 0; what is beyond the table is taken for its end.
        """
        wanted = math.log(max(sigma, 1e-30))
        table = self._log_sigmas
        low = int((torch.searchsorted(table, torch.tensor(wanted, dtype=torch.float64)) - 1).clamp(0, self.steps - 2))
        below, above = table[low].item(), table[low + 1].item()
        return low + min(max((wanted - below) / (above - below), 0.0), 1.0)

    def add_noise(self, x0: Tensor, noise: Tensor, timestep: int) -> Tensor:
        """Noise a variance-preserving latent to a timestep: √ᾱ x0 + √(1 - ᾱ) noise.

        Args:
            x0: Any shape.
            noise: Like `x0`.
            timestep: 0 … N - 1.

        Returns:
            Tensor like `x0`.
        """
        alpha = self.alphas_cumprod[timestep].item()
        return alpha**0.5 * x0 + (1 - alpha) ** 0.5 * noise


def _zero_terminal(alphas_cumprod: Tensor) -> Tensor:
    """Shift √ᾱ so that its last entry is 0 and scale it so that its first stays."""
    root = alphas_cumprod.sqrt()
    return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))).square()


def model_input(x: Tensor, sigma: float) -> Tensor:
    """Scale a sigma-space latent to what the network takes: x / √(1 + σ²), of unit variance."""
    return x / math.sqrt(1 + sigma * sigma)


def to_x0(x: Tensor, output: Tensor, sigma: float, prediction: Prediction) -> Tensor:
    """Turn a network's output into x0.

    Args:
        x: Noisy latent in sigma space.
        output: What the network predicted for ``model_input(x, sigma)``.
        sigma: Noise level, finite.
        prediction: "eps" (SD 1.x, SD 2-base) or "v" (Salimans and Ho, arXiv:2202.00512; SD 2.x-768, zero SNR).

    Returns:
        x0, like `x`.

    Raises:
        SettingsError: `prediction` is unknown.
    """
    if prediction == "eps":
        return x - sigma * output
    if prediction == "v":
        return x / (1 + sigma * sigma) - output * (sigma / math.sqrt(1 + sigma * sigma))
    raise SettingsError(f"prediction is {prediction!r}; use eps or v")


def from_x0(x: Tensor, x0: Tensor, sigma: float, prediction: Prediction) -> Tensor:
    """Turn x0 back into what the network would have put out; the inverse of :func:`to_x0`.

    Args:
        x: Noisy latent in sigma space.
        x0: Clean latent.
        sigma: Noise level, above 0 and finite.
        prediction: "eps" or "v".

    Returns:
        Tensor like `x`.

    Raises:
        SettingsError: `prediction` is unknown.
    """
    if prediction == "eps":
        return (x - x0) / sigma
    if prediction == "v":
        return (x / (1 + sigma * sigma) - x0) * (math.sqrt(1 + sigma * sigma) / sigma)
    raise SettingsError(f"prediction is {prediction!r}; use eps or v")

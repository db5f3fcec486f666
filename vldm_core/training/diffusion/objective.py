"""What a diffusion model learns: to tell noise from picture at every level of noise.

The network sees x_t = √ᾱ_t x0 + √(1 - ᾱ_t) ε and predicts ε (J. Ho et al., "Denoising Diffusion Probabilistic Models",
arXiv:2006.11239, equation 14) or v = √ᾱ_t ε - √(1 - ᾱ_t) x0 (T. Salimans and J. Ho, arXiv:2202.00512, appendix D).
Levels of noise may be weighted by min(SNR, γ) (T. Hang et al., "Efficient Diffusion Training via Min-SNR Weighting
Strategy", arXiv:2303.09556).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import SettingsError
from ...sampling.schedule import NoiseSchedule, Prediction


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """Which levels of noise are trained, and how they count.

    Attributes:
        first: First timestep, as a share of the schedule, 0 … 1.
        last: Last one, likewise. Restoring from half of the noise never sees what lies above.
        snr_limit: γ of min-SNR weighting; None weighs all levels alike.
    """

    first: float = 0.0
    last: float = 1.0
    snr_limit: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.last <= 1:
            raise SettingsError(
                f"training goes from {self.first} to {self.last} of the noise schedule; use 0 <= first < last <= 1"
            )
        if self.snr_limit is not None and not 0 < self.snr_limit <= 1000:
            raise SettingsError(f"the limit of min-SNR weighting is {self.snr_limit}; use above 0, at most 1000")


class Objective:
    """Noise, target and loss.

    Args:
        schedule: That the network was trained on.
        prediction: What it predicts.
        settings: Levels of noise.
    """

    def __init__(
        self, schedule: NoiseSchedule, prediction: Prediction, settings: ObjectiveSettings | None = None
    ) -> None:
        self.prediction, self.settings = prediction, settings or ObjectiveSettings()
        self._alphas = schedule.alphas_cumprod
        last = max(1, round(self.settings.last * schedule.steps))
        self._range = min(round(self.settings.first * schedule.steps), last - 1), last

    @property
    def steps(self) -> int:
        """Timesteps of the whole schedule."""
        return len(self._alphas)

    def timesteps(self, count: int, device: torch.device | str = "cpu") -> Tensor:
        """Draw timesteps (count,), evenly over the range, from torch's own generator of the processor.

        They are spread: each has a part of the range to itself, so that the loss of a small batch says more.
        """
        first, last = self._range
        place = (torch.arange(count) + torch.rand(count)) / count
        drawn = first + (place * (last - first)).long()
        return drawn.clamp(max=last - 1)[torch.randperm(count)].to(device)

    def spread(self, count: int, device: torch.device | str = "cpu") -> Tensor:
        """Return timesteps (count,), evenly spread over the whole schedule, to judge on the same ones every time."""
        places = torch.linspace(0, 1, 2 * count + 1)[1::2]
        return (places * (self.steps - 1)).long().to(device)

    def noisy(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return x_t.

        Args:
            clean: (B, …).
            noise: Alike.
            timesteps: (B,).
        """
        signal, amount = self._shares(clean, timesteps)
        return signal * clean + amount * noise

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return what the network is to predict; arguments as for `noisy`."""
        if self.prediction == "eps":
            return noise
        signal, amount = self._shares(clean, timesteps)
        return signal * noise - amount * clean

    def clean(self, noisy: Tensor, output: Tensor, timesteps: Tensor) -> Tensor:
        """Return x0 from what the network saw and predicted."""
        signal, amount = self._shares(noisy, timesteps)
        if self.prediction == "v":
            return signal * noisy - amount * output
        # With zero terminal SNR the last level has no signal; nothing can be told from it.
        return (noisy - amount * output) / signal.clamp(min=1e-3)

    def loss(self, output: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        """Return the mean square, weighted by level; it has no unit, 1 is what predicting nothing of ε gives."""
        squares = (output.float() - target.float()).square().flatten(1).mean(dim=1)
        return (squares * self._weights(timesteps, squares)).mean()

    def signal_share(self, timesteps: Tensor) -> Tensor:
        """Return ᾱ of timesteps (B,): how much of x_t is picture, for losses that judge the picture."""
        return self._alphas.to(timesteps.device)[timesteps].float()

    def _shares(self, like: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self._alphas.to(timesteps.device)[timesteps].view(-1, *(1,) * (like.ndim - 1))
        return alphas.sqrt().to(like), (1 - alphas).sqrt().to(like)

    def _weights(self, timesteps: Tensor, like: Tensor) -> Tensor:
        limit = self.settings.snr_limit
        if limit is None:
            return torch.ones_like(like)
        alphas = self._alphas.to(timesteps.device)[timesteps]
        ratio = alphas / (1 - alphas)
        # The weight is on x0; ε and v are that far from it.
        apart = ratio if self.prediction == "eps" else ratio + 1
        return (ratio.clamp(max=limit) / apart.clamp(min=1e-8)).to(like)

"""The one step: what the UNet predicts becomes the restored latent.

Two kinds are published. PiSA-SR and DLoRAL take what is predicted away from the latent, without a schedule. OSEDiff,
S3Diff and HYPIR treat the latent as a noisy one, although no noise was added, and take DDPM's estimate of what is clean
(J. Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS 2020, equation 15).
"""

from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from ...sampling.schedule import NoiseSchedule


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """How a prediction becomes the restored latent.

    Attributes:
        timestep: What the UNet is told, 0 … 999.
        subtracts: Whether the prediction is taken away as it is, x0 = z - eps; else the timestep's level of noise
            counts, x0 = (z - sqrt(1 - a) eps) / sqrt(a).
    """

    timestep: int
    subtracts: bool

    def x0(self, latent: Tensor, eps: Tensor) -> Tensor:
        """Return the restored latent; it is not clipped.

        At timestep 999 `eps` and every error in it are multiplied by 14.6, so both are to be float32.

        Args:
            latent: (T, 4, h, w), scaled.
            eps: Likewise, what the UNet predicts.
        """
        if self.subtracts:
            return latent - eps
        alpha = _schedule().alphas_cumprod[self.timestep].item()
        return (latent - (1 - alpha) ** 0.5 * eps) / alpha**0.5


@lru_cache(maxsize=1)
def _schedule() -> NoiseSchedule:
    return NoiseSchedule.stable_diffusion()

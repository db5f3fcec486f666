"""Where sampling begins: from noise alone, or from the degraded picture under it.

A network that was trained on a schedule whose last step is not pure noise expects a trace of the picture's coarse
brightness there. Starting from the degraded latent gives it one and avoids noisy dark areas: LRE of SeeSR
(arXiv:2311.16518, section 3.4), the start of StableSR, `start_point cond` of DiffBIR.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..errors import SettingsError
from .schedule import NoiseSchedule

MODES = ("noise", "latent", "added_noise")


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """How the first latent is made.

    Attributes:
        mode: "noise": noise alone. "latent": the degraded latent noised to the first sigma. "added_noise": the same,
            noised once more to `added_noise_level` while the sampler still begins at the first sigma, as PASD does;
            leaves a weaker trace of the picture.
        added_noise_level: Timestep of the second noise, 0 … 999; lower adds less. PASD's default is 900.
    """

    mode: Literal["noise", "latent", "added_noise"] = "latent"
    added_noise_level: int = 900

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingsError(f"start mode is {self.mode!r}; use one of {', '.join(MODES)}")
        if not 0 <= self.added_noise_level <= 999:
            raise SettingsError(f"start added_noise_level is {self.added_noise_level}; use a timestep 0 … 999")


def start_latent(
    latent: Tensor,
    noise: Tensor,
    *,
    sigma: float,
    settings: StartSettings,
    schedule: NoiseSchedule,
    second_noise: Tensor | None = None,
) -> Tensor:
    """Make the latent that sampling begins from.

    Args:
        latent: (T, 4, h, w), scaled latent of the degraded clip.
        noise: (T, 4, h, w), standard normal.
        sigma: First sigma of the sampler's schedule.
        settings: How.
        schedule: The network's training schedule; only "added_noise" looks at it.
        second_noise: (T, 4, h, w), standard normal, for "added_noise"; drawn independently of `noise`.

    Returns:
        (T, 4, h, w) in sigma space. "noise" is scaled by √(1 + σ²) and not by σ, so that the network sees unit
        variance.

    Raises:
        SettingsError: Shapes differ, or "added_noise" has no second noise.
    """
    given = [noise] if second_noise is None else [noise, second_noise]
    if any(each.shape != latent.shape for each in given):
        shapes = ", ".join(str(tuple(each.shape)) for each in given)
        raise SettingsError(f"latent is {tuple(latent.shape)} and noise {shapes}; give the same shape")
    to_sigma_space = (1 + sigma * sigma) ** 0.5
    if settings.mode == "noise":
        return noise * to_sigma_space
    noised = latent + sigma * noise
    if settings.mode == "latent":
        return noised
    if second_noise is None:
        raise SettingsError("start mode added_noise needs second_noise; draw it with another seed")
    # Both noisings are diffusers' add_noise, which takes its input for a clean latent: √ᾱ z + √(1 - ᾱ) n.
    level = min(settings.added_noise_level, schedule.steps - 1)
    return schedule.add_noise(noised / to_sigma_space, second_noise, level) * to_sigma_space

"""Spaced DDPM: ancestral sampling on a few of the training timesteps, the sampler of DiffBIR and StableSR.

Posterior mean and variance are those of Ho et al. (arXiv:2006.11239, equations 6 and 7); which timesteps are kept
follows "Improved Denoising Diffusion Probabilistic Models" (Nichol and Dhariwal, arXiv:2102.09672, section 4). In sigma
space, x = x0 + σ ε, one step from σ to σ' < σ becomes

    x' = x0 + (σ'/σ)² (x - x0) + σ' √(1 - (σ'/σ)²) ε,

which :func:`sample_spaced` uses, so that it plugs into any host that works with sigmas. From pure noise, σ = ∞, the
middle term is 0; with the large σ that stands for it, 2 % of the next noise would be the old one.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from ..errors import SettingsError
from .schedule import PURE_NOISE, NoiseSchedule

Denoise = Callable[[Tensor, float], Tensor]
"""(x in sigma space, sigma) to x0."""


def spaced_timesteps(total: int, steps: int) -> tuple[int, ...]:
    """Choose timesteps evenly from 0 … total - 1, both ends included.

    Args:
        total: Training timesteps.
        steps: How many to keep, 1 … total. One step is the last.

    Returns:
        Timesteps, ascending.

    Raises:
        SettingsError: `steps` is out of range.
    """
    if not 1 <= steps <= total:
        raise SettingsError(f"steps is {steps}; with {total} training timesteps use 1 … {total}")
    if steps == 1:
        return (total - 1,)
    # Half to even, and summed up as the original does, so that the same timesteps come out.
    stride = (total - 1) / (steps - 1)
    chosen, place = [], 0.0
    for _ in range(steps):
        chosen.append(round(place))
        place += stride
    return tuple(chosen)


def spaced_sigmas(schedule: NoiseSchedule, steps: int) -> tuple[float, ...]:
    """Return the sigmas of the spaced timesteps as samplers take them.

    Args:
        schedule: The network's training schedule.
        steps: How many denoiser calls.

    Returns:
        `steps` falling sigmas and a final 0.
    """
    chosen = spaced_timesteps(schedule.steps, steps)
    return (*(float(schedule.sigmas[t]) for t in reversed(chosen)), 0.0)


def cfg_schedule(timestep: float, scale: float, total: int = 1000) -> float:
    """Return DiffBIR's guidance scale at a timestep: weak at first, strong at the end.

    1 + s (1 - cos(π ((N - t) / N)⁵)) / 2: about 1 at t = N - 1 and 1 + s, not s, at t = 0. Early steps with strong
    guidance overshoot in colour; the text matters once the layout stands.

    Args:
        timestep: 0 … total - 1.
        scale: s; 1 or less switches guidance off and is returned as it is.
        total: N.

    Returns:
        The scale of this step.
    """
    if scale <= 1:
        return scale
    return 1 + scale * (1 - math.cos(math.pi * ((total - timestep) / total) ** 5)) / 2


def falling_steps(sigmas: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return the noise levels before and after each step of a schedule.

    Args:
        sigmas: The schedule.

    Raises:
        SettingsError: It does not fall.
    """
    levels = [float(sigma) for sigma in sigmas]
    pairs = tuple(pairwise(levels))
    if any(not (0 <= after < before < math.inf) for before, after in pairs):
        raise SettingsError(f"sigmas are {levels}; they must be finite and fall from step to step, to 0 at the least")
    return pairs


def sample_spaced(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise_fn: Callable[[int], Tensor],
    callback: Callable[[int, float, Tensor], None] | None = None,
) -> Tensor:
    """Sample by drawing each next latent from the DDPM posterior.

    Args:
        denoise: Predicts x0 from x in sigma space.
        x: Start, for example from :func:`.start.start_latent`.
        sigmas: Falling; the last is usually 0 (:func:`spaced_sigmas`). Any other schedule works too.
        noise_fn: Gives standard normal noise like `x` for the step of this index.
        callback: Called after each denoiser call with the step, its sigma and x0.

    Returns:
        The latent at the last sigma.

    Raises:
        SettingsError: The sigmas do not fall.
    """
    for step, (before, after) in enumerate(falling_steps(sigmas)):
        x0 = denoise(x, before)
        if callback is not None:
            callback(step, before, x0)
        # The posterior from pure noise holds nothing of the noise, only of x0.
        ratio = (after / before) ** 2 if before < PURE_NOISE else 0.0
        x = x0 + ratio * (x - x0)
        if after > 0:
            x = x + after * math.sqrt(1 - ratio) * noise_fn(step)
    return x

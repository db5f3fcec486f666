"""DiffBIR 2.1's EDM samplers: DPM-Solver++ with two and three predictions, on a schedule that begins in pure noise.

The schedule is DiffBIR's (arXiv:2308.15070, release 2.1): training timesteps evenly from the last one down, a last step
to 0, and a first noise level of 10 000 whatever the network was trained with. There the network gets pure noise, as at
the last step of a schedule of zero terminal SNR (Lin et al., arXiv:2305.08891).

The solvers are k-diffusion's: DPM-Solver++(2M) (Lu et al., arXiv:2211.01095, algorithm 2), and its relative with three
predictions that draws noise on the way. Both integrate over λ = -log σ with x0 taken for a line or parabola in λ
through the last predictions. The published noise is the increments of a Brownian path over the steps; they are
independent, so noise drawn for each step is the same sampler.
"""

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from ..errors import SettingsError
from .schedule import NoiseSchedule, Prediction
from .spaced import Denoise, falling_steps

FIRST_SIGMA = math.sqrt((1 - 1e-8) / 1e-8)
"""σ of the first level, 9999.99995: ᾱ is 1e-8 there in the place of 0, at which σ would be infinite."""


def edm_timesteps(total: int, steps: int) -> tuple[int, ...]:
    """Choose timesteps evenly from the last one down: ⌊(N - 1) (1 - i / S)⌋.

    Args:
        total: N, training timesteps.
        steps: S, how many to keep, 1 … N.

    Returns:
        Timesteps, falling.

    Raises:
        SettingsError: `steps` is out of range.
    """
    if not 1 <= steps <= total:
        raise SettingsError(f"steps is {steps}; with {total} training timesteps use 1 … {total}")
    # By a rounded stride, as the original does, so that the same timesteps come out.
    stride = (total - 1) / steps
    return tuple(int(total - 1 - stride * index) for index in range(steps))


def edm_sigmas(schedule: NoiseSchedule, steps: int, prediction: Prediction = "v") -> tuple[float, ...]:
    """Return the noise levels of the EDM samplers.

    Args:
        schedule: The network's training schedule.
        steps: How many denoiser calls.
        prediction: What the network predicts. The first level is 10 000 with "v", for which the published samplers are
            meant. With "eps" it stays that of the last timestep: x0 = x - σ ε of a network that was trained up to
            σ 14.6 would be its error times 10 000.

    Returns:
        `steps` falling sigmas and a final 0.
    """
    sigmas = [float(schedule.sigmas[t]) for t in edm_timesteps(schedule.steps, steps)]
    if prediction == "v":
        sigmas[0] = FIRST_SIGMA
    return (*sigmas, 0.0)


def sample_edm_2m(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise_fn: Callable[[int], Tensor],  # noqa: ARG001 - every sampler of the package is called alike
    callback: Callable[[int, float, Tensor], None] | None = None,
) -> Tensor:
    """Sample with DPM-Solver++(2M), which draws no noise.

    Args:
        denoise: Predicts x0 from x in sigma space.
        x: Start, for example from :func:`.start.start_latent`.
        sigmas: Falling; the last is usually 0 (:func:`edm_sigmas`). Any other schedule works too.
        noise_fn: Not called.
        callback: Called after each denoiser call with the step, its sigma and x0.

    Returns:
        The latent at the last sigma.

    Raises:
        SettingsError: The sigmas do not fall.
    """
    last: Tensor | None = None
    h_last = 0.0
    for step, (before, after) in enumerate(falling_steps(sigmas)):
        x0 = denoise(x, before)
        if callback is not None:
            callback(step, before, x0)
        if after == 0:
            return x0
        h = math.log(before / after)
        # x0 in the middle of the step, on the line through the last two predictions.
        ahead = x0 if last is None else x0 + (h / (2 * h_last)) * (x0 - last)
        x = (after / before) * x - math.expm1(-h) * ahead
        last, h_last = x0, h
    return x


def sample_edm_3m_sde(
    denoise: Denoise,
    x: Tensor,
    sigmas: Sequence[float],
    noise_fn: Callable[[int], Tensor],
    callback: Callable[[int, float, Tensor], None] | None = None,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Sample with DPM-Solver++(3M) as an SDE, DiffBIR 2.1's default.

    Args:
        denoise: Predicts x0 from x in sigma space.
        x: Start, for example from :func:`.start.start_latent`.
        sigmas: Falling; the last is usually 0 (:func:`edm_sigmas`). Any other schedule works too.
        noise_fn: Gives standard normal noise like `x` for the step of this index.
        callback: Called after each denoiser call with the step, its sigma and x0.
        eta: Share of the noise that is replaced by new; 0 draws none, 1 is the SDE that reverses the noising.
        s_noise: Factor on the new noise; 1 keeps the level of noise that the schedule says.

    Returns:
        The latent at the last sigma.

    Raises:
        SettingsError: The sigmas do not fall, or a number is negative.
    """
    if not (0 <= eta < math.inf and 0 <= s_noise < math.inf):
        raise SettingsError(f"eta is {eta} and s_noise {s_noise}; use 0 or more")
    # The last predictions, newest first, each with the length in λ of the step that it began.
    past: list[tuple[Tensor, float]] = []
    for step, (before, after) in enumerate(falling_steps(sigmas)):
        x0 = denoise(x, before)
        if callback is not None:
            callback(step, before, x0)
        if after == 0:
            return x0
        h = math.log(before / after)
        decay = (1 + eta) * h
        x = math.exp(-decay) * x - math.expm1(-decay) * x0 + _bend(x0, past, h, decay)
        if eta > 0:
            x = x + (after * math.sqrt(-math.expm1(-2 * eta * h)) * s_noise) * noise_fn(step)
        past = [(x0, h), *past[:1]]
    return x


def _bend(x0: Tensor, past: Sequence[tuple[Tensor, float]], h: float, decay: float) -> Tensor | float:
    """Return what a step gains from x0 not being constant: the terms of its slope and curvature in λ.

    The curvature counts half of what the integral of a parabola gives, here as in the published solver.
    """
    if not past:
        return 0.0
    # Integrals of the exponential decay over the step against a line and a parabola.
    line = math.expm1(-decay) / decay + 1
    parabola = line / decay - 0.5
    (first, h_first), *older = past
    slope = (x0 - first) * (h / h_first)
    if not older:
        return line * slope
    second, h_second = older[0]
    before = (first - second) * (h / h_second)
    ratio, sum_of_ratios = h_first / h, (h_first + h_second) / h
    curvature = (slope - before) / sum_of_ratios
    return line * (slope + curvature * ratio) - parabola * curvature

"""What a transform may know about one call of the denoiser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class StepState:
    """Where in the schedule a denoiser call is.

    Attributes:
        sigma: Noise level in k-diffusion's convention, x = x0 + sigma · eps.
        step: 0-based index of the step in the schedule. Samplers of higher order call several times in one step.
        steps: How many steps the schedule has.
    """

    sigma: float
    step: int
    steps: int


X0Transform = Callable[[Tensor, Tensor, StepState], Tensor]
"""(x0, noisy x, state) to x0; all (T, 4, h, w), scaled latents of a whole clip in sigma space."""


def step_state(sigma: float, sigmas: Sequence[float]) -> StepState:
    """Find where in a schedule a noise level is.

    Args:
        sigma: Noise level of a denoiser call.
        sigmas: The schedule, falling, with the final 0. Levels between two entries (samplers of higher order) belong
            to the step that starts above them.
    """
    steps = max(1, len(sigmas) - 1)
    # Schedules and calls pass through float32: a level within rounding of an entry is that entry.
    reached = [index for index, level in enumerate(sigmas[:steps]) if level >= sigma * (1 - 1e-4)]
    return StepState(sigma=sigma, step=reached[-1] if reached else 0, steps=steps)

"""What a transform may know about one call of the denoiser."""

from collections.abc import Callable
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

"""Classifier-free guidance with the two corrections that restoration needs.

Guidance (Ho and Salimans, arXiv:2207.12598) extrapolates away from the unconditional prediction and so raises contrast
and saturation. *Rescaling* (Lin et al., arXiv:2305.08891, equations 15 and 16) brings the spread of each frame back to
that of the conditional prediction. A *schedule* (DiffBIR) keeps guidance weak until the layout stands. Predictions are
x0; combining them as x0 or as the network's output is the same, because one is linear in the other.
"""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..errors import SettingsError
from .schedule import PREDICTIONS, NoiseSchedule, Prediction, from_x0, to_x0
from .spaced import cfg_schedule
from .state import StepState

SCHEDULES = ("constant", "diffbir")


@dataclass(frozen=True, kw_only=True)
class CfgSettings:
    """How strongly the text guides.

    Attributes:
        scale: 1 is the conditional prediction alone.
        rescale: φ, share of the rescaled result, 0 (off) … 1; the paper recommends 0.7.
        schedule: "constant", or "diffbir": from about 1 at the first step to 1 + scale at the last.
    """

    scale: float = 4.0
    rescale: float = 0.0
    schedule: Literal["constant", "diffbir"] = "constant"

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise SettingsError(f"cfg scale is {self.scale}; use 0 or more")
        if not 0 <= self.rescale <= 1:
            raise SettingsError(f"cfg rescale is {self.rescale}; use 0 (off) … 1")
        if self.schedule not in SCHEDULES:
            raise SettingsError(f"cfg schedule is {self.schedule!r}; use one of {', '.join(SCHEDULES)}")


def guide(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Return uncond + scale · (cond - uncond)."""
    return uncond + scale * (cond - uncond)


def rescale_guidance(guided: Tensor, cond: Tensor, phi: float) -> Tensor:
    """Bring the spread of a guided prediction back to that of the conditional one.

    φ · guided · std(cond) / std(guided) + (1 - φ) · guided, with standard deviations over channels, rows and columns of
    each frame.

    Args:
        guided: (T, C, h, w), the network's output after guidance (not x0: see :func:`rescale_x0`).
        cond: (T, C, h, w), the conditional output.
        phi: 0 … 1.

    Returns:
        (T, C, h, w).
    """
    axes = (1, 2, 3)
    spread = guided.float().std(axes, keepdim=True).clamp(min=1e-8)
    factor = cond.float().std(axes, keepdim=True) / spread
    return guided * (phi * factor + (1 - phi)).to(guided.dtype)


def rescale_x0(guided: Tensor, cond: Tensor, x: Tensor, sigma: float, phi: float, prediction: Prediction) -> Tensor:
    """Apply :func:`rescale_guidance` to predictions given as x0.

    The equations are about what the network puts out, so x0 is turned into that and back.

    Args:
        guided: (T, C, h, w), x0 after guidance.
        cond: (T, C, h, w), conditional x0.
        x: (T, C, h, w), noisy latent in sigma space.
        sigma: Its noise level, above 0.
        phi: 0 … 1.
        prediction: What to match the spread of: "v", as in the paper, also suits networks that predict eps.

    Returns:
        (T, C, h, w), x0.
    """
    outputs = [from_x0(x, x0, sigma, prediction) for x0 in (guided, cond)]
    return to_x0(x, rescale_guidance(outputs[0], outputs[1], phi), sigma, prediction)


class ClassifierFreeGuidance:
    """Joins conditional and unconditional x0 of a clip."""

    def __init__(self, settings: CfgSettings, schedule: NoiseSchedule, prediction: Prediction = "v") -> None:
        """Prepare the guidance.

        Args:
            settings: How.
            schedule: The network's training schedule, which places sigmas on DiffBIR's curve.
            prediction: Space of the rescaling; see :func:`rescale_x0`.

        Raises:
            SettingsError: `prediction` is unknown.
        """
        if prediction not in PREDICTIONS:
            raise SettingsError(f"prediction is {prediction!r}; use one of {', '.join(PREDICTIONS)}")
        self._settings, self._schedule, self._prediction = settings, schedule, prediction

    def scale(self, sigma: float) -> float:
        """Return the scale at a noise level."""
        if self._settings.schedule == "constant":
            return self._settings.scale
        return cfg_schedule(self._schedule.timestep(sigma), self._settings.scale, self._schedule.steps)

    def __call__(self, cond: Tensor, uncond: Tensor, x: Tensor, state: StepState) -> Tensor:
        """Return the guided x0 (T, 4, h, w) from conditional and unconditional x0 and the noisy x."""
        guided = guide(cond, uncond, self.scale(state.sigma))
        if self._settings.rescale == 0:
            return guided
        return rescale_x0(guided, cond, x, state.sigma, self._settings.rescale, self._prediction)

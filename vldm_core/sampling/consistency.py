"""Data consistency: what was not damaged stays what it was.

Outside the damage the film itself is the best evidence, so in every step the predicted clean latent is pulled to the
latent of the repaired film there, x0 ← x0 + w · (1 - m) · (reference - x0), and only the damage m is left to the prior.
This is the replacement step of diffusion inpainting (RePaint, arXiv:2201.09865, equation 8), done on x0, where it needs
no noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError
from .state import StepState


@dataclass(frozen=True, kw_only=True)
class ConsistencySettings:
    """How strictly the undamaged picture is kept.

    Attributes:
        strength: Share of the difference that is taken away in each step, 0 (off) … 1 (the reference itself).
        end: Share of the schedule after which the prior is left alone, 0 … 1. Below 1 it may sharpen the undamaged
            picture too; at 1 with strength 1 the undamaged latent is the reference.
        grow: Latent pixels by which the damage is widened, because a latent pixel describes more of the picture than
            its own 8 × 8 pixels.
    """

    strength: float = 1.0
    end: float = 0.7
    grow: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise SettingsError(f"consistency strength is {self.strength}; use 0 (off) … 1")
        if not 0 <= self.end <= 1:
            raise SettingsError(f"consistency end is {self.end}; use a share of the schedule, 0 … 1")
        if self.grow < 0:
            raise SettingsError(f"consistency grow is {self.grow}; use 0 or more latent pixels")


def latent_mask(masks: Tensor, height: int, width: int, grow: int = 1) -> Tensor:
    """Bring damage masks to latent size without losing any damage.

    A latent pixel is damaged as much as the worst of the picture pixels it stands for.

    Args:
        masks: (T, H, W) in [0, 1], 1 = damaged.
        height: Latent rows.
        width: Latent columns.
        grow: Latent pixels by which damage is widened.

    Returns:
        (T, height, width) float32 in [0, 1].

    Raises:
        SettingsError: `masks` has another layout.
    """
    if masks.ndim != 3:
        raise SettingsError(f"masks are {tuple(masks.shape)}; give (T, H, W)")
    small = functional.adaptive_max_pool2d(masks.float()[:, None], (height, width))
    if grow:
        small = functional.max_pool2d(small, 2 * grow + 1, stride=1, padding=grow)
    return small[:, 0].clamp(0, 1)


def keep_undamaged(x0: Tensor, reference: Tensor, mask: Tensor, weight: float) -> Tensor:
    """Pull x0 to the reference where nothing is damaged.

    Args:
        x0: (T, C, h, w).
        reference: (T, C, h, w).
        mask: (T, h, w), 1 = damaged.
        weight: 0 … 1.

    Returns:
        (T, C, h, w): unchanged, bit for bit, where the mask is 1.
    """
    pull = (weight * (1 - mask))[:, None]
    return torch.where(pull > 0, torch.lerp(x0, reference, pull.to(x0)), x0)


class DataConsistency:
    """The same as a transform of x0."""

    def __init__(self, settings: ConsistencySettings, *, reference: Tensor, masks: Tensor) -> None:
        """Prepare the transform of one clip.

        Args:
            settings: How.
            reference: (T, 4, h, w), scaled latent of the repaired film.
            masks: (T, H, W), picture size, 1 = damaged.

        Raises:
            SettingsError: The number of frames differs.
        """
        if len(masks) != len(reference):
            raise SettingsError(f"there are {len(masks)} masks for {len(reference)} reference frames; give as many")
        self._settings, self._reference = settings, reference
        self._mask = latent_mask(masks, reference.shape[-2], reference.shape[-1], settings.grow)

    def __call__(self, x0: Tensor, x: Tensor, state: StepState) -> Tensor:
        """Correct x0 (T, 4, h, w); the noisy x is not looked at."""
        if self._settings.strength == 0 or state.step >= self._settings.end * state.steps:
            return x0
        if x0.shape != self._reference.shape:
            raise SettingsError(
                f"the reference is {tuple(self._reference.shape)} and the clip {tuple(x0.shape)}; give the same shape"
            )
        return keep_undamaged(x0, self._reference.to(x0), self._mask.to(x0.device), self._settings.strength)

"""Restoration guidance: pull the predicted clean latent towards the pre-restored picture while sampling.

DiffBIR (arXiv:2308.15070, section 3.3) corrects x0 in every step by the gradient of its squared distance to the
picture that the first stage made, so that the prior does not drift from what is there. The distance may be weighted by
1 - tanh of the gradient magnitude: flat regions are held, textured ones are left to the prior. The published versions
refuse tiles and were dropped; this one works on the whole clip's x0, after windows and tiles have been put together,
frame by frame.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError
from .schedule import NoiseSchedule
from .state import StepState

Decode = Callable[[Tensor], Tensor]
"""Scaled latents (1, 4, h, w) to frames (1, 3, H, W) in [0, 1], not clamped, with gradient."""

_GREY = (0.2989, 0.5870, 0.1140)
_GAIN = 3000.0
# The published loss is a mean over the frame, so its gradient gets weaker as frames grow. Ours is always that of a
# 512 × 512 picture, for which the published scales were chosen.
_LATENT_SIDE, _PICTURE_SIDE = 64, 512
# Early in the schedule the published rgb step can be many times the latent itself; beyond this root mean square it
# would leave what the decoder knows.
_LARGEST_CHANGE = 0.5


@dataclass(frozen=True, kw_only=True)
class GuidanceSettings:
    """How strongly sampling is held to the pre-restored picture.

    Attributes:
        scale: DiffBIR's s; 0 is off.
        space: Where the distance is measured. "latent" costs nothing; "rgb" decodes every frame with gradient in every
            guided step.
        weighting: "mse": every pixel alike. "edges": less where the picture has texture (DiffBIR's "w_mse").
        sigma_start: Guide only at noise levels up to this.
        sigma_end: Guide only at noise levels from this on.
        start: Guide from this share of the sampler's steps on, 0 … 1.
        end: Guide up to this share of the sampler's steps.
        repeats: Corrections per step.
    """

    scale: float = 0.1
    space: Literal["latent", "rgb"] = "latent"
    weighting: Literal["mse", "edges"] = "edges"
    sigma_start: float = float("inf")
    sigma_end: float = 0.0
    start: float = 0.0
    end: float = 1.0
    repeats: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise SettingsError(f"guidance scale is {self.scale}; use 0 (off) or more")
        if self.space not in ("latent", "rgb"):
            raise SettingsError(f"guidance space is {self.space!r}; use latent or rgb")
        if self.weighting not in ("mse", "edges"):
            raise SettingsError(f"guidance weighting is {self.weighting!r}; use mse or edges")
        if not 0 <= self.sigma_end <= self.sigma_start:
            raise SettingsError(
                f"guidance runs from sigma {self.sigma_start} to {self.sigma_end}; use sigma_start ≥ sigma_end ≥ 0"
            )
        if not 0 <= self.start <= self.end <= 1:
            raise SettingsError(f"guidance runs from {self.start} to {self.end} of the steps; use 0 ≤ start ≤ end ≤ 1")
        if self.repeats < 1:
            raise SettingsError(f"guidance repeats is {self.repeats}; use 1 or more")


def edge_weight(target: Tensor) -> Tensor:
    """Weigh pixels by how flat their surroundings are.

    Sobel magnitude of the grey picture, summed over blocks of 2 × 2, through 1 - tanh.

    Args:
        target: (N, 3, H, W) in [-1, 1].

    Returns:
        (N, 1, H, W) in [0, 1]; 1 = flat. Odd sides are padded with their last line for the blocks.

    Raises:
        SettingsError: `target` is not RGB.
    """
    if target.ndim != 4 or target.shape[1] != 3:
        raise SettingsError(f"the edge weight needs RGB pictures (N, 3, H, W); got {tuple(target.shape)}")
    height, width = target.shape[-2:]
    grey = (target.float() + 1) / 2
    grey = (grey * torch.tensor(_GREY, device=grey.device)[:, None, None]).sum(1, keepdim=True)
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=grey.device)
    kernels = torch.stack((across, across.T))[:, None]
    slopes = functional.conv2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)
    magnitude = slopes.square().sum(1, keepdim=True).sqrt()
    magnitude = functional.pad(magnitude, (0, width % 2, 0, height % 2), mode="replicate")
    blocks = functional.avg_pool2d(magnitude, 2) * 4
    weight = 1 - blocks.tanh()
    return weight.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :height, :width]


def guidance_step(
    pred: Tensor, target: Tensor, scale: float, weight: Tensor | None = None, elements: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the published correction of a prediction: -3000 · s times the gradient of the distance.

    Args:
        pred: (N, C, H, W).
        target: (N, C, H, W).
        scale: s.
        weight: (N, 1, H, W), 1 where None.
        elements: Number over which the mean is taken; None is C · H · W, as published.

    Returns:
        The correction (N, C, H, W), and the loss: the sum over the batch of the mean weighted squared difference.
    """
    count = elements or pred[0].numel()
    difference = pred - target
    weighted = difference if weight is None else difference * weight
    return weighted * (-2 * _GAIN * scale / count), (weighted * difference).sum() / count


def push_back(latent: Tensor, decode: Decode, correction: Callable[[Tensor], Tensor]) -> Tensor:
    """Pull a correction of the decoded picture back through the decoder.

    Args:
        latent: (N, 4, h, w).
        decode: Latents to pictures, with gradient.
        correction: Correction of a picture, from the picture.

    Returns:
        (N, 4, h, w): the vector-Jacobian product of the correction.
    """
    # ComfyUI executes nodes in inference mode, where tensors refuse to be differentiated even with gradients enabled.
    with torch.inference_mode(False), torch.enable_grad():
        leaf = latent.detach().clone().requires_grad_(True)
        picture = decode(leaf)
        wanted = correction(picture.detach())
        (gradient,) = torch.autograd.grad(picture, leaf, wanted.clone())
    return gradient.detach()


def posterior_weight(schedule: NoiseSchedule, sigma: float, steps: int) -> float:
    """Return how much x0 counts in the mean of the next latent, if `steps` are spread evenly over the schedule.

    DiffBIR divides its correction by this, √ᾱ' β / (1 - ᾱ), so that the *next latent* moves by the correction. Other
    samplers have no such number; the one of the spaced sampler of equal length stands in.

    Args:
        schedule: The network's training schedule.
        sigma: Noise level now.
        steps: Steps of the sampler.

    Returns:
        Above 0, up to 1, which is the last step.
    """
    alpha = 1 / (1 + sigma * sigma)
    spacing = (schedule.steps - 1) / (steps - 1) if steps > 1 else schedule.steps
    before = schedule.timestep(sigma) - spacing
    kept = 1.0 if before < -0.5 else 1 / (1 + schedule.sigma(before) ** 2)
    return (1 - alpha / kept) * kept**0.5 / (1 - alpha)


class RestorationGuidance:
    """The guidance as a transform of x0.

    In "latent" space a pixel is moved by at most its distance to the target; in "rgb" space the root mean square of a
    frame's change is limited to 0.5, half the spread of latents. Where the published step is smaller, it is the same.
    """

    def __init__(
        self,
        settings: GuidanceSettings,
        schedule: NoiseSchedule,
        *,
        target_latent: Tensor | None = None,
        target_frames: Tensor | None = None,
        decode: Decode | None = None,
    ) -> None:
        """Prepare the guidance of one clip.

        Args:
            settings: How.
            schedule: The network's training schedule.
            target_latent: (T, 4, h, w), scaled latent of the pre-restored clip; needed in "latent" space.
            target_frames: (T, 3, H, W) in [0, 1]; needed in "rgb" space and for the weighting "edges".
            decode: Needed in "rgb" space. Its parameters must not be inference tensors.

        Raises:
            SettingsError: What the settings need is missing.
        """
        needed = {
            "target_latent": settings.space == "latent" and target_latent is None,
            "target_frames": (settings.space == "rgb" or settings.weighting == "edges") and target_frames is None,
            "decode": settings.space == "rgb" and decode is None,
        }
        missing = [name for name, absent in needed.items() if absent]
        if missing and settings.scale > 0:
            raise SettingsError(
                f"guidance in {settings.space} space weighted by {settings.weighting} needs {' and '.join(missing)}"
            )
        self._settings, self._schedule = settings, schedule
        self._latent, self._frames, self._decode = target_latent, target_frames, decode

    def __call__(self, x0: Tensor, x: Tensor, state: StepState) -> Tensor:
        """Correct x0 (T, 4, h, w); the noisy x is not looked at."""
        how = self._settings
        if how.scale == 0 or not how.sigma_end <= state.sigma <= how.sigma_start:
            return x0
        if not how.start * state.steps <= state.step < how.end * state.steps:
            return x0
        target = self._frames if how.space == "rgb" else self._latent
        if target is not None and len(target) != len(x0):
            raise SettingsError(f"the guidance target has {len(target)} frames and the clip {len(x0)}; give as many")
        divisor = posterior_weight(self._schedule, state.sigma, state.steps)
        correct = self._correct_rgb if how.space == "rgb" else self._correct_latent
        return torch.cat([correct(x0[t : t + 1].float(), t, divisor) for t in range(len(x0))]).to(x0.dtype)

    def _correct_latent(self, x0: Tensor, t: int, divisor: float) -> Tensor:
        assert self._latent is not None
        target = self._latent[t : t + 1].to(x0)
        weight = self._weight(t, x0)
        if weight is not None:
            weight = functional.adaptive_avg_pool2d(weight, (x0.shape[-2], x0.shape[-1]))
        elements = x0.shape[1] * _LATENT_SIDE**2
        for _ in range(self._settings.repeats):
            change, _loss = guidance_step(x0, target, self._settings.scale, weight, elements)
            away = target - x0
            # Same sign as `away`: a step of more than the whole distance would swing to the other side.
            x0 = x0 + torch.where((change / divisor).abs() < away.abs(), change / divisor, away)
        return x0

    def _correct_rgb(self, x0: Tensor, t: int, divisor: float) -> Tensor:
        assert self._frames is not None and self._decode is not None
        target = self._frames[t : t + 1].to(x0) * 2 - 1
        weight = self._weight(t, x0)
        decode, scale = self._decode, self._settings.scale
        elements = 3 * _PICTURE_SIDE**2

        def picture(latent: Tensor) -> Tensor:
            return decode(latent) * 2 - 1

        def correction(found: Tensor) -> Tensor:
            return guidance_step(found, target.to(found), scale, weight, elements)[0]

        for _ in range(self._settings.repeats):
            change = push_back(x0, picture, correction).to(x0) / divisor
            size = change.square().mean().sqrt()
            x0 = x0 + change * (_LARGEST_CHANGE / size.clamp(min=_LARGEST_CHANGE))
        return x0

    def _weight(self, t: int, like: Tensor) -> Tensor | None:
        if self._settings.weighting == "mse" or self._frames is None:
            return None
        return edge_weight(self._frames[t : t + 1].to(like) * 2 - 1)

"""diffusers' schedulers driven by a denoiser that gives x0 in sigma space.

A `ClipDenoiser` joins windows, guidance and transforms in x0. diffusers' schedulers want the network's raw output
instead, and a latent in a scaling of their own. A `DrivenScheduler` stands between the two: per step it brings the
latent to x = x0 + σ ε, asks for x0, and turns x0 back into the output that the scheduler expects. With a denoiser that
changes nothing the result is that of diffusers' own loop.

Two conventions are about. Euler, Heun and LMS keep the latent as x; DDIM, DDPM, DPM-Solver and UniPC keep it variance
preserving, x / √(1 + σ²). diffusers is not imported: schedulers are told by the name of their class.
"""

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import SettingsError
from ..sampling.schedule import FIRST_BETA, LAST_BETA, TRAINING_STEPS, NoiseSchedule, Prediction, from_x0

Denoise = Callable[[Tensor, float], Tensor]
"""(x in sigma space, sigma) to x0."""

SIGMA_SPACE = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
)
PRESERVING = ("DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler")
SCHEDULERS = (*SIGMA_SPACE, *PRESERVING)
"""Classes that are tested against diffusers' own loop."""

_PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v"}
# Zero terminal SNR means an infinite sigma; this finite one is what `NoiseSchedule` puts in its place.
_LARGEST_SIGMA = 4518.76


class DrivenScheduler:
    """One schedule of a diffusers scheduler, ready to be driven. The scheduler handed in is not changed.

    Args:
        scheduler: One of `SCHEDULERS`, configured.
        steps: Steps of the whole schedule.
        strength: Share of the schedule that is run, from its end, 0 … 1: ⌊steps · strength⌋ steps, as in diffusers'
            image-to-image pipelines.

    Attributes:
        prediction: What the scheduler takes the network to predict.
        schedule: The training schedule.
        whole: Steps of the whole schedule.
        steps: Steps that are run.
        sigmas: Falling, one per step, and the level that is reached at the end; empty without steps.

    Raises:
        SettingsError: The class is not one of `SCHEDULERS`, its configuration is one that Stable Diffusion has no use
            for, or a number is out of range.
    """

    def __init__(self, scheduler: Any, *, steps: int, strength: float = 1.0) -> None:
        check_scheduler(scheduler)
        if steps < 1 or not 0 <= strength <= 1:
            raise SettingsError(f"steps {steps} and strength {strength}: use 1 step or more and 0 … 1")
        self._scheduler = copy.deepcopy(scheduler)
        self._preserving = type(scheduler).__name__ in PRESERVING
        self.whole = steps
        self.steps = min(int(steps * strength + 1e-9), steps)
        self._skipped = (steps - self.steps) * int(getattr(scheduler, "order", 1))
        self.prediction: Prediction = _PREDICTIONS[scheduler.config.prediction_type]
        self.schedule = schedule_of(scheduler)
        self._prepare("cpu")
        self._levels = self._all_levels()[self._skipped :]
        self._timesteps = [float(t) for t in self._scheduler.timesteps[self._skipped :]]
        # Samplers of second order visit levels twice; the schedule has them once.
        self.sigmas = tuple(dict.fromkeys(self._levels)) if self._timesteps else ()

    def timestep(self, sigma: float) -> float:
        """Return the timestep that the scheduler has for one of its sigmas."""
        distances = [abs(level - sigma) for level in self._levels[: len(self._timesteps)]]
        return self._timesteps[distances.index(min(distances))]

    def sample(
        self,
        denoise: Denoise,
        x: Tensor,
        *,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        step_noise: Callable[[int], Tensor] | None = None,
        callback: Callable[[int, float, Tensor], None] | None = None,
    ) -> Tensor:
        """Run the schedule.

        Args:
            denoise: Predicts x0 from x in sigma space.
            x: (T, 4, h, w), where to begin, in sigma space at the first of `sigmas`.
            generator: For schedulers that draw noise on the way; one for the clip or one per frame.
            step_noise: Standard normal noise like `x` for a step, in place of what the generator draws. Only
                DPM-Solver as an SDE takes it; Euler ancestral and DDPM draw their own.
            callback: Called after each denoiser call with its number, its sigma and x0.

        Returns:
            (T, 4, h, w), the clean latent; `x` itself where there are no steps.
        """
        if not self._timesteps:
            return x
        scheduler = self._prepare(x.device)
        accepted = inspect.signature(scheduler.step).parameters
        options: dict[str, Any] = {"return_dict": False}
        if "generator" in accepted and generator is not None:
            options["generator"] = generator if isinstance(generator, torch.Generator) else list(generator)
        scale = self._scale(self._levels[0])
        sample = x / scale
        for call, time in enumerate(scheduler.timesteps[self._skipped :]):
            sigma = self._levels[call]
            # Some schedulers only count their steps when asked to scale; the result is not needed.
            scheduler.scale_model_input(sample, time)
            x = sample * self._scale(sigma)
            x0 = denoise(x, sigma)
            if callback is not None:
                callback(call, sigma, x0)
            output = from_x0(x, x0, sigma, self.prediction)
            if step_noise is not None and str(scheduler.config.get("algorithm_type")).startswith("sde"):
                options["variance_noise"] = step_noise(call).to(x)
            sample = scheduler.step(output, time, sample, **options)[0]
        return sample

    @property
    def calls(self) -> int:
        """How often the denoiser is called."""
        return len(self._timesteps)

    def _prepare(self, device: torch.device | str) -> Any:
        scheduler = self._scheduler
        try:
            scheduler.set_timesteps(self.whole, device=device)
        except ValueError as error:
            raise SettingsError(f"{type(scheduler).__name__} cannot take {self.whole} steps: {error}") from error
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(self._skipped)
        return scheduler

    def _all_levels(self) -> list[float]:
        scheduler = self._scheduler
        if hasattr(scheduler, "sigmas"):
            return [float(sigma) for sigma in scheduler.sigmas]
        kept = [float(scheduler.alphas_cumprod[int(t)]) for t in scheduler.timesteps]
        return [*(_sigma(alpha) for alpha in kept), 0.0]

    def _scale(self, sigma: float) -> float:
        """Return what brings the scheduler's latent to sigma space."""
        return math.sqrt(1 + sigma * sigma) if self._preserving else 1.0


def check_scheduler(scheduler: Any) -> None:
    """Check that a scheduler can be driven.

    Raises:
        SettingsError: It cannot.
    """
    name = type(scheduler).__name__
    if name not in SCHEDULERS:
        raise SettingsError(f"{name} is not supported; use one of {', '.join(SCHEDULERS)}")
    prediction = scheduler.config.prediction_type
    if prediction not in _PREDICTIONS:
        raise SettingsError(f"{name} is set to {prediction!r}; Stable Diffusion predicts {' or '.join(_PREDICTIONS)}")
    if scheduler.config.get("use_flow_sigmas", False):
        raise SettingsError(f"{name} is set to flow matching, which Stable Diffusion 1.x and 2.x do not know")


def with_linear_betas(scheduler: Any) -> Any:
    """Return a scheduler like another one on `NoiseSchedule.stable_diffusion("linear")`, as motion modules want it.

    Raises:
        SettingsError: Its class cannot be driven.
    """
    check_scheduler(scheduler)
    changed: dict[str, Any] = {
        "beta_schedule": "linear",
        "beta_start": FIRST_BETA,
        "beta_end": LAST_BETA,
        "num_train_timesteps": TRAINING_STEPS,
        "trained_betas": None,
    }
    if "rescale_betas_zero_snr" in scheduler.config:
        changed["rescale_betas_zero_snr"] = False
    return type(scheduler).from_config(scheduler.config, **changed)


def another_scheduler(kind: Any, scheduler: Any) -> Any:
    """Return a scheduler of another class with the noise schedule and the prediction of a scheduler.

    Args:
        kind: One of the classes of `SCHEDULERS`.
        scheduler: Configured; it is not changed.
    """
    # Of pictures: latents go beyond ±1.
    clips = {"clip_sample": False} if "clip_sample" in inspect.signature(kind).parameters else {}
    return kind.from_config(scheduler.config, **clips)


def with_zero_terminal_snr(scheduler: Any) -> Any:
    """Return a scheduler like another one whose last training step is pure noise (arXiv:2305.08891, algorithm 1).

    Raises:
        SettingsError: Its class cannot be driven or does not know it, or the network predicts eps, which says nothing
            about the picture there.
    """
    check_scheduler(scheduler)
    name = type(scheduler).__name__
    if "rescale_betas_zero_snr" not in scheduler.config:
        raise SettingsError(f"{name} has no zero terminal SNR; use EulerDiscreteScheduler or DDIMScheduler")
    if _PREDICTIONS[scheduler.config.prediction_type] != "v":
        raise SettingsError("zero terminal SNR is for models that predict v; this one predicts eps, so leave it out")
    return type(scheduler).from_config(scheduler.config, rescale_betas_zero_snr=True)


def schedule_of(scheduler: Any) -> NoiseSchedule:
    """Return the training schedule of a scheduler."""
    return NoiseSchedule(alphas_cumprod=scheduler.alphas_cumprod.double().cpu())


def _sigma(alpha: float) -> float:
    return min(math.sqrt((1 - alpha) / alpha), _LARGEST_SIGMA) if alpha > 0 else _LARGEST_SIGMA

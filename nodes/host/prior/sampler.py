"""Sampling in the host: schedules, samplers, latents and previews."""

import math
from collections.abc import Callable
from typing import Any

import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....vldm_core.errors import SettingsError
from ....vldm_core.sampling.guidance import Decode
from ....vldm_core.sampling.samplers import OWN_SAMPLERS, OWN_SCHEDULES, Sampling
from ....vldm_core.sampling.schedule import NoiseSchedule, Prediction

SAMPLERS = (*comfy.samplers.SAMPLER_NAMES, *OWN_SAMPLERS)
SCHEDULERS = (*comfy.samplers.SCHEDULER_NAMES, *OWN_SCHEDULES)


def schedule_of(model: ModelPatcher) -> NoiseSchedule:
    """Return the training schedule of a MODEL.

    Raises:
        SettingsError: The MODEL has no discrete schedule, as flow models.
    """
    sigmas = getattr(model.get_model_object("model_sampling"), "sigmas", None)
    if sigmas is None or sigmas.ndim != 1 or not bool((sigmas.diff() > 0).all()) or float(sigmas[-1]) <= 1:
        raise SettingsError("this MODEL has no Stable Diffusion noise schedule; use a model of the 1.x or 2.x family")
    return NoiseSchedule(alphas_cumprod=1 / (1 + sigmas.double().cpu().square()))


def prediction_of(model: ModelPatcher) -> Prediction:
    """Return what a MODEL predicts, with what ModelSamplingDiscrete has changed; anything but v counts as eps."""
    sampling = model.get_model_object("model_sampling")
    return "v" if isinstance(sampling, comfy.model_sampling.V_PREDICTION) else "eps"


def sigmas_of(model: ModelPatcher, scheduler: str, steps: int, denoise: float) -> Tensor:
    """Return the falling noise levels of a sampling, with the final 0.

    Args:
        model: The MODEL.
        scheduler: One of `SCHEDULERS`.
        steps: Steps that are taken.
        denoise: 1 starts at the top; less starts lower in a schedule of more steps, as the host's samplers do.
    """
    total = steps if denoise > 0.9999 else int(steps / denoise)
    if scheduler in OWN_SCHEDULES:
        sigmas = torch.tensor(OWN_SCHEDULES[scheduler](schedule_of(model), total, prediction_of(model)))
    else:
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, total)
    return sigmas[-(steps + 1) :].float()


def scaled(model: ModelPatcher, latent: Tensor) -> Tensor:
    """Return a LATENT's samples as the UNet has them."""
    return model.model.process_latent_in(latent)


def clip_latent(model: ModelPatcher, latent: dict[str, Any]) -> Tensor:
    """Return a LATENT's samples (T, 4, h, w).

    Raises:
        SettingsError: It is no clip of this MODEL's latents.
    """
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    if samples.ndim != 4:
        raise SettingsError(f"a latent with one item per frame (T, 4, h, w) is needed, got {tuple(samples.shape)}")
    return samples


def begin_at(model: ModelPatcher, start: Tensor, latent: Tensor, sigmas: Tensor) -> Tensor:
    """Return the noise with which any sampler of the host begins at a given latent.

    The host begins at latent + scale · noise; this solves for the noise.

    Args:
        model: The MODEL.
        start: (T, 4, h, w), where to begin, in sigma space.
        latent: (T, 4, h, w), what the sampler is given, as the UNet has it.
        sigmas: The schedule.
    """
    top = float(model.get_model_object("model_sampling").sigma_max)
    sigma = float(sigmas[0])
    # The host's own test for a schedule that begins at the very top (KSAMPLER.max_denoise).
    at_top = math.isclose(top, sigma, rel_tol=1e-05) or sigma > top
    return (start - latent) / (math.sqrt(1 + sigma**2) if at_top else sigma)


def run_sampler(
    model: ModelPatcher,
    *,
    noise: Tensor,
    latent: Tensor,
    positive: Any,
    negative: Any,
    cfg: float,
    sampler: str,
    sigmas: Tensor,
    seed: int,
    step_noise: Callable[[int], Tensor],
    step_done: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Sample with previews, progress and interrupt, as the host's own sampler nodes do.

    Args:
        model: The MODEL with every patch.
        noise: (T, 4, h, w), see `begin_at`.
        latent: (T, 4, h, w), unscaled.
        positive: The host's CONDITIONING.
        negative: Likewise.
        cfg: Guidance scale.
        sampler: One of `SAMPLERS`.
        sigmas: From `sigmas_of`.
        seed: For samplers that draw noise on the way.
        step_noise: Standard normal noise (T, 4, h, w) for a step, for the samplers of the package.
        step_done: Called after every step with how many there were and how many there are, in the place of previews and
            a progress bar of this sampling's own.

    Returns:
        (T, 4, h, w), unscaled.
    """
    if sampler in OWN_SAMPLERS:
        function = comfy.samplers.KSAMPLER(_own(OWN_SAMPLERS[sampler].sample, step_noise))
    else:
        function = comfy.samplers.sampler_object(sampler)
    total = len(sigmas) - 1
    if step_done is None:
        callback = latent_preview.prepare_callback(model, total)
    else:
        tell = step_done

        def callback(step: int, _x0: Tensor, _x: Tensor, _total: int) -> None:
            tell(step + 1, total)

    samples = comfy.sample.sample_custom(
        model, noise, cfg, function, sigmas, positive, negative, latent, callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED, seed=seed,
    )  # fmt: skip
    return samples.to(model_management.intermediate_device())


def _own(run: Sampling, step_noise: Callable[[int], Tensor]) -> Callable[..., Tensor]:
    def sample(
        model: Any,
        x: Tensor,
        sigmas: Tensor,
        extra_args: dict[str, Any] | None = None,
        callback: Callable[[dict[str, Any]], None] | None = None,
        disable: bool | None = None,  # noqa: ARG001 - the host names it
    ) -> Tensor:
        options = extra_args or {}
        current = x

        def denoise(noisy: Tensor, sigma: float) -> Tensor:
            nonlocal current
            current = noisy
            return model(noisy, noisy.new_full((len(noisy),), sigma), **options)

        def after(step: int, sigma: float, x0: Tensor) -> None:
            if callback is not None:
                callback({"i": step, "sigma": sigma, "denoised": x0, "x": current})

        return run(denoise, x, sigmas.tolist(), lambda step: step_noise(step).to(x), after)

    return sample


def gradient_decoder(vae: Any, model: ModelPatcher) -> Decode:
    """Return a decoder of scaled latents that can be differentiated, for guidance in picture space.

    The host loads weights in inference mode, where autograd refuses them, so the decoder runs on copies that live as
    long as the returned function.

    Args:
        vae: The host's VAE, an image VAE of Stable Diffusion.
        model: The MODEL whose latents are decoded.

    Raises:
        SettingsError: The VAE has no decoder of that family.
    """
    first = vae.first_stage_model
    if not hasattr(first, "decoder") or not hasattr(first, "decode"):
        raise SettingsError(f"{type(first).__name__} cannot be differentiated; use a Stable Diffusion VAE")
    model_management.load_models_gpu([vae.patcher])
    with torch.inference_mode(False):
        weights = {name: value.detach().clone() for name, value in first.state_dict(keep_vars=True).items()}
    unscale = model.get_model_object("latent_format").process_out

    def decode(latent: Tensor) -> Tensor:
        z = unscale(latent).to(device=vae.device, dtype=vae.vae_dtype)
        picture = torch.func.functional_call(_Decoding(first), {f"inner.{k}": v for k, v in weights.items()}, (z,))
        return ((picture.float() + 1) / 2).to(latent)

    return decode


class _Decoding(torch.nn.Module):
    """`decode` of a VAE as a module's forward."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, z: Tensor) -> Tensor:
        return self.inner.decode(z)  # type: ignore[operator, no-any-return]

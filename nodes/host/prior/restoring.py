"""One clip restored through the host's own sampling: start, windows, guidance and noise, as often as FreeInit asks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....vldm_core.progress import Progress
from ....vldm_core.sampling.cfg import ClassifierFreeGuidance
from ....vldm_core.sampling.restoration import Material, Restoration, RestorationSettings
from .attachments import with_cfg, with_shots, with_transform
from .regions import with_regions
from .sampler import begin_at, gradient_decoder, run_sampler, scaled, schedule_of, sigmas_of


@dataclass(frozen=True, kw_only=True)
class HostSampling:
    """How the host samples, in its own words.

    Attributes:
        sampler: One of `SAMPLERS`.
        scheduler: One of `SCHEDULERS`.
        steps: Steps that are taken.
        denoise: How far the clip is noised before, 0 … 1.
        seed: Of all noise.
    """

    sampler: str
    scheduler: str
    steps: int
    denoise: float
    seed: int


def restored_latents(
    model: ModelPatcher,
    positive: Any,
    negative: Any,
    samples: Tensor,
    material: Material,
    how: RestorationSettings,
    sampling: HostSampling,
    *,
    vae: Any = None,
    progress: Progress,
    step_done: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Sample a clip.

    Args:
        model: The MODEL with every patch.
        positive: The host's CONDITIONING.
        negative: Likewise.
        samples: (T, 4, h, w), unscaled, as a LATENT has them.
        material: The same clip as the UNet has it, and what else is known of it.
        how: What makes the sampling a restoration.
        sampling: How the host samples.
        vae: For guidance in picture space.
        progress: Called while the motion is measured.
        step_done: Called after every step of all rounds, with how many there were and how many there are; None has the
            sampling show a bar and previews of its own.

    Returns:
        (T, 4, h, w), unscaled.
    """
    schedule = schedule_of(model)
    in_rgb = how.guidance is not None and how.guidance.space == "rgb" and how.guidance.scale > 0
    decode = gradient_decoder(vae, model) if in_rgb and vae is not None else None
    restoration = Restoration(how, material, schedule, seed=sampling.seed, decode=decode, progress=progress)
    patched = with_regions(with_shots(model, material.shots), how.windows, how.tiles)
    if how.cfg.rescale > 0 or how.cfg.schedule != "constant":
        patched = with_cfg(patched, ClassifierFreeGuidance(how.cfg, schedule))
    for transform in restoration.transforms:
        patched = with_transform(patched, transform)
    sigmas = sigmas_of(model, sampling.scheduler, sampling.steps, sampling.denoise)
    steps = len(sigmas) - 1
    found: Tensor | None = None
    for index in range(how.rounds):
        last = None if found is None else scaled(model, found)
        start = restoration.start(float(sigmas[0]), last, index)
        found = run_sampler(
            patched,
            noise=begin_at(model, start, material.latent, sigmas),
            latent=samples,
            positive=positive,
            negative=negative,
            cfg=how.cfg.scale,
            sampler=sampling.sampler,
            sigmas=sigmas,
            seed=sampling.seed,
            step_noise=restoration.step_noise,
            step_done=None if step_done is None else _of_rounds(step_done, index, how.rounds, steps),
        )
    assert found is not None, "there is a round at least"
    return found


def _of_rounds(
    step_done: Callable[[int, int], None], index: int, rounds: int, steps: int
) -> Callable[[int, int], None]:
    return lambda done, _: step_done(index * steps + done, rounds * steps)

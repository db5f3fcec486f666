"""A clip through a one-step restorer on a `VideoRestorationPipeline`: fitted, restored, decoded, led back.

Only the latents come about otherwise than in the pipeline itself: prompts, decoding, colours, fusion and grain are its.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....decode.wrapping.headless import wrap
from ....decode.wrapping.network import FeatureWrapping
from ....progress import Progress, silent
from ....video.frames import check_frames
from ....video.geometry import FitSettings, fit
from ....video.shots import Shot, covering_shots
from ...coding.prompts import prompt_of_each
from ...finish import FinishSettings, finish_clip
from ...unet import UNetView
from ..networks import shapes_of, unet_layers, vae_layers
from ..system import OneStepSystem
from .checks import check_masks, check_settings, kept_outside
from .headless import DiffusersHost
from .restore import OneStepClip, one_step
from .settings import OneStepSettings

_FIT = FitSettings()


@dataclass(frozen=True, kw_only=True, eq=False)
class OneStepOutput:
    """A restored clip, on the CPU in float32.

    Attributes:
        latents: (T, 4, h, w), scaled, of the fitted size.
        frames: (T, 3, H, W), RGB, [0, 1], of the size that went in.
    """

    latents: Tensor
    frames: Tensor


def check_one_step(pipeline: Any, system: OneStepSystem, settings: OneStepSettings) -> None:
    """Check before any work that a system goes with a model and settings.

    Raises:
        SettingsError: The model predicts something else than noise, a layer is missing or of another size, or the
            settings are not for this system.
    """
    predicted = getattr(pipeline.scheduler.config, "prediction_type", "epsilon")
    check_settings(system, settings, prediction="eps" if predicted == "epsilon" else predicted)
    system.check(shapes_of(unet_layers(UNetView(pipeline.unet))), shapes_of(vae_layers(pipeline.vae)))


@torch.no_grad()
def restore_one_step(
    pipeline: Any,
    system: OneStepSystem,
    frames: Tensor,
    *,
    settings: OneStepSettings | None = None,
    prompt: str | Sequence[str] = "",
    negative_prompt: str | Sequence[str] = "",
    masks: Tensor | None = None,
    shots: Sequence[Shot] | None = None,
    seed: int = 0,
    fitting: FitSettings | None = _FIT,
    finish: FinishSettings | None = None,
    temporal_decoder: nn.Module | None = None,
    feature_wrapping: FeatureWrapping | None = None,
    first_frame: int = 0,
    shot_start: int | None = None,
    progress: Progress = silent,
) -> OneStepOutput:
    """Restore a clip in one step.

    Everything is checked before the first model runs.

    Args:
        pipeline: A `VideoRestorationPipeline` of Stable Diffusion 2.1-base; temporal layers attached to it act.
        system: From :func:`.reading.read_one_step`.
        frames: (T, 3, H, W), RGB, [0, 1].
        settings: How.
        prompt: What the picture shows: one for the clip, or one per shot; empty is the system's own.
        negative_prompt: What it shall not show, likewise.
        masks: (T, H, W), 1 = damaged. With `settings.keep_outside` what is 0 leaves as it came and what is 1 is the
            restored picture; between, both mix.
        shots: Shots that cover the clip; None is one shot.
        seed: Of a sampled encoding.
        fitting: How frames are brought to a size that the model knows.
        finish: Decoding, colour, fusion and grain.
        temporal_decoder: See `VideoRestorationPipeline`.
        feature_wrapping: Likewise.
        first_frame: Number of the first frame in the film.
        shot_start: Film frame at which the first shot begins, where the frames begin inside it.
        progress: Called per frame and pass; may raise to interrupt.

    Returns:
        As many frames as went in.

    Raises:
        SettingsError: An argument does not fit the others or the models.
    """
    settings, finish = settings or OneStepSettings(), finish or FinishSettings()
    frames = frames.detach().float().cpu()
    check_frames(frames)
    parts = covering_shots(shots, len(frames))
    plan = pipeline.fitting_plan(frames, fitting)
    check_one_step(pipeline, system, settings)
    check_masks(frames, masks, settings)
    finish.check(masks=masks is not None)
    wrapped = wrap(pipeline.vae, feature_wrapping, fidelity=finish.fidelity, temporal_decoder=temporal_decoder)
    prompts = _per_shot(prompt, system.format.prompt, parts, "prompt")
    negatives = _per_shot(negative_prompt, system.format.negative, parts, "negative prompt")
    masks = None if masks is None else masks.detach().float().cpu()
    fitted = fit(frames, plan)
    fitted_masks = None if masks is None else fit(masks, plan)
    view, coder = UNetView(pipeline.unet), pipeline.coder
    attachments = tuple(pipeline.attachments.values())
    with ExitStack() as stack:
        stack.callback(pipeline.maybe_free_model_hooks)
        positive, negative = (_texts(pipeline, texts, parts) for texts in (prompts, negatives))
        for attachment in attachments:
            attachment.to(device=coder.device, dtype=pipeline.unet.dtype)
            stack.enter_context(attachment.attached(view))
        host = DiffusersHost(
            pipeline.unet, pipeline.vae, encode=coder.encode, device=coder.device, attachments=attachments
        )
        clip = OneStepClip(
            frames=fitted,
            film=frames,
            shots=parts,
            positive=positive,
            negative=negative,
            first_frame=first_frame,
            shot_start=first_frame if shot_start is None else shot_start,
        )
        latents = one_step(clip, system, host, settings, seed=seed, progress=progress)
        pictures = coder.pictures(
            latents,
            fitted,
            finish.decode,
            parts,
            wrapped=wrapped,
            temporal_decoder=temporal_decoder,
            progress=progress,
        )
    made = finish_clip(
        pictures,
        finish,
        fitted=fitted,
        frames=frames,
        plan=plan,
        masks=fitted_masks,
        shots=parts,
        first_frame=first_frame,
        progress=progress,
    )
    if settings.keep_outside:
        assert masks is not None
        made = kept_outside(made, frames, masks)
    return OneStepOutput(latents=latents, frames=made)


def _texts(pipeline: Any, texts: Sequence[str], shots: Sequence[Shot]) -> list[Tensor]:
    """Text of each shot, (1, L, C); read once for each wording."""
    wordings = list(dict.fromkeys(texts))
    found = {}
    for text in wordings:
        found[text] = pipeline.encode_prompts([text], [text], shots)[0]
    return [found[text] for text in texts]


def _per_shot(texts: str | Sequence[str], own: str, shots: Sequence[Shot], what: str) -> tuple[str, ...]:
    """One text for each shot; the system's own where it is empty."""
    chosen = tuple(text or own for text in prompt_of_each(texts, shots, what))
    return chosen * len(shots) if isinstance(texts, str) else chosen

"""How clips are sampled in the small world: image to image, without anything that is not under test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from vldm_core.decode.colour import ColourSettings, match_colour
from vldm_core.prior.controls.reading import read_control
from vldm_core.prior.controls.use import ControlUse
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from vldm_core.sampling.restoration import RestorationSettings
from vldm_core.training.diffusion.prior import TrainingPrior
from vldm_core.training.fusion.examples import SampleClip

STEPS = 10
"""Passes of the UNet, whatever the strength."""

Noise = Literal["independent", "warped"]


_FUSED_STRENGTH = 0.6


def sample(
    world: TrainingPrior,
    frames: Tensor,
    *,
    strength: float,
    seed: int,
    noise: Noise = "independent",
    controls: Sequence[ControlUse] = (),
    masks: Tensor | None = None,
) -> Tensor:
    """Return the clean, scaled latents of a clip, (T, 4, h, w).

    Args:
        world: With what is attached to its pipeline.
        frames: (T, 3, H, W) in [0, 1]; they are noised and denoised.
        strength: How far they are noised, 0 … 1.
        seed: Of the noise.
        noise: Of every frame for itself, or along the motion.
        controls: See `VideoRestorationPipeline`.
        masks: (T, H, W), 1 = damaged, for the controls alone.
    """
    made = world.pipeline(
        frames,
        settings=RestorationSettings(
            windows=None,
            noise=VideoNoiseSettings(mode=noise),
            cfg=CfgSettings(scale=1.0),
            consistency=None,
            propagation=None,
        ),
        num_inference_steps=round(STEPS / strength),
        strength=strength,
        seed=seed,
        masks=masks,
        controls=controls,
        fitting=None,
        output="latents",
    )
    return made.latents


def pictures(world: TrainingPrior, latents: Tensor, given: Tensor) -> Tensor:
    """Decode latents (T, 4, h, w) and give the pictures the colours of the film that went in, as is usual.

    Args:
        world: The model.
        latents: Scaled.
        given: (T, 3, H, W) in [0, 1].

    Returns:
        (T, 3, H, W) in [0, 1].
    """
    return match_colour(world.pictures(latents), given, ColourSettings())


def restored_with_control(world: TrainingPrior, file: Path) -> tuple[SampleClip, str]:
    """Return how the prior restores clips whose result is fused, and how to say it.

    Args:
        world: The model.
        file: Of a control branch.
    """
    use = ControlUse(system=read_control([file]))

    def restored(frames: Tensor, _masks: Tensor) -> Tensor:
        return sample(world, frames, strength=_FUSED_STRENGTH, seed=0, controls=(use,))

    return restored, f"strength {_FUSED_STRENGTH}, {STEPS} steps, with the control branch"

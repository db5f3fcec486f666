"""PASD begins with the degraded latent noised to the first timestep and then noised again to 900: "added_noise"."""

import pytest
import torch

from vldm_core.prior.controls.pasd.files import PASD, PASD_LIGHT
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from vldm_core.sampling.restoration import RestorationSettings
from vldm_core.sampling.start import StartSettings

from ...tiny_pipeline import tiny_pipeline

DEFAULTS = PASD.defaults
LEVEL, FIRST = 900, 999


class SeenError(Exception):
    """Ends a sampling once it has begun."""


def first_pass(pipeline, frames, start):
    """Return what the UNet is given first, once per frame, and the timestep."""
    seen = {}

    def look(_module, positional, _named):
        seen["x"], seen["time"] = positional[0].clone(), positional[1].clone()
        raise SeenError

    settings = RestorationSettings(
        windows=None,
        noise=VideoNoiseSettings(),
        propagation=None,
        consistency=None,
        cfg=CfgSettings(scale=DEFAULTS.cfg),
        start=start,
    )
    handle = pipeline.unet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with pytest.raises(SeenError):
            pipeline(
                frames,
                settings=settings,
                num_inference_steps=DEFAULTS.steps,
                strength=1.0,
                fitting=None,
                seed=3,
            )
    finally:
        handle.remove()
    return seen["x"][: len(frames)], seen["time"]


def test_the_first_latent_is_that_of_the_original():
    assert PASD_LIGHT.defaults == DEFAULTS
    assert (DEFAULTS.start, StartSettings().added_noise_level) == ("added_noise", LEVEL)
    pipeline = tiny_pipeline("UniPCMultistepScheduler")
    frames = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latent = pipeline.vae.encode(2 * frames - 1).latent_dist.mode() * pipeline.vae.config.scaling_factor
    noise, _ = first_pass(pipeline, frames, StartSettings(mode="noise"))
    found, time = first_pass(pipeline, frames, StartSettings(mode=DEFAULTS.start))
    # The sampler begins at its first timestep all the same.
    assert set(time.tolist()) == {FIRST}

    def noised(clean, extra, level):
        # By the training schedule: UniPC's own `add_noise` knows the levels of its steps alone.
        kept = pipeline.scheduler.alphas_cumprod[level]
        return kept**0.5 * clean + (1 - kept) ** 0.5 * extra

    once = noised(latent, noise, FIRST)
    kept = pipeline.scheduler.alphas_cumprod[LEVEL]
    second = (found - kept**0.5 * once) / (1 - kept) ** 0.5
    # What explains one level is noise of its own, and explains another level.
    assert second.std() == pytest.approx(1, abs=0.15)
    assert abs(torch.corrcoef(torch.stack([second.flatten(), noise.flatten()]))[0, 1]) < 0.2
    less, _ = first_pass(pipeline, frames, StartSettings(mode=DEFAULTS.start, added_noise_level=300))
    torch.testing.assert_close(less, noised(once, second, 300), atol=1e-4, rtol=0)

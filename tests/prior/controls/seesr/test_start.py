"""SeeSR begins with the degraded latent noised to timestep 999 (LRE), which is the start "latent"."""

import pytest
import torch

from vldm_core.prior.controls.seesr.files import SEESR
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from vldm_core.sampling.restoration import RestorationSettings
from vldm_core.sampling.start import StartSettings

from ...tiny_pipeline import tiny_pipeline

DEFAULTS = SEESR.defaults
STEPS, FIRST = DEFAULTS.steps, 999


class SeenError(Exception):
    """Ends a sampling once it has begun."""


def first_pass(pipeline, frames, mode):
    """Return what the UNet is given first."""
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
        start=StartSettings(mode=mode),
    )
    handle = pipeline.unet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with pytest.raises(SeenError):
            pipeline(
                frames,
                settings=settings,
                sampler="spaced_ddpm",
                num_inference_steps=STEPS,
                strength=1.0,
                fitting=None,
                seed=3,
            )
    finally:
        handle.remove()
    return seen["x"], seen["time"]


def test_the_first_latent_is_that_of_the_original():
    pipeline = tiny_pipeline("DDPMScheduler")
    frames = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latent = pipeline.vae.encode(2 * frames - 1).latent_dist.mode() * pipeline.vae.config.scaling_factor
    noise, _ = first_pass(pipeline, frames, "noise")
    found, time = first_pass(pipeline, frames, DEFAULTS.start)
    assert time.tolist() == [FIRST] * 4
    wanted = pipeline.scheduler.add_noise(latent, noise[:2], torch.tensor([FIRST] * 2))
    torch.testing.assert_close(found[:2], wanted, atol=1e-5, rtol=0)
    assert torch.equal(found[2:], found[:2])
    assert (found[:2] - noise[:2]).abs().max() > 0.05

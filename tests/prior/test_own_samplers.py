"""The package's own samplers in the pipeline: with models of every prediction, from pure noise, held to the film."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.prior.pipeline import NoiseScheduleChoice, Sampler, VideoRestorationPipeline
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.edm import FIRST_SIGMA, edm_timesteps
from vldm_core.sampling.guidance import GuidanceSettings
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from vldm_core.sampling.regions.tiles import TileSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.sampling.restoration import Material, Restoration, RestorationSettings
from vldm_core.sampling.samplers import OWN_SAMPLERS, OWN_SCHEDULES
from vldm_core.sampling.schedule import NoiseSchedule
from vldm_core.sampling.start import StartSettings

from .tiny_pipeline import tiny_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

OWN = sorted(OWN_SAMPLERS)
EDM = [name for name in OWN if "edm" in name]
STEPS = 4
PLAIN = RestorationSettings(
    windows=None,
    noise=VideoNoiseSettings(mode="shared"),
    start=StartSettings(mode="noise"),
    cfg=CfgSettings(scale=3.0),
    consistency=None,
    propagation=None,
)
FRAMES = torch.rand(5, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def pipeline() -> VideoRestorationPipeline:
    """Predicts v; its scheduler does not say that it begins in pure noise."""
    return tiny_pipeline(prediction="v_prediction")


def latents(
    pipeline: VideoRestorationPipeline,
    sampler: str,
    settings: RestorationSettings = PLAIN,
    frames: Tensor = FRAMES,
    **more: Any,
) -> Tensor:
    call: dict[str, Any] = {"num_inference_steps": STEPS, "strength": 1.0, "noise_schedule": "zero_snr", **more}
    call |= {"sampler": sampler, "fitting": None, "output": "latents"}
    return pipeline(frames, prompt="a horse", settings=settings, **call).latents


def changed(**fields: Any) -> RestorationSettings:
    return RestorationSettings(**{**vars(PLAIN), **fields})


def test_every_sampler_has_a_name_in_the_pipeline() -> None:
    assert get_args(Sampler) == ("scheduler", "uni_pc", "ddim", "ddpm", *OWN_SAMPLERS)
    assert {sampler.schedule for sampler in OWN_SAMPLERS.values()} == set(OWN_SCHEDULES)


@pytest.mark.parametrize("sampler", OWN)
@pytest.mark.parametrize(
    ("prediction", "schedule"), [("epsilon", "model"), ("v_prediction", "model"), ("v_prediction", "zero_snr")]
)
def test_models_of_every_prediction_are_sampled(sampler: str, prediction: str, schedule: str) -> None:
    model = tiny_pipeline(prediction=prediction)
    found = latents(model, sampler, noise_schedule=schedule)
    # An untrained network that predicts eps is wrong by up to the first sigma, 14.6, and no more.
    assert found.isfinite().all() and 0.1 < found.std() < (30 if prediction == "epsilon" else 3)
    assert torch.equal(found, latents(model, sampler, noise_schedule=schedule))
    assert (found - latents(model, sampler, noise_schedule=schedule, seed=1)).abs().max() > 1e-2
    assert (found - latents(model, "scheduler", noise_schedule=schedule)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("sampler", "name"),
    [("uni_pc", "UniPCMultistepScheduler"), ("ddim", "DDIMScheduler"), ("ddpm", "DDPMScheduler")],
)
def test_samplers_of_diffusers_take_the_place_of_the_models_own(pipeline, sampler: str, name: str) -> None:
    import diffusers

    same = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    same |= {"prediction_type": "v_prediction"}
    clipped = {} if sampler == "uni_pc" else {"clip_sample": False}
    given = VideoRestorationPipeline(
        **(pipeline.components | {"scheduler": getattr(diffusers, name)(**same, **clipped)})
    )
    found = latents(pipeline, sampler, noise_schedule="model")
    assert torch.equal(found, latents(given, "scheduler", noise_schedule="model"))
    assert (found - latents(pipeline, "scheduler", noise_schedule="model")).abs().max() > 1e-2
    assert type(pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    # From pure noise too, for models that were trained so.
    assert latents(pipeline, sampler).isfinite().all()


@pytest.mark.parametrize("sampler", EDM)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_the_network_is_told_the_published_timesteps(pipeline, sampler: str, strength: float) -> None:
    seen: list[tuple[float, Tensor]] = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, given: seen.append((float(given[1][0]), given[0].clone())))
    latents(pipeline, sampler, changed(cfg=CfgSettings(scale=1.0)), num_inference_steps=10, strength=strength)
    hook.remove()
    assert [time for time, _ in seen] == list(edm_timesteps(1000, 10))[-len(seen) :]
    assert len(seen) == 10 * strength
    if strength == 1:
        # At a sigma of ten thousand the network must see the very noise that was drawn, of unit spread.
        material = Material(latent=torch.zeros(5, 4, 8, 12))
        drawn = Restoration(PLAIN, material, NoiseSchedule.stable_diffusion(), seed=0).noise()
        assert torch.allclose(seen[0][1], drawn, atol=1e-6)


@pytest.mark.parametrize("sampler", OWN)
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DDIMScheduler"])
def test_zero_terminal_snr_may_be_said_by_the_scheduler_or_in_the_call(pipeline, sampler: str, name: str) -> None:
    import diffusers

    more = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    kind = getattr(diffusers, name)
    parts = dict(pipeline.components)
    made = []
    schedules: tuple[tuple[bool, NoiseScheduleChoice], ...] = ((True, "model"), (False, "zero_snr"), (False, "model"))
    for told, schedule in schedules:
        parts["scheduler"] = kind(prediction_type="v_prediction", rescale_betas_zero_snr=told, **more)
        made.append(latents(VideoRestorationPipeline(**parts), sampler, noise_schedule=schedule))
    assert torch.equal(made[0], made[1]) and (made[0] - made[2]).abs().max() > 1e-2


def test_zero_terminal_snr_is_refused_where_it_makes_no_sense(pipeline) -> None:
    with pytest.raises(SettingsError, match="predicts eps"):
        latents(tiny_pipeline(), "spaced_ddpm")
    with pytest.raises(SettingsError, match="HeunDiscreteScheduler has no zero terminal SNR"):
        latents(tiny_pipeline("HeunDiscreteScheduler", "v_prediction"), "spaced_ddpm")


def test_only_networks_that_predict_v_begin_at_ten_thousand() -> None:
    eps, v = (NoiseSchedule.stable_diffusion(zero_terminal_snr=zero) for zero in (False, True))
    assert OWN_SCHEDULES["diffbir_edm"](eps, STEPS, "eps")[0] == pytest.approx(14.6146, abs=1e-4)
    assert OWN_SCHEDULES["diffbir_edm"](v, STEPS, "v")[0] == FIRST_SIGMA
    assert OWN_SCHEDULES["spaced_ddpm"](v, STEPS, "v")[0] == pytest.approx(4518.76, abs=0.01)


@pytest.mark.parametrize("sampler", OWN)
def test_guidance_that_grows_over_the_steps_goes_with_them(pipeline, sampler: str) -> None:
    """At the first step the conditional prediction holds, so the negative prompt can change nothing there."""
    grown = changed(cfg=CfgSettings(scale=8.0, schedule="diffbir", rescale=0.7))
    found = latents(pipeline, sampler, grown)
    assert found.isfinite().all()
    assert (found - latents(pipeline, sampler, changed(cfg=CfgSettings(scale=8.0)))).abs().max() > 1e-2
    one: dict[str, Any] = {"num_inference_steps": 1}
    first, alone = (latents(pipeline, sampler, how, **one) for how in (grown, changed(cfg=CfgSettings(scale=1.0))))
    assert torch.allclose(first, alone, atol=1e-4)


@pytest.mark.parametrize("sampler", OWN)
@pytest.mark.parametrize("space", ["latent", "rgb"])
def test_guidance_with_windows_and_tiles_brings_the_clip_nearer_to_the_film(pipeline, sampler: str, space: str) -> None:
    regions: dict[str, Any] = {
        "windows": WindowSettings(length=3, overlap=1),
        "tiles": TileSettings(size=8, overlap=4),
        "cfg": CfgSettings(scale=3.0, schedule="diffbir"),
    }
    scale = pipeline.vae.config.scaling_factor
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        # A film that the decoder can make: that of random weights cannot make any.
        made = pipeline.vae.decode(torch.randn(5, 4, 8, 12, generator=generator) / scale).sample
        frames = ((made + 1) / 2).clamp(0, 1)
        target = pipeline.vae.encode(frames * 2 - 1).latent_dist.mode() * scale
    away = []
    for strength in (0.0, 0.05, 0.5) if space == "latent" else (0.0, 3.0, 30.0):
        how = GuidanceSettings(scale=strength, space=space, weighting="mse")  # type: ignore[arg-type]
        found = latents(pipeline, sampler, changed(**regions, guidance=how), frames)
        if space == "rgb":
            with torch.no_grad():
                found, target = pipeline.vae.decode(found / scale).sample, frames * 2 - 1
        away.append((found - target).square().mean((1, 2, 3)))
    assert (away[1] < away[0]).all() and (away[2] < away[1]).all()
    assert (away[2] < 0.7 * away[0]).all()

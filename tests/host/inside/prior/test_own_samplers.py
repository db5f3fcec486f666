"""The package's own samplers give the same latents in a node and headlessly, from pure noise too."""

from typing import Any

import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, RescaleCFG
from inside.models import tiny_pair
from inside.prior.restoring import FRAMES, LATENT, NEGATIVE, POSITIVE, restore, settings
from inside.sampling import SCALE
from pack.nodes.host.prior.sampler import SAMPLERS, SCHEDULERS, begin_at, prediction_of, sigmas_of
from pack.vldm_core.prior.clip_sampling import ClipSampling
from pack.vldm_core.prior.schedulers import DrivenScheduler
from pack.vldm_core.sampling.cfg import CfgSettings
from pack.vldm_core.sampling.edm import edm_timesteps
from pack.vldm_core.sampling.guidance import GuidanceSettings
from pack.vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.sampling.restoration import Material, Restoration, RestorationSettings
from pack.vldm_core.sampling.samplers import OWN_SAMPLERS, OWN_SCHEDULES
from pack.vldm_core.sampling.start import StartSettings
from pack.vldm_core.video.shots import Shot

STEPS, SEED = 3, 3
SHOTS = (Shot(0, 6), Shot(6, FRAMES))
LOUD = CfgSettings(scale=3.0, schedule="diffbir", rescale=0.7)


def host_model(model: Any, prediction: str, zero_snr: bool) -> Any:
    """Say with the host's own node what the network predicts."""
    return ModelSamplingDiscrete().patch(model, {"v": "v_prediction", "eps": "eps"}[prediction], zero_snr)[0]


def headless(
    twin: Any, sampler: str, prediction: str, zero_snr: bool, start: str, denoise: float, tile: int
) -> torch.Tensor:
    """Sample as the pipeline does, with what the node is told below."""
    import diffusers

    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type={"v": "v_prediction", "eps": "epsilon"}[prediction],
        rescale_betas_zero_snr=zero_snr,
    )
    drive = DrivenScheduler(scheduler, steps=round(STEPS / denoise), strength=denoise)
    how = RestorationSettings(
        windows=WindowSettings(length=4, overlap=2),
        tiles=TileSettings(size=tile // 8, overlap=2) if tile else None,
        noise=VideoNoiseSettings(mode="shared", window=4, stride=4),
        start=StartSettings(mode=start),
        cfg=LOUD,
        guidance=GuidanceSettings(scale=0.1, weighting="mse"),
        propagation=None,
    )
    material = Material(latent=LATENT["samples"] * SCALE, shots=SHOTS)
    with torch.no_grad():
        found = ClipSampling(
            unet=twin,
            restoration=Restoration(how, material, drive.schedule, seed=SEED),
            settings=how,
            drive=drive,
            own=OWN_SAMPLERS[sampler],
            positive=POSITIVE[0][0],
            negative=NEGATIVE[0][0],
            shots=SHOTS,
            seed=SEED,
        ).sample(material.latent)
    return found


@pytest.fixture(scope="module")
def pairs():
    return {prediction: tiny_pair(prediction) for prediction in ("eps", "v")}


@pytest.mark.parametrize("sampler", sorted(OWN_SAMPLERS))
@pytest.mark.parametrize(
    ("prediction", "zero_snr", "start", "denoise", "tile"),
    [
        ("v", True, "noise", 1.0, 64),
        ("v", False, "latent", 1.0, 0),
        ("eps", False, "noise", 1.0, 0),
        ("v", True, "latent", 0.5, 0),
    ],
)
def test_node_and_pipeline_give_the_same_latents(pairs, sampler, prediction, zero_snr, start, denoise, tile):
    model, twin = pairs[prediction]
    found = restore(
        host_model(model, prediction, zero_snr),
        seed=SEED,
        steps=STEPS,
        cfg=LOUD.scale,
        sampler_name=sampler,
        scheduler=OWN_SAMPLERS[sampler].schedule,
        denoise=denoise,
        guidance=0.1,
        window=4,
        overlap=2,
        tile=tile,
        shots=SHOTS,
        settings=settings(start=start, cfg_schedule=LOUD.schedule, cfg_rescale=LOUD.rescale),
    )
    wanted = headless(twin, sampler, prediction, zero_snr, start, denoise, tile)
    assert 0.1 < wanted.std() < 30
    torch.testing.assert_close(found * SCALE, wanted, atol=1e-5 * max(1.0, float(wanted.abs().max())), rtol=0)


@pytest.mark.parametrize("zero_snr", [True, False])
@pytest.mark.parametrize("steps", [1, 10, 37])
def test_the_host_tells_the_network_the_published_timesteps(model, zero_snr, steps):
    patched = host_model(model, "v", zero_snr)
    assert prediction_of(patched) == "v" and prediction_of(model) == "eps"
    sigmas = sigmas_of(patched, "diffbir_edm", steps, 1.0)
    assert float(sigmas[0]) == 10_000 and float(sigmas[-1]) == 0
    told = patched.get_model_object("model_sampling").timestep(sigmas[:-1])
    assert told.tolist() == list(edm_timesteps(1000, steps))


def test_a_network_that_predicts_eps_begins_at_its_own_top(model):
    top = float(model.get_model_object("model_sampling").sigma_max)
    assert float(sigmas_of(model, "diffbir_edm", 10, 1.0)[0]) == pytest.approx(top)


def test_noise_alone_is_what_the_network_sees_at_ten_thousand(model):
    """The host adds the latent to scaled noise; what is solved for it must bring pure noise back."""
    patched = host_model(model, "v", True)
    sigmas = sigmas_of(patched, "diffbir_edm", 10, 1.0)
    latent, noise = LATENT["samples"] * SCALE, torch.randn(LATENT["samples"].shape)
    start = noise * (1 + float(sigmas[0]) ** 2) ** 0.5
    sampling = patched.get_model_object("model_sampling")
    begun = sampling.noise_scaling(sigmas[0], begin_at(patched, start, latent, sigmas), latent, True)
    seen = sampling.calculate_input(sigmas[:1], begun)
    torch.testing.assert_close(seen, noise, atol=2e-6, rtol=0)


def test_the_node_offers_them_after_the_hosts():
    assert SAMPLERS[-3:] == tuple(OWN_SAMPLERS) and SCHEDULERS[-2:] == tuple(OWN_SCHEDULES)
    assert len(set(SAMPLERS)) == len(SAMPLERS) and len(set(SCHEDULERS)) == len(SCHEDULERS)


def test_the_packages_cfg_takes_the_place_of_the_hosts_and_comes_before_other_patches(model):
    how = {"settings": settings(cfg_schedule="diffbir"), "guidance": 0.0}
    wanted = restore(model, **how)
    (rescaled,) = RescaleCFG().patch(model, 1.0)
    assert torch.equal(restore(rescaled, **how), wanted)
    assert not torch.equal(restore(rescaled, guidance=0.0), restore(model, guidance=0.0))
    doubled, seen = model.clone(), []

    def after(arguments: dict[str, Any]) -> torch.Tensor:
        seen.append(arguments["denoised"])
        return 2 * arguments["denoised"]

    doubled.set_model_sampler_post_cfg_function(after)
    assert (restore(doubled, **how) - 2 * seen[-1] / SCALE).abs().max() < 1e-3

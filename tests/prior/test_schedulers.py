"""Driven by x0, every supported scheduler gives what diffusers' own loop gives."""

from typing import Any

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prior.denoiser import ClipDenoiser, DenoiserSettings
from vldm_core.prior.schedulers import SCHEDULERS, DrivenScheduler, with_linear_betas
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.schedule import NoiseSchedule

from .tiny_models import CONTEXT, tiny_unet

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
STEPS = 4


def scheduler(name: str, prediction: str = "epsilon", **more):
    import diffusers

    extra = {"clip_sample": False} if name in ("DDIMScheduler", "DDPMScheduler") else {}
    return getattr(diffusers, name)(**BETAS, prediction_type=prediction, **extra, **more)


@pytest.fixture(scope="module")
def unet():
    model = tiny_unet(block_out_channels=(32, 64))
    with torch.no_grad():
        model.conv_out.weight.mul_(0.5)
    return model


@pytest.fixture(scope="module")
def material():
    generator = torch.Generator().manual_seed(1)
    latent, noise = torch.randn(2, 2, 4, 8, 8, generator=generator)
    positive, negative = torch.randn(2, 1, 5, CONTEXT, generator=generator)
    return latent, noise, positive, negative


def plain(model, diffusers_scheduler, material, scale: float, strength: float, seed: int) -> torch.Tensor:
    """The loop of diffusers' image-to-image pipeline."""
    latent, noise, positive, negative = material
    diffusers_scheduler.set_timesteps(STEPS)
    order = getattr(diffusers_scheduler, "order", 1)
    skipped = (STEPS - int(STEPS * strength)) * order
    times = diffusers_scheduler.timesteps[skipped:]
    if hasattr(diffusers_scheduler, "set_begin_index"):
        diffusers_scheduler.set_begin_index(skipped)
    sample = diffusers_scheduler.add_noise(latent, noise, times[:1])
    generator = torch.Generator().manual_seed(seed)
    takes = "generator" in diffusers_scheduler.step.__code__.co_varnames
    for time in times:
        scaled = diffusers_scheduler.scale_model_input(sample, time)
        output = model(scaled, time, positive.expand(2, -1, -1)).sample
        if scale != 1:
            without = model(scaled, time, negative.expand(2, -1, -1)).sample
            output = without + scale * (output - without)
        options = {"generator": generator} if takes else {}
        sample = diffusers_scheduler.step(output, time, sample, **options).prev_sample
    return sample


def driven(model, diffusers_scheduler, material, scale: float, strength: float, seed: int) -> torch.Tensor:
    latent, noise, positive, negative = material
    drive = DrivenScheduler(diffusers_scheduler, steps=STEPS, strength=strength)
    denoiser = ClipDenoiser(
        model,
        timestep=drive.timestep,
        sigmas=drive.sigmas,
        positive=positive,
        negative=negative,
        settings=DenoiserSettings(prediction=drive.prediction, cfg=CfgSettings(scale=scale)),
        schedule=drive.schedule,
    )
    start = latent + drive.sigmas[0] * noise
    return drive.sample(denoiser, start, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_result_is_that_of_diffusers_own_loop(unet, material, name, prediction, scale) -> None:
    wanted = plain(unet, scheduler(name, prediction), material, scale, 1.0, seed=3)
    found = driven(unet, scheduler(name, prediction), material, scale, 1.0, seed=3)
    assert wanted.std() > 0.1
    assert (found - wanted).abs().max() < 1e-5 * max(1.0, float(wanted.abs().max())), float(
        (found - wanted).abs().max()
    )


@torch.no_grad()
@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_same_holds_for_a_part_of_the_schedule(unet, material, name) -> None:
    wanted = plain(unet, scheduler(name), material, 1.0, 0.5, seed=4)
    found = driven(unet, scheduler(name), material, 1.0, 0.5, seed=4)
    assert (found - wanted).abs().max() < 1e-5 * max(1.0, float(wanted.abs().max()))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True, "timestep_spacing": "trailing"}),
        ("UniPCMultistepScheduler", {"timestep_spacing": "leading", "steps_offset": 1}),
        ("DDIMScheduler", {"set_alpha_to_one": False, "timestep_spacing": "leading", "steps_offset": 1}),
        ("DDIMScheduler", {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}),
    ],
)
def test_options_of_the_schedulers_are_kept(unet, material, name, more) -> None:
    prediction = "v_prediction" if "rescale_betas_zero_snr" in more else "epsilon"
    wanted = plain(unet, scheduler(name, prediction, **more), material, 1.0, 1.0, seed=5)
    found = driven(unet, scheduler(name, prediction, **more), material, 1.0, 1.0, seed=5)
    # With zero terminal SNR the driver begins at a large finite sigma instead of an infinite one.
    allowed = 1e-3 if "rescale_betas_zero_snr" in more else 1e-5
    assert (found - wanted).abs().max() < allowed * max(1.0, float(wanted.abs().max()))


@torch.no_grad()
def test_x0_decides_what_comes_out(material) -> None:
    latent, noise, *_ = material
    for name in SCHEDULERS:
        drive = DrivenScheduler(scheduler(name, timestep_spacing="leading"), steps=8)
        seen: list[tuple[int, float]] = []
        found = drive.sample(
            lambda x, sigma: latent,
            latent + drive.sigmas[0] * noise,
            generator=[torch.Generator().manual_seed(frame) for frame in range(2)],
            callback=lambda step, sigma, x0: seen.append((step, sigma)),  # noqa: B023 - called at once
        )
        assert (found - latent).abs().max() < 0.05, name
        assert [step for step, _ in seen] == list(range(drive.calls))
        assert {sigma for _, sigma in seen} == set(drive.sigmas[:-1])


@torch.no_grad()
def test_noise_of_a_step_may_come_from_outside(material) -> None:
    latent, noise, *_ = material
    drive = DrivenScheduler(scheduler("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"), steps=4)
    calls = []

    def common(step: int) -> torch.Tensor:
        calls.append(step)
        return torch.ones_like(latent)

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return x / (1 + sigma**2)

    made = [drive.sample(denoise, latent + drive.sigmas[0] * noise, step_noise=common) for _ in range(2)]
    assert torch.equal(*made) and calls == [0, 1, 2, 3] * 2


@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_scheduler_takes_linear_betas(name) -> None:
    more: dict[str, Any] = {"rescale_betas_zero_snr": True} if name == "DDIMScheduler" else {}
    given = scheduler(name, timestep_spacing="leading", **more)
    found = with_linear_betas(given)
    wanted = NoiseSchedule.stable_diffusion("linear").alphas_cumprod.float()
    assert torch.allclose(found.alphas_cumprod, wanted, rtol=1e-4, atol=1e-7)
    assert found.config.timestep_spacing == "leading" and given.config.beta_schedule == "scaled_linear"


def test_the_scheduler_handed_in_stays_as_it_is() -> None:
    given = scheduler("EulerDiscreteScheduler")
    before = given.timesteps.clone()
    drive = DrivenScheduler(given, steps=5, strength=0.4)
    assert torch.equal(given.timesteps, before) and given.begin_index is None
    assert len(drive.sigmas) == 3 and drive.sigmas[-1] == 0
    assert DrivenScheduler(given, steps=5, strength=0.1).sigmas == ()


def test_what_is_not_known_is_refused() -> None:
    import diffusers

    with pytest.raises(SettingsError, match="PNDMScheduler is not supported"):
        DrivenScheduler(diffusers.PNDMScheduler(**BETAS), steps=4)
    with pytest.raises(SettingsError, match="'sample'"):
        DrivenScheduler(scheduler("DDIMScheduler", "sample"), steps=4)
    with pytest.raises(SettingsError, match="flow"):
        DrivenScheduler(scheduler("UniPCMultistepScheduler", use_flow_sigmas=True), steps=4)
    with pytest.raises(SettingsError, match="cannot take 2000 steps"):
        DrivenScheduler(scheduler("DDIMScheduler"), steps=2000)
    with pytest.raises(SettingsError, match="strength 2"):
        DrivenScheduler(scheduler("DDIMScheduler"), steps=4, strength=2)

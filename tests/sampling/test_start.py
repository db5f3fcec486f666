"""The start has the statistics the network expects and the trace of the picture asked for."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.sampling.schedule import NoiseSchedule, model_input
from vldm_core.sampling.start import StartSettings, start_latent

from ..oracles import load_oracle

SCHEDULE = NoiseSchedule.stable_diffusion()


def begin(mode: str, latent: torch.Tensor, noise: torch.Tensor, **more: object) -> torch.Tensor:
    level = more.pop("level", 900)
    sigma = more.pop("sigma", SCHEDULE.sigma(999))
    settings = StartSettings(mode=mode, added_noise_level=level)  # type: ignore[arg-type]
    return start_latent(latent, noise, sigma=sigma, settings=settings, schedule=SCHEDULE, **more)  # type: ignore


def test_noise_alone_has_unit_variance_for_the_network() -> None:
    latent, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    sigma = SCHEDULE.sigma(999)
    assert torch.allclose(model_input(begin("noise", latent, noise), sigma), noise, atol=1e-6)


def test_latent_start_is_the_published_one() -> None:
    oracle = load_oracle("diffbir_sampler")
    x0, noise = oracle.input("x0"), oracle.input("noise")
    for timestep in (999, 150):
        sigma = SCHEDULE.sigma(timestep)
        oracle.check(f"q_sample_{timestep}.eps", model_input(begin("latent", x0, noise, sigma=sigma), sigma))
        oracle.check(f"q_sample_{timestep}.eps", SCHEDULE.add_noise(x0, noise, timestep))
    zero = NoiseSchedule.stable_diffusion(zero_terminal_snr=True)
    oracle.check("q_sample_999.zero", zero.add_noise(x0, noise, 999))


def test_added_noise_is_diffusers_add_noise_twice() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latent, first, second = (torch.randn(2, 4, 8, 8) for _ in range(3))
    once = scheduler.add_noise(latent, first, torch.tensor([999]))
    twice = scheduler.add_noise(once, second, torch.tensor([900]))
    found = begin("added_noise", latent, first, second_noise=second)
    assert torch.allclose(model_input(found, SCHEDULE.sigma(999)), twice, atol=1e-5)


def test_added_noise_keeps_unit_variance_and_weakens_the_trace() -> None:
    latent, first, second = (torch.randn(4, 4, 64, 64) for _ in range(3))
    sigma = SCHEDULE.sigma(999)
    plain = model_input(begin("latent", latent, first), sigma)
    traces = []
    for level in (0, 500, 900):
        found = model_input(begin("added_noise", latent, first, second_noise=second, level=level), sigma)
        assert found.var() == pytest.approx(1, abs=0.03)
        traces.append((found * latent).mean().item())
    assert traces == sorted(traces, reverse=True)
    assert abs(traces[0] - (plain * latent).mean().item()) < 0.005
    assert traces[2] < 0.3 * traces[0]


def test_mistakes_are_told() -> None:
    x = torch.zeros(2, 4, 8, 8)
    with pytest.raises(SettingsError, match="second_noise"):
        begin("added_noise", x, x)
    with pytest.raises(SettingsError, match="same shape"):
        begin("latent", x, x[:1])
    with pytest.raises(SettingsError, match="use one of"):
        StartSettings(mode="x")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="use a timestep"):
        StartSettings(added_noise_level=1000)

"""Noise schedule tables, their inverse and the prediction conversions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.sampling.schedule import NoiseSchedule, from_x0, model_input, to_x0

from ..oracles import load_oracle


@pytest.mark.parametrize(("name", "zero"), [("eps", False), ("zero", True)])
def test_published_tables(name: str, zero: bool) -> None:
    oracle = load_oracle("diffbir_sampler")
    schedule = NoiseSchedule.stable_diffusion(zero_terminal_snr=zero)
    oracle.check(f"{name}.alphas_cumprod", schedule.alphas_cumprod)
    oracle.check(f"{name}.betas", schedule.betas)


def test_zero_terminal_snr_is_zero_and_keeps_the_start() -> None:
    plain, zero = NoiseSchedule.stable_diffusion(), NoiseSchedule.stable_diffusion(zero_terminal_snr=True)
    assert zero.alphas_cumprod[-1] == 0
    assert zero.alphas_cumprod[0] == pytest.approx(plain.alphas_cumprod[0].item(), rel=1e-12)
    assert zero.sigmas[-1] == pytest.approx(4518.76, abs=0.01)
    assert plain.sigmas[-1] == pytest.approx(14.6146, abs=1e-4)
    assert plain.sigmas[0] == pytest.approx(0.0292, abs=1e-4)


@given(st.floats(0, 999), st.booleans())
def test_timestep_inverts_sigma(timestep: float, zero: bool) -> None:
    schedule = NoiseSchedule.stable_diffusion(zero_terminal_snr=zero)
    assert schedule.timestep(schedule.sigma(timestep)) == pytest.approx(timestep, abs=1e-6)


def test_sigma_agrees_with_the_table_and_ends_with_it() -> None:
    schedule = NoiseSchedule.stable_diffusion("linear")
    assert schedule.sigma(500) == pytest.approx(schedule.sigmas[500].item())
    assert schedule.timestep(1e9) == 999 and schedule.timestep(0.0) == 0
    assert schedule.sigma(2000) == pytest.approx(schedule.sigmas[-1].item())


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("sigma", [0.03, 1.0, 14.6])
def test_predictions_convert_both_ways(prediction: str, sigma: float) -> None:
    x0, eps = torch.randn(2, 4, 8, 8, dtype=torch.float64), torch.randn(2, 4, 8, 8, dtype=torch.float64)
    x = x0 + sigma * eps
    alpha = 1 / (1 + sigma**2)
    x_t = math.sqrt(alpha) * x0 + math.sqrt(1 - alpha) * eps
    assert torch.allclose(model_input(x, sigma), x_t)
    output = eps if prediction == "eps" else math.sqrt(alpha) * eps - math.sqrt(1 - alpha) * x0
    assert torch.allclose(to_x0(x, output, sigma, prediction), x0)  # type: ignore[arg-type]
    assert torch.allclose(from_x0(x, x0, sigma, prediction), output)  # type: ignore[arg-type]


def test_noising_matches_sigma_space() -> None:
    schedule = NoiseSchedule.stable_diffusion()
    x0, noise = torch.randn(3, 4, 4, 4), torch.randn(3, 4, 4, 4)
    sigma = schedule.sigma(700)
    assert torch.allclose(schedule.add_noise(x0, noise, 700), model_input(x0 + sigma * noise, sigma), atol=1e-6)


def test_mistakes_are_told() -> None:
    x = torch.zeros(1)
    with pytest.raises(SettingsError, match="use scaled_linear"):
        NoiseSchedule.stable_diffusion("cosine")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="use eps or v"):
        to_x0(x, x, 1.0, "x0")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="use eps or v"):
        from_x0(x, x, 1.0, "x0")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="fall"):
        NoiseSchedule(alphas_cumprod=torch.tensor([0.1, 0.5], dtype=torch.float64))
    with pytest.raises(SettingsError, match="float64"):
        NoiseSchedule(alphas_cumprod=torch.tensor([0.5, 0.1]))

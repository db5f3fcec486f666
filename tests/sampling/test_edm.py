"""The EDM samplers are the published ones, and they solve what they say they solve."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.sampling.cfg import CfgSettings, ClassifierFreeGuidance
from vldm_core.sampling.edm import FIRST_SIGMA, edm_sigmas, edm_timesteps, sample_edm_2m, sample_edm_3m_sde
from vldm_core.sampling.schedule import NoiseSchedule, Prediction, model_input, to_x0
from vldm_core.sampling.spaced import Denoise
from vldm_core.sampling.start import StartSettings, start_latent
from vldm_core.sampling.state import step_state

from ..oracles import Oracle, load_oracle

STEPS = 10
SCHEDULES: dict[Prediction, NoiseSchedule] = {
    "eps": NoiseSchedule.stable_diffusion(),
    "v": NoiseSchedule.stable_diffusion(zero_terminal_snr=True),
}
DENOISED = [("eps", 5), ("eps", 9), ("v", 0), ("v", 5), ("v", 9)]
SOLVED = ["dpm++_2m.eta0", "dpm++_3m_sde.eta0", "dpm++_3m_sde.eta1"]
CFG_SCHEDULES = {"": "constant", ".rescale_cfg": "diffbir"}


def oracle() -> Oracle:
    return load_oracle("diffbir_edm_sampler")


def denoiser(prediction: Prediction, cfg: str) -> Denoise:
    """Return the oracle's network as x0 of a guided clip."""
    schedule, sigmas = SCHEDULES[prediction], edm_sigmas(SCHEDULES[prediction], STEPS)
    settings = CfgSettings(scale=oracle().about["config"]["cfg_scale"], schedule=cfg)  # type: ignore[arg-type]
    guidance = ClassifierFreeGuidance(settings, schedule)
    texts = [oracle().input("cond_c"), oracle().input("uncond_c")]

    def denoise(x: Tensor, sigma: float) -> Tensor:
        t = round(schedule.timestep(sigma))
        outputs = [0.8 * model_input(x, sigma).tanh() + text * t / 1000 for text in texts]
        cond, uncond = (to_x0(x, output, sigma, prediction) for output in outputs)
        return guidance(cond, uncond, x, step_state(sigma, sigmas))

    return denoise


def begin(sigma: float) -> Tensor:
    noise = oracle().input("x_T")
    settings = StartSettings(mode="noise")
    return start_latent(torch.zeros_like(noise), noise, sigma=sigma, settings=settings, schedule=SCHEDULES["v"])


def test_every_output_of_the_oracle_is_checked() -> None:
    names = set(oracle().about["outputs"])
    names -= {f"{p}.{table}" for p in SCHEDULES for table in ("sigmas", "timesteps", "sigmas_between")}
    names -= {f"{p}.denoised.step{step}{cfg}" for p, step in DENOISED for cfg in CFG_SCHEDULES}
    names -= {f"v.{solver}{cfg}" for solver in SOLVED for cfg in CFG_SCHEDULES}
    assert not names


@pytest.mark.parametrize("prediction", SCHEDULES)
def test_published_schedule(prediction: Prediction) -> None:
    sigmas = torch.tensor(edm_sigmas(SCHEDULES[prediction], STEPS), dtype=torch.float64)
    oracle().check(f"{prediction}.sigmas", sigmas)
    oracle().check(f"{prediction}.sigmas_between", sigmas[1:-1])
    oracle().check(f"{prediction}.timesteps", torch.tensor([*edm_timesteps(1000, STEPS), 0]))


@pytest.mark.parametrize("cfg", CFG_SCHEDULES)
@pytest.mark.parametrize(("prediction", "step"), DENOISED)
def test_published_denoiser(prediction: Prediction, step: int, cfg: str) -> None:
    sigma = edm_sigmas(SCHEDULES[prediction], STEPS)[step]
    found = denoiser(prediction, CFG_SCHEDULES[cfg])(begin(sigma), sigma)
    oracle().check(f"{prediction}.denoised.step{step}{cfg}", found)


@pytest.mark.parametrize("cfg", CFG_SCHEDULES)
@pytest.mark.parametrize("solver", SOLVED)
def test_published_samples(solver: str, cfg: str) -> None:
    sigmas, calls = edm_sigmas(SCHEDULES["v"], STEPS), []

    def noise(step: int) -> Tensor:
        return oracle().input(f"noise.{step}")

    def count(step: int, sigma: float, x0: Tensor) -> None:
        calls.append((step, sigma))

    more: dict[str, Any] = {} if "2m" in solver else {"eta": float(solver[-1])}
    sample = sample_edm_2m if "2m" in solver else sample_edm_3m_sde
    found = sample(denoiser("v", CFG_SCHEDULES[cfg]), begin(sigmas[0]), sigmas, noise, count, **more)
    oracle().check(f"v.{solver}{cfg}", found)
    assert calls == list(enumerate(sigmas[:-1]))


@given(st.integers(1, 1000))
def test_timesteps_are_those_of_numpys_linspace(steps: int) -> None:
    chosen = edm_timesteps(1000, steps)
    assert list(chosen) == np.linspace(999, 0, steps, endpoint=False).astype(int).tolist()
    assert chosen[0] == 999 and list(chosen) == sorted(set(chosen), reverse=True)


@given(st.integers(1, 1000), st.sampled_from(["eps", "v"]), st.booleans())
def test_the_networks_timestep_can_be_told_from_every_level(steps: int, prediction: Prediction, zero: bool) -> None:
    """The first level is far outside the table; both hosts take the end for it."""
    schedule = NoiseSchedule.stable_diffusion(zero_terminal_snr=zero)
    *levels, last = edm_sigmas(schedule, steps, prediction)
    assert last == 0 and [round(schedule.timestep(sigma)) for sigma in levels] == list(edm_timesteps(1000, steps))
    assert levels[0] == (FIRST_SIGMA if prediction == "v" else schedule.sigmas[-1])


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """The ideal denoiser of normal latents of spread 0.5."""
    return x * 0.25 / (0.25 + sigma**2)


def exact(start: Tensor, sigma: float) -> Tensor:
    """Where the flow of that denoiser leads from sigma to 0."""
    return start * 0.5 / math.sqrt(0.25 + sigma**2)


@pytest.mark.parametrize("sample", [sample_edm_2m, sample_edm_3m_sde])
def test_half_the_step_makes_a_quarter_of_the_error(sample: Any) -> None:
    start, errors = torch.ones(1, 1, 1, 1, dtype=torch.float64) * 5, []
    more = {} if sample is sample_edm_2m else {"eta": 0.0}
    for steps in (80, 160):
        # Evenly in λ and not down to 0: the last step to 0 has an error of its own.
        sigmas = np.geomspace(5, 0.1, steps + 1).tolist()
        found = sample(gaussian, start, sigmas, lambda i: torch.zeros_like(start), **more)
        wanted = exact(start, 5.0) / exact(torch.ones_like(start), 0.1)
        errors.append(float((found - wanted).abs()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.25)


def test_the_sde_solver_follows_a_line() -> None:
    """With x0 = -log σ, which is known from two predictions, x' / σ' - x / σ is an integral."""
    sigmas, seen = [3.0, 1.9, 1.4, 0.5], []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        seen.append(x)
        return torch.full_like(x, -math.log(sigma))

    start = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64)
    seen.append(sample_edm_3m_sde(denoise, start, sigmas, lambda i: start, eta=0.0))
    for step in (1, 2):
        begun, ended = ((-math.log(sigma) - 1) / sigma for sigma in sigmas[step : step + 2])
        wanted = sigmas[step + 1] * (float(seen[step]) / sigmas[step] + ended - begun)
        assert float(seen[step + 1]) == pytest.approx(wanted, rel=1e-10)


def test_new_noise_keeps_the_spread_of_the_latents() -> None:
    generator = torch.Generator().manual_seed(1)
    clean = 0.5 * torch.randn(1, 4, 64, 64, generator=generator, dtype=torch.float64)

    def noise(step: int) -> Tensor:
        return torch.randn(clean.shape, generator=generator, dtype=torch.float64)

    sigmas = [*np.geomspace(50, 0.02, 40).tolist(), 0.0]
    start = clean + sigmas[0] * noise(0)
    found = {eta: sample_edm_3m_sde(gaussian, start, sigmas, noise, eta=eta) for eta in (0.0, 0.5, 1.0)}
    for each in found.values():
        assert each.std() == pytest.approx(0.5, rel=0.03)
    assert (found[0.0] - found[1.0]).abs().mean() > 0.3
    weak = sample_edm_3m_sde(gaussian, start, sigmas, noise, s_noise=0.5)
    assert weak.std() < 0.45


@pytest.mark.parametrize("sample", [sample_edm_2m, sample_edm_3m_sde])
def test_a_perfect_denoiser_gives_the_clean_latent_and_no_noise_is_lost_on_the_way(sample: Any) -> None:
    clean = torch.randn(2, 4, 32, 32)
    sigmas = edm_sigmas(SCHEDULES["v"], STEPS)
    start = clean + sigmas[0] * torch.randn_like(clean)
    assert torch.equal(sample(lambda x, s: clean, start, sigmas, lambda i: torch.randn_like(clean)), clean)
    part = sample(lambda x, s: clean, start, sigmas[:6], lambda i: torch.randn_like(clean))
    assert (part - clean).std() == pytest.approx(sigmas[5], rel=0.03)


@pytest.mark.parametrize("sample", [sample_edm_2m, sample_edm_3m_sde])
def test_one_step_is_one_prediction(sample: Any) -> None:
    x = torch.randn(1, 4, 2, 2)
    sigmas = edm_sigmas(SCHEDULES["v"], 1)
    assert torch.equal(sample(lambda x, s: x / s, x, sigmas, lambda i: x), x / FIRST_SIGMA)


def test_mistakes_are_told() -> None:
    x = torch.zeros(1, 4, 2, 2)
    for sample in (sample_edm_2m, sample_edm_3m_sde):
        with pytest.raises(SettingsError, match="fall"):
            sample(lambda x, s: x, x, (1.0, 2.0, 0.0), lambda i: x)
    more: list[dict[str, Any]] = [{"eta": -1.0}, {"s_noise": -1.0}, {"eta": float("nan")}]
    for wrong in more:
        with pytest.raises(SettingsError, match="use 0 or more"):
            sample_edm_3m_sde(lambda x, s: x, x, (1.0, 0.0), lambda i: x, **wrong)
    with pytest.raises(SettingsError, match="use 1"):
        edm_timesteps(1000, 1001)

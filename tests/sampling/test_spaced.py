"""The spaced sampler is the published one, and its sigma-space form is the same sampler."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.sampling.schedule import NoiseSchedule, Prediction, model_input, to_x0
from vldm_core.sampling.spaced import cfg_schedule, sample_spaced, spaced_sigmas, spaced_timesteps

from ..oracles import load_oracle
from .published import SpacedTables

PLAIN = NoiseSchedule.stable_diffusion()
ZERO = NoiseSchedule.stable_diffusion(zero_terminal_snr=True)
TABLES = [
    "timesteps",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
]


def test_every_output_of_the_oracle_is_checked() -> None:
    """Tables and starts are checked in test_schedule and test_start; the rest must be checked here."""
    names = set(load_oracle("diffbir_sampler").about["outputs"])
    names -= {f"{kind}.{table}" for kind in ("eps", "zero") for table in ("betas", "alphas_cumprod")}
    names -= {"q_sample_999.eps", "q_sample_999.zero", "q_sample_150.eps", "guided"}
    names -= {f"spaced{steps}.{table}" for steps in (50, 10) for table in TABLES}
    names -= {f"cfg_schedule.steps{steps}.s{scale}" for steps in (50, 10) for scale in (4, 8)}
    names -= {f"step.{p}.index{i}{cfg}" for p in ("eps", "v") for i in (49, 20, 0) for cfg in ("", ".no_cfg")}
    assert not names


@pytest.mark.parametrize("steps", [50, 10])
def test_published_tables(steps: int) -> None:
    oracle = load_oracle("diffbir_sampler")
    tables = SpacedTables.build(PLAIN, steps)
    for name in TABLES:
        oracle.check(f"spaced{steps}.{name}", getattr(tables, name))


@pytest.mark.parametrize("steps", [50, 10])
@pytest.mark.parametrize("scale", [4, 8])
def test_published_guidance_schedule(steps: int, scale: int) -> None:
    found = [cfg_schedule(t, scale) for t in spaced_timesteps(1000, steps)]
    load_oracle("diffbir_sampler").check(
        f"cfg_schedule.steps{steps}.s{scale}", torch.tensor(found, dtype=torch.float64)
    )


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("index", [49, 20, 0])
@pytest.mark.parametrize("guided", [True, False])
def test_published_step(prediction: str, index: int, guided: bool) -> None:
    oracle = load_oracle("diffbir_sampler")
    schedule = NoiseSchedule.stable_diffusion(zero_terminal_snr=prediction == "v")
    tables = SpacedTables.build(schedule, 50)
    cond, uncond, x_t = oracle.input("cond_out"), oracle.input("uncond_out"), oracle.input("x_t")
    output = uncond + 4.0 * (cond - uncond) if guided else cond
    if guided:
        oracle.check("guided", output)
    x0 = tables.x0(x_t, output, index, prediction)  # type: ignore[arg-type]
    found = tables.step(x_t, x0, index, oracle.input("noise"))
    name = f"step.{prediction}.index{index}{'' if guided else '.no_cfg'}"
    oracle.check(name, found)

    place = 49 - index
    before, after = spaced_sigmas(schedule, 50)[place : place + 2]
    begun = x_t * math.sqrt(1 + before**2)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return to_x0(x, output, sigma, prediction)  # type: ignore[arg-type]

    found = sample_spaced(denoise, begun, (before, after), lambda _: oracle.input("noise"))
    oracle.check(name, model_input(found, after))


@given(st.integers(1, 200))
def test_timesteps_are_in_order_from_end_to_end(steps: int) -> None:
    chosen = spaced_timesteps(1000, steps)
    assert len(chosen) == steps and chosen[-1] == 999 and list(chosen) == sorted(set(chosen))
    assert steps == 1 or chosen[0] == 0


def network(x: Tensor, timestep: int) -> Tensor:
    return 0.8 * torch.tanh(x) + 0.1 * timestep / 1000


@pytest.mark.parametrize("steps", [1, 7, 25])
@pytest.mark.parametrize(("schedule", "prediction"), [(PLAIN, "eps"), (ZERO, "v")])
def test_sigma_space_is_the_same_sampler(steps: int, schedule: NoiseSchedule, prediction: Prediction) -> None:
    tables = SpacedTables.build(schedule, steps)
    start = torch.randn(2, 4, 6, 6)
    noises = torch.randn(steps, 2, 4, 6, 6)

    x = start
    for number, index in enumerate(reversed(range(steps))):
        output = network(x, int(tables.timesteps[index]))
        x = tables.step(x, tables.x0(x, output, index, prediction), index, noises[number])

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return to_x0(x, network(model_input(x, sigma), round(schedule.timestep(sigma))), sigma, prediction)

    sigmas = spaced_sigmas(schedule, steps)
    calls: list[tuple[int, float]] = []
    found = sample_spaced(
        denoise, start * (1 + sigmas[0] ** 2) ** 0.5, sigmas, lambda i: noises[i], lambda i, s, _: calls.append((i, s))
    )
    # Pure noise has a finite sigma here: x0 of the first step keeps 1 / 4519 of it.
    allowed = 1e-4 if prediction == "eps" else 1e-3
    assert (found - x).abs().max() < allowed * max(1.0, float(x.abs().max()))
    assert calls == list(enumerate(sigmas[:-1]))


def test_a_perfect_denoiser_gives_the_clean_latent_and_the_right_noise_on_the_way() -> None:
    clean = torch.randn(4, 4, 32, 32)
    sigmas = spaced_sigmas(PLAIN, 12)
    start = clean + sigmas[0] * torch.randn_like(clean)
    assert torch.equal(sample_spaced(lambda x, s: clean, start, sigmas, lambda i: torch.randn_like(clean)), clean)
    part = sample_spaced(lambda x, s: clean, start, sigmas[:6], lambda i: torch.randn_like(clean))
    assert (part - clean).std() == pytest.approx(sigmas[5], rel=0.03)


def test_mistakes_are_told() -> None:
    x = torch.zeros(1, 4, 2, 2)
    with pytest.raises(SettingsError, match="fall"):
        sample_spaced(lambda x, s: x, x, (1.0, 2.0, 0.0), lambda i: x)
    with pytest.raises(SettingsError, match="fall"):
        sample_spaced(lambda x, s: x, x, (float("inf"), 0.0), lambda i: x)
    with pytest.raises(SettingsError, match="use 1"):
        spaced_timesteps(1000, 0)
    assert cfg_schedule(0, 1.0) == 1.0

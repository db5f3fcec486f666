"""Guidance computes what DiffBIR 2.0.0 did, holds sampling to the picture, and does not care about chunks."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.sampling.guidance import (
    GuidanceSettings,
    RestorationGuidance,
    edge_weight,
    guidance_step,
    posterior_weight,
    push_back,
)
from vldm_core.sampling.schedule import NoiseSchedule
from vldm_core.sampling.state import StepState

from ..oracles import Oracle, load_oracle
from .published import SpacedTables

SCHEDULE = NoiseSchedule.stable_diffusion()


@functools.cache
def oracle() -> Oracle:
    return load_oracle("diffbir_guidance")


@functools.cache
def vae_decode() -> Callable[[Tensor], Tensor]:
    """The oracle's VAE in diffusers, from weights in Stable Diffusion's own layout."""
    pytest.importorskip("diffusers")
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(32, 64),
        layers_per_block=1,
        latent_channels=4,
    ).eval()
    state = {f"first_stage_model.{key}": value for key, value in oracle().weights("vae").items()}
    vae.load_state_dict(convert_ldm_vae_checkpoint(state, dict(vae.config)))
    vae.requires_grad_(False)
    return lambda latent: vae.decode(latent / 0.18215).sample


def published(name: str) -> tuple[float, int, float]:
    config = oracle().about["config"]
    divisor = SpacedTables.build(SCHEDULE, config["steps"]).posterior_mean_coef1[config["index"]]
    return config["scale"], config["repeat"], float(divisor)


def test_every_output_of_the_oracle_is_checked() -> None:
    names = {f"{name}.{what}" for name in ("mse", "w_mse") for what in ("delta", "loss", "rgb.pred_x0")}
    assert set(oracle().about["outputs"]) == names | {"mse.latent.delta", "mse.latent.pred_x0"}


def test_the_published_weight_map() -> None:
    oracle().check("weight_map", edge_weight(oracle().input("target")), kind="mid")


def test_the_published_divisor() -> None:
    oracle().check("posterior_mean_coef1", torch.tensor([published("")[2]]), kind="mid")


@pytest.mark.parametrize("name", ["mse", "w_mse"])
def test_the_published_step(name: str) -> None:
    target, pred = oracle().input("target"), oracle().input("pred")
    weight = edge_weight(target) if name == "w_mse" else None
    delta, loss = guidance_step(pred, target, published(name)[0], weight)
    oracle().check(f"{name}.delta", delta)
    oracle().check(f"{name}.loss", loss)


def test_the_published_latent_guidance() -> None:
    x0, target = oracle().input("pred_x0"), oracle().input("target_latent")
    scale, repeats, divisor = published("mse")
    oracle().check("mse.latent.delta", guidance_step(x0, target, scale)[0])
    for _ in range(repeats):
        x0 = x0 + guidance_step(x0, target, scale)[0] / divisor
    oracle().check("mse.latent.pred_x0", x0)


def test_the_oracle_decoder() -> None:
    oracle().check("decoded_pred_x0", vae_decode()(oracle().input("pred_x0")), kind="mid")


@pytest.mark.parametrize("name", ["mse", "w_mse"])
def test_the_published_rgb_guidance(name: str) -> None:
    x0, target = oracle().input("pred_x0"), oracle().input("target")
    scale, repeats, divisor = published(name)
    weight = edge_weight(target) if name == "w_mse" else None
    for _ in range(repeats):
        x0 = x0 + push_back(x0, vae_decode(), lambda pred: guidance_step(pred, target, scale, weight)[0]) / divisor
    oracle().check(f"{name}.rgb.pred_x0", x0)


@pytest.mark.parametrize("steps", [1, 10, 50])
def test_the_divisor_of_any_sigma_is_that_of_the_spaced_sampler(steps: int) -> None:
    tables = SpacedTables.build(SCHEDULE, steps)
    for index, timestep in enumerate(tables.timesteps.tolist()):
        found = posterior_weight(SCHEDULE, SCHEDULE.sigma(timestep), steps)
        assert found == pytest.approx(tables.posterior_mean_coef1[index].item(), rel=0.05)


def smooth_decode(latent: Tensor) -> Tensor:
    """A stand-in for a decoder: mixes channels, doubles the size, is not linear."""
    mix = torch.tensor([[0.3, 0.1, 0.0, -0.1], [0.2, -0.2, 0.1, 0.0], [0.1, 0.0, 0.3, 0.1]])
    picture = torch.einsum("oc,nchw->nohw", mix, latent)
    return 0.5 + 0.4 * torch.nn.functional.interpolate(picture, scale_factor=2, mode="bilinear").tanh()


def clip() -> tuple[Tensor, Tensor, Tensor]:
    target = torch.randn(5, 4, 16, 16)
    return target, smooth_decode(target).clamp(0, 1), target + 0.5 * torch.randn(5, 4, 16, 16)


def guide(settings: GuidanceSettings, target: Tensor, frames: Tensor) -> RestorationGuidance:
    return RestorationGuidance(settings, SCHEDULE, target_latent=target, target_frames=frames, decode=smooth_decode)


CASES = [("latent", "mse"), ("latent", "edges"), ("rgb", "mse"), ("rgb", "edges")]


@pytest.mark.parametrize(("space", "weighting"), CASES)
def test_x0_comes_closer_and_chunks_agree(space: str, weighting: str) -> None:
    target, frames, x0 = clip()
    state = StepState(sigma=2.0, step=5, steps=20)
    scale = 0.3 if space == "latent" else 30.0
    settings = GuidanceSettings(scale=scale, space=space, weighting=weighting, repeats=2)  # type: ignore[arg-type]
    found = guide(settings, target, frames)(x0, x0, state)
    measure = smooth_decode if space == "rgb" else lambda latent: latent
    before = (measure(x0) - measure(target)).square().mean((1, 2, 3))
    after = (measure(found) - measure(target)).square().mean((1, 2, 3))
    assert (after < 0.97 * before).all()
    parts = [guide(settings, target[part], frames[part])(x0[part], x0[part], state) for part in (slice(2), slice(2, 5))]
    assert torch.allclose(torch.cat(parts), found, atol=1e-6)


@pytest.mark.parametrize("size", [8, 32])
def test_the_strength_does_not_depend_on_the_size_of_the_frame(size: int) -> None:
    target = torch.zeros(1, 4, size, size)
    state = StepState(sigma=1.0, step=5, steps=20)
    settings = GuidanceSettings(scale=0.05, weighting="mse")
    found = RestorationGuidance(settings, SCHEDULE, target_latent=target)(target + 1, target, state)
    wanted = 1 - 6000 * 0.05 / (4 * 64 * 64) / posterior_weight(SCHEDULE, 1.0, 20)
    assert torch.allclose(found, torch.full_like(found, wanted), atol=1e-5)


def test_a_large_scale_does_not_overshoot() -> None:
    target, frames, x0 = clip()
    state = StepState(sigma=14.0, step=0, steps=50)
    mse = GuidanceSettings(scale=100.0, weighting="mse")
    assert torch.allclose(guide(mse, target, frames)(x0, x0, state), target, atol=1e-6)
    rgb = GuidanceSettings(scale=1e6, space="rgb")
    change = guide(rgb, target, frames)(x0, x0, state) - x0
    assert change.square().mean((1, 2, 3)).sqrt().max() <= 0.5 + 1e-5


def test_flat_regions_are_held_more_than_texture() -> None:
    target, _, x0 = clip()
    frames = torch.full((5, 3, 32, 32), 0.5)
    frames[..., 16:] = torch.rand(5, 3, 32, 16)
    state = StepState(sigma=2.0, step=5, steps=20)
    change = (guide(GuidanceSettings(scale=0.2), target, frames)(x0, x0, state) - x0).abs().mean((0, 1, 2))
    assert change[:7].mean() > 5 * change[9:].mean()


def test_nothing_happens_outside_the_range_or_at_scale_zero() -> None:
    target, frames, x0 = clip()
    settings = GuidanceSettings(sigma_start=5.0, sigma_end=1.0)
    for sigma in (5.1, 0.9):
        state = StepState(sigma=sigma, step=5, steps=20)
        assert guide(settings, target, frames)(x0, x0, state) is x0
    state = StepState(sigma=2.0, step=5, steps=20)
    assert not torch.equal(guide(settings, target, frames)(x0, x0, state), x0)
    assert RestorationGuidance(GuidanceSettings(scale=0), SCHEDULE)(x0, x0, state) is x0


def test_it_runs_in_inference_mode() -> None:
    target, frames, x0 = clip()
    state = StepState(sigma=2.0, step=5, steps=20)
    transform = guide(GuidanceSettings(space="rgb", scale=5.0), target, frames)
    wanted = transform(x0, x0, state)
    with torch.inference_mode():
        inside = x0.clone()
        transform = guide(GuidanceSettings(space="rgb", scale=5.0), target.clone(), frames.clone())
        assert torch.allclose(transform(inside, inside, state), wanted)


def test_odd_sides_have_a_weight_map() -> None:
    assert edge_weight(torch.rand(1, 3, 7, 9) * 2 - 1).shape == (1, 1, 7, 9)


@pytest.mark.parametrize(
    "wrong",
    [{"scale": -1.0}, {"space": "x"}, {"weighting": "x"}, {"sigma_start": 1.0, "sigma_end": 2.0}, {"repeats": 0}],
)
def test_wrong_settings_say_what_to_do(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="use"):
        GuidanceSettings(**wrong)  # type: ignore[arg-type]


def test_what_is_missing_is_told() -> None:
    with pytest.raises(SettingsError, match="target_latent and target_frames"):
        RestorationGuidance(GuidanceSettings(), SCHEDULE)
    with pytest.raises(SettingsError, match="needs target_frames and decode"):
        RestorationGuidance(GuidanceSettings(space="rgb"), SCHEDULE)
    target, frames, x0 = clip()
    with pytest.raises(SettingsError, match="give as many"):
        guide(GuidanceSettings(), target[:2], frames)(x0, x0, StepState(sigma=1.0, step=0, steps=2))
    with pytest.raises(SettingsError, match="RGB"):
        edge_weight(torch.zeros(1, 4, 8, 8))


def test_it_acts_in_its_share_of_the_steps() -> None:
    settings = GuidanceSettings(weighting="mse", start=0.2, end=0.6)
    guidance = RestorationGuidance(settings, SCHEDULE, target_latent=torch.ones(1, 4, 8, 8))
    x0 = torch.zeros(1, 4, 8, 8)
    acted = [not torch.equal(guidance(x0, x0, StepState(sigma=5.0, step=step, steps=10)), x0) for step in range(10)]
    assert acted == [False, False, True, True, True, True, False, False, False, False]
    with pytest.raises(SettingsError, match="start ≤ end"):
        GuidanceSettings(start=0.7, end=0.6)

"""One settings object gives noise, start and transforms that belong together."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.sampling.consistency import ConsistencySettings
from vldm_core.sampling.guidance import GuidanceSettings
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings, video_noise
from vldm_core.sampling.noise.freeinit import FreeInitSettings
from vldm_core.sampling.propagation import PropagationSettings
from vldm_core.sampling.restoration import Material, Restoration, RestorationSettings
from vldm_core.sampling.schedule import NoiseSchedule
from vldm_core.sampling.start import StartSettings
from vldm_core.sampling.state import StepState
from vldm_core.video.flow import FlowSettings, estimate_flow
from vldm_core.video.shots import Shot

SCHEDULE = NoiseSchedule.stable_diffusion()
PLAIN = RestorationSettings(noise=VideoNoiseSettings(), propagation=None)


def moving(frames: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scene = torch.rand(1, 3, 16, 24, generator=generator)
    scene = torch.nn.functional.interpolate(scene, size=(64, 96), mode="bicubic").clamp(0, 1)
    return torch.cat([scene.roll(2 * t, dims=3) for t in range(frames)])


def material(**more) -> Material:
    generator = torch.Generator().manual_seed(1)
    return Material(latent=torch.randn(6, 4, 8, 12, generator=generator), **more)


def test_the_same_seed_gives_the_same_start() -> None:
    first, again = (Restoration(PLAIN, material(), SCHEDULE, seed=3) for _ in range(2))
    assert torch.equal(first.start(14.6), again.start(14.6))
    other = Restoration(PLAIN, material(), SCHEDULE, seed=4)
    assert (first.start(14.6) - other.start(14.6)).abs().max() > 1
    assert torch.allclose(first.start(14.6), material().latent + 14.6 * first.noise())
    assert not torch.allclose(first.step_noise(0), first.step_noise(1))
    assert not torch.allclose(first.step_noise(0), first.noise())


def test_the_second_noise_is_another() -> None:
    settings = RestorationSettings(
        noise=VideoNoiseSettings(), propagation=None, start=StartSettings(mode="added_noise", added_noise_level=900)
    )
    found = Restoration(settings, material(), SCHEDULE, seed=3).start(14.6)
    plain = Restoration(PLAIN, material(), SCHEDULE, seed=3).start(14.6)
    correlation = torch.corrcoef(torch.stack([found.flatten(), plain.flatten()]))[0, 1]
    assert 0.05 < correlation < 0.5


def test_motion_is_measured_inside_shots_only() -> None:
    shots = (Shot(0, 3), Shot(3, 6))
    settings = RestorationSettings(guidance=None, consistency=None)
    restoration = Restoration(settings, material(frames=moving(), shots=shots), SCHEDULE, seed=0)
    assert len(restoration.transforms) == 1
    noise = restoration.noise()
    # 2 picture pixels to the right per frame are a quarter of a latent pixel: after two frames noise still overlaps.
    assert torch.corrcoef(torch.stack([noise[0].flatten(), noise[1].flatten()]))[0, 1] > 0.5
    assert torch.corrcoef(torch.stack([noise[2].flatten(), noise[3].flatten()]))[0, 1] < 0.3
    x0 = torch.zeros(6, 4, 8, 12)
    x0[3:] = 1.0
    joined = restoration.transforms[0](x0, x0, StepState(sigma=0.1, step=24, steps=30))
    assert torch.equal(joined, x0)


def test_motion_is_measured_in_blocks_and_kept_at_latent_size() -> None:
    frames = moving(40)
    latent = torch.zeros(40, 4, 8, 12)
    settings = RestorationSettings(noise=VideoNoiseSettings(mode="warped"), propagation=None)
    found = Restoration(settings, Material(latent=latent, frames=frames), SCHEDULE, seed=3).noise()
    flow = estimate_flow(frames, settings=FlowSettings(quality="fast"))
    assert torch.equal(found, video_noise(tuple(latent.shape), seed=3, settings=settings.noise, flow=flow))


def test_every_part_can_be_off() -> None:
    off = RestorationSettings(
        noise=VideoNoiseSettings(), propagation=PropagationSettings(blend=0), guidance=GuidanceSettings(scale=0)
    )
    assert not off.needs_flow
    assert Restoration(off, material(), SCHEDULE, seed=0).transforms == ()
    masks = torch.zeros(6, 64, 96)
    on = RestorationSettings(
        noise=VideoNoiseSettings(),
        propagation=None,
        consistency=ConsistencySettings(end=1.0),
        guidance=GuidanceSettings(weighting="mse"),
    )
    restoration = Restoration(on, material(masks=masks), SCHEDULE, seed=0)
    x0 = torch.zeros(6, 4, 8, 12)
    for transform in restoration.transforms:
        x0 = transform(x0, x0, StepState(sigma=1.0, step=0, steps=10))
    assert len(restoration.transforms) == 2 and torch.allclose(x0, material().latent)


def test_later_rounds_keep_low_frequencies() -> None:
    settings = RestorationSettings(
        noise=VideoNoiseSettings(), propagation=None, freeinit=FreeInitSettings(iterations=2)
    )
    restoration = Restoration(settings, material(), SCHEDULE, seed=0)
    assert settings.rounds == 2
    last = torch.ones(6, 4, 8, 12) * 3
    begun = restoration.start(14.6, last, 1)
    plain = restoration.start(14.6)
    assert (begun.mean() - last.mean()).abs() < 1.0 and not torch.allclose(begun, plain)


def test_later_rounds_that_start_low_keep_the_detail() -> None:
    settings = RestorationSettings(noise=VideoNoiseSettings(), propagation=None, freeinit=FreeInitSettings())
    restoration = Restoration(settings, material(), SCHEDULE, seed=0)
    begun = restoration.start(0.1, material().latent, 1)
    assert (begun - material().latent).std() < 0.15


@pytest.mark.parametrize("mode", ["independent", "shared", "freenoise"])
def test_parts_of_a_shot_begin_alike(mode) -> None:
    settings = RestorationSettings(noise=VideoNoiseSettings(mode=mode, window=3, stride=2), propagation=None)
    whole = Restoration(settings, material(), SCHEDULE, seed=3).noise()
    part = Material(latent=material().latent[2:], first_frame=2, shot_start=0)
    assert torch.equal(Restoration(settings, part, SCHEDULE, seed=3).noise(), whole[2:])
    with pytest.raises(SettingsError, match="begin after"):
        Material(latent=material().latent, first_frame=2, shot_start=3)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match="warped"):
        Restoration(RestorationSettings(), material(), SCHEDULE, seed=0)
    only = RestorationSettings(noise=VideoNoiseSettings())
    with pytest.raises(SettingsError, match="propagation"):
        Restoration(only, material(), SCHEDULE, seed=0)
    with pytest.raises(SettingsError, match="5 frames for 6"):
        material(frames=moving(5))
    with pytest.raises(SettingsError, match="one item per frame"):
        Material(latent=torch.zeros(4, 8, 8))
    with pytest.raises(SettingsError, match="shots"):
        material(shots=(Shot(0, 3),))

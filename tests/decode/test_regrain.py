"""Grain: what is measured on a simulated film comes back in the synthesised one."""

import pytest
import torch
from torch.nn import functional

from vldm_core.decode.grain_measure import GrainAnalyser, MeasuredGrain
from vldm_core.decode.regrain import RegrainSettings, add_grain, grain_field, missing_grain, regrain
from vldm_core.errors import SettingsError
from vldm_core.video.shots import Shot

LUMA = torch.tensor([0.299, 0.587, 0.114])


def make_scene(frames=8, height=192, width=320):
    """A panning scene of every brightness between 0.15 and 0.85, smooth within patches and with edges between them."""
    generator = torch.Generator().manual_seed(4)
    patches = torch.rand(1, 1, 3, 8, generator=generator).repeat_interleave(64, -1).repeat_interleave(64, -2)
    ramp = torch.linspace(0, 1, 512).expand(1, 1, 192, -1)
    whole = 0.15 + 0.7 * (0.3 * patches + 0.7 * ramp)
    return torch.cat([whole[..., 2 * t : 2 * t + width] for t in range(frames)]).expand(-1, 3, -1, -1).contiguous()


def gaussian_kernel(sigma):
    return torch.exp(-0.5 * (torch.arange(-8, 9).float() / sigma) ** 2)


def simulated_grain(shape, *, sigma, coloured, seed=0):
    """Grain of unit luma variance by another way than the package's: a Gaussian blur of white noise."""
    count, _, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(count, 3 if coloured else 1, height + 16, width + 16, generator=generator)
    kernel = gaussian_kernel(sigma)
    planes = white.reshape(-1, 1, *white.shape[-2:])
    planes = functional.conv2d(functional.conv2d(planes, kernel[None, None, None]), kernel[None, None, :, None])
    grain = planes.reshape(count, -1, height, width).expand(-1, 3, -1, -1)
    return grain / torch.einsum("c,tchw->thw", LUMA, grain).std()


def grainy(scene, *, strength=0.03, sigma=0.8, coloured=False, seed=0):
    """Scene with grain that is strongest in the middle tones."""
    level = 0.4 + 2.4 * scene * (1 - scene)
    return scene + strength * level * simulated_grain(scene.shape, sigma=sigma, coloured=coloured, seed=seed)


def measured(frames):
    analyser = GrainAnalyser()
    for frame in frames:
        analyser.update(frame)
    return analyser.finish()


class TestMeasuring:
    @pytest.mark.parametrize("sigma", [0.5, 0.8, 1.3])
    def test_strength_by_brightness_and_autocorrelation(self, sigma):
        scene = make_scene()
        model = measured(grainy(scene, sigma=sigma))
        levels = torch.linspace(0, 1, 16)
        inside = (levels > 0.25) & (levels < 0.65)
        wanted = 0.03 * (0.4 + 2.4 * levels * (1 - levels))
        assert ((model.strength - wanted)[inside] / wanted[inside]).abs().mean() < 0.08
        shape = gaussian_kernel(sigma)
        shape = functional.conv1d(shape[None, None], shape[None, None], padding=16)[0, 0, 8:-8]
        shape = shape / shape.max()
        assert (model.autocorrelation - shape[:, None] * shape).abs().max() < 0.03

    def test_channels(self):
        scene = make_scene()
        grey = measured(grainy(scene)).covariance
        assert torch.allclose(grey, torch.ones(3, 3), atol=0.02)
        colour = measured(grainy(scene, coloured=True)).covariance
        independent = torch.eye(3) / LUMA.square().sum()
        assert (colour - independent).abs().max() < 0.15

    def test_motion_flicker_and_dirt_are_not_taken_for_grain(self):
        scene = make_scene()
        plain = measured(grainy(scene)).strength
        gain = 1 + 0.05 * torch.randn(len(scene), 1, 1, 1)
        film = grainy(scene * gain)
        for t in range(len(film)):
            film[t, :, 5 * t : 5 * t + 6, 20:40] = 1.0
        found = measured(film).strength
        assert ((found - plain) / plain)[3:13].abs().mean() < 0.08

    def test_texture_that_stands_still_tells_the_strength_too(self):
        # Flat only where it is bright; darker parts have texture, and a small part of them moves.
        levels = torch.linspace(0.2, 0.8, 320).expand(1, 3, 192, -1)
        texture = 0.06 * torch.randn(1, 1, 192, 320, generator=torch.Generator().manual_seed(5)).clamp(-2, 2)
        scene = (levels + texture * (levels < 0.7)).repeat(8, 1, 1, 1)
        for t in range(8):
            scene[t, :, 40:90, 10 + 12 * t : 40 + 12 * t] = 0.45 + 0.2 * torch.rand(50, 30)
        model = measured(grainy(scene))
        levels = torch.linspace(0, 1, 16)
        wanted = 0.03 * (0.4 + 2.4 * levels * (1 - levels))
        assert ((model.strength - wanted) / wanted)[4:12].abs().mean() < 0.1

    def test_repeated_frames_do_not_weaken_it(self):
        film = grainy(make_scene())
        doubled = film.repeat_interleave(2, 0)
        assert torch.allclose(measured(doubled).strength, measured(film).strength, rtol=1e-4)

    def test_nothing_to_measure(self):
        assert measured(make_scene(1)) is None
        assert measured(torch.full((4, 3, 64, 64), 0.5)) is None
        assert measured(torch.rand(4, 3, 16, 16)) is None


class TestMaking:
    @pytest.mark.parametrize("coloured", [False, True])
    def test_comes_back_as_it_was_measured(self, coloured):
        scene = make_scene()
        source = grainy(scene, coloured=coloured)
        found = regrain(scene, source)
        wanted, made = measured(source), measured(found)
        inside = slice(4, 10)
        assert ((made.strength - wanted.strength) / wanted.strength)[inside].abs().mean() < 0.05
        assert (made.autocorrelation - wanted.autocorrelation).abs().max() < 0.05
        assert (made.covariance - wanted.covariance).abs().max() < 0.15
        # Also against the truth, not only against the package's own measure.
        assert abs(float((found - scene).std() / (source - scene).std()) - 1) < 0.06

    def test_strength_scales(self):
        scene = make_scene(4)
        source = grainy(scene)
        plain, strong = ((regrain(scene, source, RegrainSettings(strength=s)) - scene).std() for s in (1.0, 2.0))
        assert abs(float(strong / plain) - 2) < 0.05
        assert torch.equal(regrain(scene, source, RegrainSettings(strength=0.0)), scene)

    def test_only_what_is_missing_is_added(self):
        scene = make_scene()
        source = grainy(scene)
        assert (regrain(source, source) - source).abs().max() < 1e-3
        half = grainy(scene, strength=0.015, seed=7)
        total = (regrain(half, source) - scene).std() / (source - scene).std()
        assert abs(float(total) - 1) < 0.06
        doubled = (regrain(half, source, RegrainSettings(keep_present=False)) - scene).std()
        assert float(doubled / (source - scene).std()) > 1.1

    def test_frames_are_independent_and_even_to_the_border(self):
        model = measured(grainy(make_scene()))
        fields = torch.stack([grain_field(model, 96, 120, seed=3, index=i) for i in range(40)])
        grey = torch.einsum("c,tchw->thw", LUMA, fields)
        assert abs(float(grey.std()) - 1) < 0.02
        agreement = (grey[1:] * grey[:-1]).mean(dim=(1, 2))
        assert agreement.abs().max() < 0.06
        for border in (grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]):
            assert abs(float(border.std()) - 1) < 0.06

    def test_same_seed_same_grain_for_any_chunk(self):
        scene = make_scene(6)
        model = measured(grainy(scene))
        settings = RegrainSettings(seed=5)
        whole = torch.stack([add_grain(frame, model, settings, 100 + t) for t, frame in enumerate(scene)])
        later = torch.stack([add_grain(frame, model, settings, 103 + t) for t, frame in enumerate(scene[3:])])
        assert torch.equal(whole[3:], later)
        other = add_grain(scene[0], model, RegrainSettings(seed=6), 100)
        assert (other - whole[0]).std() > 0.02
        source = grainy(scene)
        assert torch.equal(regrain(scene, source, settings), regrain(scene, source, settings))

    def test_monochrome_grain_stays_monochrome(self):
        scene = make_scene(4)
        found = regrain(scene, grainy(scene))
        assert (found - found.mean(dim=1, keepdim=True)).abs().max() < 1e-5

    def test_each_shot_has_its_own_and_a_lone_frame_its_neighbours(self):
        scene = make_scene(9)
        source = torch.cat([grainy(scene[:4], strength=0.01), grainy(scene[4:8], strength=0.05), scene[8:]])
        found = regrain(scene, source, shots=(Shot(0, 4), Shot(4, 8), Shot(8, 9)))
        made = [(found - scene)[a:b].std() for a, b in ((0, 4), (4, 8), (8, 9))]
        assert abs(float(made[1] / made[0]) - 5) < 0.8
        assert abs(float(made[2] / made[1]) - 1) < 0.15

    def test_missing_grain(self):
        model = MeasuredGrain(
            strength=torch.full((16,), 0.05), autocorrelation=torch.ones(17, 17), covariance=torch.eye(3)
        )
        left = MeasuredGrain(
            strength=torch.full((16,), 0.03), autocorrelation=torch.ones(17, 17), covariance=torch.eye(3)
        )
        assert torch.allclose(missing_grain(model, left).strength, torch.full((16,), 0.04))
        assert missing_grain(left, model).strength.max() == 0
        assert missing_grain(model, None) is model


class TestRefusals:
    @pytest.mark.parametrize("wrong", [{"strength": 2.5}, {"seed": -1}])
    def test_settings(self, wrong):
        with pytest.raises(SettingsError, match=f"grain {next(iter(wrong))}"):
            RegrainSettings(**wrong)

    def test_sizes(self):
        with pytest.raises(SettingsError, match="must be alike"):
            regrain(torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 32, 32))

"""Each family of defects keeps to its stated statistics."""

import math

import numpy as np
import pytest
import torch

from vldm_core.ageing import (
    DirtModel,
    FadingModel,
    FlickerModel,
    GrainModel,
    HairModel,
    LineModel,
    ScratchLine,
    SimulationSettings,
    Simulator,
    WeaveModel,
    simulate,
)
from vldm_core.ageing.defects.dirt import DirtLayer
from vldm_core.ageing.defects.hair import HairLayer
from vldm_core.ageing.defects.scratches import LineLayer
from vldm_core.ageing.look.weave import WeaveLayer
from vldm_core.ageing.randomness import Autoregressive, SmoothNoise


def grey(frames: int, level: float = 0.5, height: int = 120, width: int = 160) -> torch.Tensor:
    return torch.full((frames, 3, height, width), level)


def test_autoregressive_series_has_unit_variance_and_the_stated_correlation():
    series = Autoregressive(7, "test", rho=0.6, channels=40)
    values = np.stack([series.at(index) for index in range(-50, 350)])
    assert values.var() == pytest.approx(1, abs=0.05)
    assert (values[1:] * values[:-1]).mean() == pytest.approx(0.6, abs=0.05)


def test_smooth_noise_is_continuous_and_the_same_on_either_side():
    noise = SmoothNoise(7, "test", pitch=10)
    positions = np.arange(-2000.0, 2000.0) * 0.25
    values = noise.at(positions)[:, 0]
    assert np.abs(np.diff(values)).max() < 0.35
    assert np.array_equal(noise.at(positions[1000:1100])[:, 0], values[1000:1100])


class TestDirt:
    def test_counts_sizes_and_lives(self):
        model = DirtModel(rate=30, cluster_share=0, white_share=0.25, lasting_share=0.05)
        layer = DirtLayer(model, 3, 480, 640)
        frames = [layer.particles(index) for index in range(200)]
        born = [layer._born(index) for index in range(200)]
        counts = np.array([len(particles) for particles in born])
        assert counts.mean() == pytest.approx(30, rel=0.06)
        assert counts.var() == pytest.approx(30, rel=0.35)  # Poisson: the variance is the mean
        particles = [particle for group in born for particle in group]
        sizes = np.array([particle.size for particle in particles])
        assert sizes.min() >= 2 and sizes.max() <= 25
        assert np.median(sizes) == pytest.approx(4.5, rel=0.08)
        opacity = np.array([particle.opacity for particle in particles])
        assert opacity.min() >= 0.4 and opacity.max() <= 1
        assert np.mean([particle.white for particle in particles]) == pytest.approx(0.25, abs=0.03)
        lasting = [particle for particle in particles if particle.life > 1]
        assert len(lasting) / len(particles) == pytest.approx(0.05, abs=0.015)
        assert {particle.life for particle in lasting} == {2, 3}
        one = next(particle for particle in born[50] if particle.life == 1)
        three = next(particle for group in born[:100] for particle in group if particle.life == 3)
        birth = next(index for index in range(100) if three in born[index])
        assert one in frames[50] and one not in frames[51]
        assert [three in frames[birth + age] for age in range(4)] == [True, True, True, False]

    def test_white_share_is_drawn_per_film_within_the_measured_range(self):
        shares = [DirtLayer(DirtModel(), seed, 480, 640).white_share for seed in range(40)]
        assert min(shares) >= 0.18 and max(shares) <= 0.88
        assert max(shares) - min(shares) > 0.4

    def test_dark_dirt_absorbs_in_proportion_and_white_dirt_lightens(self):
        dark = SimulationSettings(dirt=DirtModel(rate=40, white_share=0.0)).only("dirt")
        one, two = (simulate(grey(3, level), dark, seed=5).frames for level in (0.4, 0.8))
        assert torch.allclose(one / 0.4, two / 0.8, atol=1e-5)
        assert one.max() <= 0.4 + 1e-6 and one.min() < 0.1
        white = simulate(
            grey(3, 0.4), SimulationSettings(dirt=DirtModel(rate=40, white_share=1.0)).only("dirt"), seed=5
        )
        assert white.frames.min() >= 0.4 - 1e-6 and white.frames.max() > 0.85

    def test_size_scales_with_the_height(self):
        settings = SimulationSettings(dirt=DirtModel(rate=40)).only("dirt")
        shares = [
            simulate(grey(12, height=height, width=height * 4 // 3), settings, seed=5)
            .masks["dirt"]
            .gt(0.5)
            .float()
            .mean()
            for height in (240, 720)
        ]
        assert shares[0] == pytest.approx(shares[1], rel=0.25)


class TestHair:
    def test_gate_hair_stays_at_its_place_for_several_frames(self):
        layer = HairLayer(HairModel(transient_rate=0, gate_count=1), 2, 480, 640)
        hairs = layer.between(0, 3000)
        lives = [hair.last - hair.first for hair in hairs]
        assert min(lives) >= 2 and max(lives) <= 200
        for hair in hairs:
            assert hair.in_gate and not hair.white
            assert min(hair.x, hair.y, 639 - hair.x, 479 - hair.y) == 0
            assert 20 <= hair.length <= 200
        seen = np.mean([len(layer.between(index, index + 1)) for index in range(3000)])
        assert seen == pytest.approx(1, abs=0.35)
        long = max(hairs, key=lambda hair: hair.last - hair.first)
        settings = SimulationSettings(hair=HairModel(transient_rate=0, gate_count=1, sway=1.0)).only("hair")
        masks = simulate(grey(6, height=480, width=640), settings, seed=2, first=long.first).masks["hair"] > 0.5
        overlap = (masks[0] & masks[5]).sum() / masks[0].sum()
        assert overlap > 0.2
        assert not torch.equal(masks[0], masks[5])

    def test_lint_on_the_print_lasts_one_frame(self):
        layer = HairLayer(HairModel(transient_rate=0.5, gate_count=0), 2, 480, 640)
        hairs = layer.between(0, 1000)
        assert len(hairs) == pytest.approx(500, rel=0.15)
        assert all(hair.last == hair.first + 1 for hair in hairs)


class TestLines:
    def test_statistics_of_the_population(self):
        model = LineModel(count=4, largest_tilt=2)
        layer = LineLayer(model, 1, 480, 640)
        visible = [layer.between(index, index + 1) for index in range(0, 20000, 10)]
        assert np.mean([len(lines) for lines in visible]) == pytest.approx(4, rel=0.12)
        kinds: list[str] = [line.kind for lines in visible for line in lines]
        for kind, share in (("fixed", 0.5), ("drifting", 0.3), ("transient", 0.2)):
            assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.08)
        for line in layer.between(0, 20000):
            life = line.last - line.first
            assert 2 <= abs(line.depth) <= 60 and 1 <= line.width <= 5 and abs(line.tilt) <= 2
            assert life <= 3 if line.kind == "transient" else life >= 20
            if line.kind == "drifting":
                assert 0.05 <= abs(line.drift) <= 1 or 2 <= line.sway <= 20
            else:
                assert line.drift == line.sway == 0
        # Births and deaths fall anywhere, and the film is scratched from its first frame on.
        assert any(line.first < 0 for seed in range(5) for line in LineLayer(model, seed, 480, 640).between(0, 1))
        assert len({line.first % 64 for line in layer.between(0, 20000)}) > 50

    def test_fixed_lines_stay_within_half_a_pixel(self):
        line = ScratchLine(key=9, kind="fixed", x=70, depth=-10, width=2, first=0, last=400, jitter=0.5)
        layer = LineLayer(LineModel(count=0, pinned=(line,)), 1, 480, 640)
        positions = [layer.position(line, index) for index in range(400)]
        assert max(abs(x - 70) for x in positions) <= 0.5
        assert np.std(positions) > 0.1

    def test_the_cross_profile_is_as_stated(self):
        line = ScratchLine(key=9, kind="fixed", x=80, depth=-20, width=4, first=0, last=5)
        settings = SimulationSettings(lines=LineModel(count=0, pinned=(line,))).only("lines")
        aged = simulate(grey(1), settings, seed=1)
        profile = (aged.frames[0, 0] - 0.5) * 255
        depths = profile[:, 80]
        assert depths.min() >= -20.01 and depths.max() <= -11.9  # modulated along the film, never below 0.6
        assert torch.allclose(profile[:, 82], depths / 2, atol=0.05)
        assert torch.equal(aged.masks["lines"][0] >= 0.5, (profile / -20).clamp(0, 1) >= 0.5)
        assert not profile[:, :70].any() and not profile[:, 90:].any()

    def test_a_groove_has_rims_of_opposite_sign(self):
        line = ScratchLine(key=9, kind="fixed", x=80, depth=-20, width=4, first=0, last=5, profile="double_edge")
        settings = SimulationSettings(lines=LineModel(count=0, pinned=(line,))).only("lines")
        profile = simulate(grey(1), settings, seed=1).frames[0, 0].mean(dim=0) - 0.5
        assert profile[80] < -0.05
        assert profile[85:90].max() > 0.005 and profile[72:77].max() > 0.005

    def test_tilt_and_ends(self):
        line = ScratchLine(key=9, kind="fixed", x=80, depth=40, width=2, tilt=5, first=0, last=5, top=0.25, bottom=0.75)
        settings = SimulationSettings(lines=LineModel(count=0, pinned=(line,))).only("lines")
        mask = simulate(grey(1), settings, seed=1).masks["lines"][0]
        rows = mask.amax(dim=1).gt(0.3).nonzero()[:, 0]
        assert abs(int(rows.min()) - 30) <= 2 and abs(int(rows.max()) - 90) <= 2
        top, bottom = mask[35].argmax(), mask[85].argmax()
        assert float(bottom - top) == pytest.approx(50 * math.tan(math.radians(5)), abs=1.01)

    def test_gaps_take_about_the_stated_share(self):
        line = ScratchLine(key=9, kind="fixed", x=80, depth=40, width=3, first=0, last=400, gaps=0.3)
        settings = SimulationSettings(lines=LineModel(count=0, pinned=(line,))).only("lines")
        simulator = Simulator(settings, 1, 120, 160)
        present = [float((simulator.line_masks(index)["fixed"][:, 80] > 0.3).float().mean()) for index in range(400)]
        assert np.mean(present) == pytest.approx(0.7, abs=0.06)

    def test_scratches_stay_on_the_film_while_the_camera_weaves_and_the_shot_changes(self):
        line = ScratchLine(key=9, kind="fixed", x=80, depth=50, width=3, first=0, last=40)
        settings = SimulationSettings(
            lines=LineModel(count=0, pinned=(line,)), camera_weave=WeaveModel(horizontal=12, vertical=12)
        ).only("lines", "camera_weave")
        clip = torch.cat([grey(20, 0.3), grey(20, 0.6)])
        clip[:, :, :, 40:44] += 0.2  # a vertical of the scene
        aged = simulate(clip, settings, seed=1)
        centres, verticals = [], []
        for index in range(40):
            row = aged.frames[index, 0, 60]
            centres.append(int(row[70:92].argmax()) + 70)
            verticals.append(float(row[20:64].argmax()) + 20)
        assert set(centres) == {80}
        assert max(verticals) - min(verticals) >= 3
        assert (aged.masks["lines"][:, :, 80] > 0.5).float().mean() > 0.95

    def test_masks_by_kind_add_up_to_the_mask(self):
        settings = SimulationSettings(lines=LineModel(count=8, double_edge_share=0)).only("lines")
        simulator = Simulator(settings, 3, 120, 160)
        for index in range(0, 200, 40):
            mask = simulator.frame(index, grey(1)[0]).masks["lines"]
            by_kind = torch.stack(list(simulator.line_masks(index).values())).amax(dim=0)
            together = (mask >= 0.5) ^ (by_kind >= 0.5)
            assert together.float().mean() < 0.002  # crossing lines of opposite sign may differ


class TestExposureAndPlace:
    def test_flicker_has_the_stated_strength(self):
        simulator = Simulator(SimulationSettings(flicker=FlickerModel(gain=0.05, rho=0.5)), 1, 120, 160)
        gains = np.array([simulator.exposure(index).gain for index in range(3000)])
        assert gains.std() == pytest.approx(0.05, rel=0.1)
        assert np.corrcoef(gains[1:], gains[:-1])[0, 1] == pytest.approx(0.5, abs=0.07)

    def test_spatial_flicker_is_smooth(self):
        settings = SimulationSettings(flicker=FlickerModel(gain=0, gamma=0, spatial=0.08)).only("flicker")
        frames = simulate(grey(20), settings, seed=1).frames[:, 0]
        assert 0.015 < frames.std() < 0.06
        assert (frames[:, :, 1:] - frames[:, :, :-1]).abs().max() < 0.008

    def test_weave_has_the_stated_strength_and_moves_the_scene_as_reported(self):
        layer = WeaveLayer(WeaveModel(horizontal=0.4, vertical=1.0, rotation=0.05), 4, "test", 480, 640)
        places = [layer.displacement(index) for index in range(3000)]
        assert np.std([place.dx for place in places]) == pytest.approx(0.4, rel=0.1)
        assert np.std([place.dy for place in places]) == pytest.approx(1.0, rel=0.1)
        assert np.std([place.angle for place in places]) == pytest.approx(0.05, rel=0.1)
        settings = SimulationSettings(camera_weave=WeaveModel(horizontal=8, vertical=8, rotation=0)).only(
            "camera_weave"
        )
        simulator = Simulator(settings, 4, 120, 160)
        image = grey(1)[0].clone()
        image[:, 50:53, 70:73] = 1
        for index in range(10):
            spot = simulator.frame(index, image).frame[0] - 0.5
            place = simulator.camera_displacement(index)
            rows, columns = torch.meshgrid(torch.arange(120.0), torch.arange(160.0), indexing="ij")
            assert float((spot * columns).sum() / spot.sum()) == pytest.approx(71 + place.dx, abs=0.1)
            assert float((spot * rows).sum() / spot.sum()) == pytest.approx(51 + place.dy, abs=0.1)


class TestGrainAndFading:
    def test_grain_has_the_stated_strength_and_peaks_in_the_mid_tones(self):
        settings = SimulationSettings(grain=GrainModel(sigma=5, correlation=4)).only("grain")
        mid, dark = (simulate(grey(4, level, 240, 320), settings, seed=1).frames * 255 for level in (0.5, 0.1))
        assert mid.std() == pytest.approx(5, rel=0.05)
        assert dark.std() < 0.65 * mid.std()
        noise = mid[:, 0] - mid[:, 0].mean()
        # 4 px at 480 lines are 2 px here: correlation exp(-1) at that distance.
        near = (noise[:, :, 2:] * noise[:, :, :-2]).mean() / noise.var()
        assert near == pytest.approx(math.exp(-1), abs=0.05)
        other = simulate(grey(1, 0.5, 240, 320), settings, seed=1, first=1).frames
        assert not torch.equal(other[0] * 255, mid[0])

    def test_colour_grain_differs_between_channels(self):
        frame = simulate(grey(1), SimulationSettings(grain=GrainModel(colour=1.0)).only("grain"), seed=1).frames[0]
        correlation = np.corrcoef(frame.reshape(3, -1).numpy())
        assert abs(correlation[0, 1]) < 0.05

    def test_fading_works_in_density(self):
        model = FadingModel(contrast=(0.8, 0.8, 0.8), offset=(0.0, 0.1, 0.2), drift=0)
        frame = simulate(grey(1, 0.25), SimulationSettings(fading=model).only("fading"), seed=1).frames[0]
        for channel, offset in enumerate((0.0, 0.1, 0.2)):
            density = 0.8 * -math.log10(0.25) + offset
            assert frame[channel].numpy() == pytest.approx(10**-density, rel=1e-4)

    def test_fading_drifts_slowly(self):
        model = FadingModel(drift=0.1, drift_period=100)
        means = simulate(grey(300, 0.5, 16, 16), SimulationSettings(fading=model).only("fading"), seed=1).frames
        course = means.mean(dim=(1, 2, 3))
        assert course.max() - course.min() > 0.03
        assert (course[1:] - course[:-1]).abs().max() < 0.01

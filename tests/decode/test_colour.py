"""Colour correction: the published per-frame fixes, and shot statistics that leave the flicker out."""

from typing import Any

import kornia
import pytest
import torch

from tests.oracles import load_oracle
from vldm_core.decode.colour import (
    ColourAnalyser,
    ColourSettings,
    adain_fix,
    apply_colour,
    low_frequencies,
    match_colour,
    wavelet_fix,
)
from vldm_core.decode.colour_space import lab_from_rgb, rgb_from_lab
from vldm_core.errors import SettingsError
from vldm_core.video.shots import Shot

METHODS = ("wavelet", "adain", "lab")


def make_scene(frames=36, height=48, width=64, seed=0):
    """A coloured, slowly panning scene (T, 3, H, W) within 0.2 … 0.7."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8, (width + frames) // 8 + 1, generator=generator)
    whole = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(0, 1)
    return torch.cat([whole[..., t : t + width] for t in range(frames)]) * 0.5 + 0.2


def flickering(frames, depth=0.12, seed=1):
    """The same with the brightness of each frame changed by chance."""
    gain = 1 + depth * torch.randn(len(frames), 1, 1, 1, generator=torch.Generator().manual_seed(seed))
    return (frames * gain).clamp(0, 1)


def flicker(frames):
    """Standard deviation of the change of mean log brightness from frame to frame."""
    return float(frames.mean(dim=(1, 2, 3)).log().diff().std())


class TestPublishedFixes:
    def test_oracle(self):
        oracle = load_oracle("colour_fix")
        content, style = oracle.input("content"), oracle.input("style")
        oracle.check("wavelet", wavelet_fix(content, style))
        oracle.check("adain", adain_fix(content, style))
        oracle.check("content.low", low_frequencies(content), kind="mid")
        oracle.check("style.high", style - low_frequencies(style), kind="mid")

    def test_frame_statistics_are_those_fixes(self):
        method: Any
        content, style = make_scene(3), make_scene(3, seed=5)
        for method, fix in (("wavelet", wavelet_fix), ("adain", adain_fix)):
            found = match_colour(content, style, ColourSettings(method=method, statistics="frame"))
            assert torch.allclose(found, fix(content, style).clamp(0, 1), atol=1e-6)

    def test_one_frame_makes_no_difference_between_the_statistics(self):
        method: Any
        content, style = make_scene(1), make_scene(1, seed=5)
        for method in METHODS:
            shot = match_colour(content, style, ColourSettings(method=method))
            frame = match_colour(content, style, ColourSettings(method=method, statistics="frame"))
            # The wavelet correction of a shot is kept on a coarser grid.
            assert (shot - frame).abs().max() < (1.2e-2 if method == "wavelet" else 1e-5), method
            assert (shot - frame).abs().mean() < 5e-4, method


class TestShotStatistics:
    @pytest.mark.parametrize("method", METHODS)
    def test_flicker_of_the_reference_stays_out_and_its_colour_comes_in(self, method):
        film = make_scene()
        cast = torch.tensor([0.08, -0.04, -0.06])[None, :, None, None]
        content, reference = (film + cast).clamp(0, 1), flickering(film)
        shot = match_colour(content, reference, ColourSettings(method=method))
        frame = match_colour(content, reference, ColourSettings(method=method, statistics="frame"))
        assert flicker(frame) > 0.5 * flicker(reference), "the frame statistics should show what is to be avoided"
        assert flicker(shot) < 0.1 * flicker(frame)
        wanted = reference.mean(dim=(0, 2, 3))
        assert torch.allclose(shot.mean(dim=(0, 2, 3)), wanted, atol=0.01)
        assert (content.mean(dim=(0, 2, 3)) - wanted).abs().max() > 0.04
        assert (shot - film).square().mean() < 0.3 * (content - film).square().mean()

    def test_wavelet_follows_a_fade(self):
        film = make_scene(96)
        fade = torch.linspace(0.3, 1.0, 96)[:, None, None, None]
        found = match_colour(film, film * fade, ColourSettings(period=24))
        assert (low_frequencies(found) - low_frequencies(film * fade)).abs().mean() < 0.01

    @pytest.mark.parametrize("method", METHODS)
    def test_a_cut_keeps_the_shots_apart(self, method):
        film = make_scene(20)
        reference = torch.cat([film[:12] * 0.7, (film[12:] * 1.2).clamp(0, 1)])
        settings = ColourSettings(method=method)
        both = match_colour(film, reference, settings, shots=(Shot(0, 12), Shot(12, 20)))
        alone = torch.cat(
            [match_colour(film[:12], reference[:12], settings), match_colour(film[12:], reference[12:], settings)]
        )
        assert torch.equal(both, alone)
        together = match_colour(film, reference, settings)
        assert (both - together).abs().max() > 0.02

    def test_streaming_needs_few_maps(self):
        film = make_scene(97)
        analyser = ColourAnalyser(ColourSettings(period=48), 97)
        for frame in film:
            analyser.update(frame, frame + 0.1)
        track = analyser.finish()
        assert track.knots.shape == (3, 3, 24, 32)
        found = apply_colour(film[5], film[5] + 0.1, track, 5)
        assert torch.allclose(found, film[5] + 0.1, atol=1e-5)

    def test_refuses_a_shot_that_is_not_complete(self):
        with pytest.raises(SettingsError, match="0 frames of a shot of 3"):
            ColourAnalyser(ColourSettings(), 3).finish()


class TestLab:
    def test_round_trip_and_known_colours(self):
        frames = torch.rand(2, 3, 16, 16)
        assert torch.allclose(rgb_from_lab(lab_from_rgb(frames)), frames, atol=1e-5)
        colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]])[:, :, None, None]
        wanted = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]])
        assert torch.allclose(lab_from_rgb(colours)[..., 0, 0], wanted, atol=0.02)

    def test_it_is_that_of_kornia_but_grey_has_no_colour_at_all(self):
        frames = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(4))
        lab = lab_from_rgb(frames)
        assert torch.allclose(lab, kornia.color.rgb_to_lab(frames), atol=0.01)
        assert torch.allclose(rgb_from_lab(lab), kornia.color.lab_to_rgb(lab, clip=False), atol=2e-4)
        grey = torch.linspace(0, 1, 64).expand(3, 1, 64)
        assert lab_from_rgb(grey)[1:].abs().max() < 1e-4

    def test_histograms_are_matched_and_order_is_kept(self):
        content, style = make_scene(2), make_scene(2, seed=9) ** 1.5
        found_rgb = match_colour(content, style, ColourSettings(method="lab"))
        found = lab_from_rgb(found_rgb.double())
        wanted, before = lab_from_rgb(style.double()), lab_from_rgb(content.double())
        shares = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
        reached = found[:, 0].flatten().quantile(shares)
        assert (reached - wanted[:, 0].flatten().quantile(shares)).abs().max() < 1.0
        # Colours that would leave sRGB are clipped, which may change their lightness.
        inside = ((found_rgb > 0.001) & (found_rgb < 0.999)).all(dim=1)
        order = before[:, 0][inside].argsort()
        assert found[:, 0][inside][order].diff().min() > -0.1

    def test_lightness_can_be_left(self):
        content, style = make_scene(2), make_scene(2, seed=9) ** 1.5
        found = match_colour(content, style, ColourSettings(method="lab", lightness=False))
        inside = ((found > 0.001) & (found < 0.999)).all(dim=1)
        change = lab_from_rgb(found)[:, 0] - lab_from_rgb(content)[:, 0]
        assert change[inside].abs().max() < 0.05


class TestMonochrome:
    def grey(self, frames=6):
        """Black and white film with the colour noise of a scan."""
        picture = make_scene(frames).mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        return (picture + 0.02 * torch.randn(picture.shape)).clamp(0, 1)

    @pytest.mark.parametrize("method", ["off", *METHODS])
    def test_stays_exactly_grey(self, method):
        reference = self.grey()
        tinted = (reference + torch.tensor([0.05, 0, -0.05])[:, None, None]).clamp(0, 1)
        found = match_colour(tinted, reference, ColourSettings(method=method))
        assert torch.equal(found[:, 0], found[:, 1]) and torch.equal(found[:, 1], found[:, 2])
        assert found.std() > 0.05

    def test_colour_is_not_taken_for_grey(self):
        film = make_scene(4)
        found = match_colour(film, film, ColourSettings())
        assert torch.allclose(found, film, atol=1e-5)
        faint = film.mean(dim=1, keepdim=True) + torch.tensor([0.03, 0, -0.03])[:, None, None]
        assert not torch.equal(*match_colour(faint, faint)[:, :2].unbind(dim=1))

    def test_one_decision_for_the_film(self):
        # A dark shot without colour does not lose what little the prior keeps while the rest of the film is coloured.
        film = torch.cat([make_scene(4), self.grey(4)])
        shots = (Shot(0, 4), Shot(4, 8))
        assert not torch.equal(*match_colour(film, film, shots=shots)[4:, :2].unbind(dim=1))

    def test_can_be_forced_or_forbidden(self):
        film, grey = make_scene(2), self.grey(2)
        assert torch.equal(*match_colour(film, film, ColourSettings(monochrome="on"))[:, :2].unbind(dim=1))
        assert not torch.equal(*match_colour(grey, grey, ColourSettings(monochrome="off"))[:, :2].unbind(dim=1))


class TestSettings:
    def test_off_and_strength(self):
        content, style = make_scene(3), make_scene(3, seed=5)
        assert torch.equal(match_colour(content, style, ColourSettings(method="off")), content)
        assert torch.equal(match_colour(content, style, ColourSettings(strength=0.0)), content)
        half = match_colour(content, style, ColourSettings(method="adain", strength=0.5))
        full = match_colour(content, style, ColourSettings(method="adain"))
        assert torch.allclose(half, (content + full) / 2, atol=0.02)

    @pytest.mark.parametrize(
        "wrong",
        [{"method": "cubic"}, {"statistics": "film"}, {"monochrome": "no"}],
    )
    def test_refuses(self, wrong):
        with pytest.raises(SettingsError, match=f"colour {next(iter(wrong))}"):
            ColourSettings(**wrong)

    def test_refuses_frames_that_differ(self):
        with pytest.raises(SettingsError, match="must be alike"):
            match_colour(torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4))

    def test_progress_counts_both_passes(self):
        seen = []
        film = make_scene(3)
        match_colour(film, film, progress=lambda phase, done, total, preview=None: seen.append((phase, done, total)))
        assert seen[2] == ("match colour: measure", 3, 3) and seen[-1] == ("match colour", 3, 3)
        assert len(seen) == 6

"""Flicker goes, what belongs to the film stays."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.film.flicker.brightness import compare, displacement, reduce
from vldm_core.film.flicker.model import BrightnessChange, BrightnessModel, spline_basis
from vldm_core.film.flicker.path import believed
from vldm_core.film.flicker.removal import FlickerAnalyser, FlickerSettings, FlickerTrack, apply_flicker
from vldm_core.film.motion.scene import FrameMotion

from ...testers import windows_agree

HEIGHT, WIDTH = 96, 128


def picture(height=HEIGHT, width=WIDTH, seed=0):
    """A smooth random picture (3, height, width), 0.1..0.8."""
    generator = np.random.default_rng(seed)
    planes = [cv2.GaussianBlur(generator.normal(size=(height, width)), (0, 0), 4) for _ in range(3)]
    common = cv2.GaussianBlur(generator.normal(size=(height, width)), (0, 0), 6)
    image = np.stack([0.3 * plane / plane.std() + common / common.std() for plane in planes])
    return torch.from_numpy((0.45 + 0.12 * image).clip(0.1, 0.8).astype(np.float32))


def still(count=30, seed=0):
    return picture(seed=seed)[None].repeat(count, 1, 1, 1)


def flickered(frames, *, gain=0.05, contrast=0.03, field=0.0, seed=1):
    generator = np.random.default_rng(seed)
    count, _, height, width = frames.shape
    result = frames.clone()
    for t in range(count):
        grid = (1 + field * generator.normal(size=(4, 4))).astype(np.float32)
        surface = torch.from_numpy(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
        factor = 1 + gain * generator.normal()
        result[t] = frames[t] ** float(np.exp(contrast * generator.normal())) * factor * surface
    return result.clamp(0, 1)


def shift_motion(dx, dy=0.0):
    full = np.ones((6, 16), np.float32)
    return FrameMotion(
        dx=dx, dy=dy, angle=0.0, grid_dx=full * dx, grid_dy=full * dy, grid_confidence=full, confidence=1.0
    )


def analyse(frames, motions=None, options=None):
    analyser = FlickerAnalyser(options)
    for t, frame in enumerate(frames):
        analyser.update(frame, motions[t] if motions else None)
    return analyser.finish()


def deflicker(frames, motions=None, options=None):
    return apply_flicker(frames, analyse(frames, motions, options))


def unrest(frames, clean, cells=1):
    """RMS change from frame to frame of the log brightness relative to the clean film, per cell."""
    pooled = [torch.nn.functional.adaptive_avg_pool2d(part.mean(1), cells) for part in (frames, clean)]
    return float(torch.log(pooled[0] / pooled[1]).diff(dim=0).square().mean().sqrt())


def psnr(first, second):
    return float(-10 * torch.log10((first - second).square().mean() + 1e-12))


def test_global_flicker_is_taken_out():
    clean = still()
    worn = flickered(clean)
    mended = deflicker(worn)
    assert unrest(worn, clean) > 0.04
    assert unrest(mended, clean) < unrest(worn, clean) / 10
    assert psnr(mended, clean) > psnr(worn, clean) + 6


def test_spatial_flicker_is_taken_out_if_asked():
    clean = still()
    worn = flickered(clean, gain=0.02, field=0.05)
    mended = deflicker(worn)
    whole = deflicker(worn, options=FlickerSettings(spatial=False))
    assert unrest(mended, clean, 6) < unrest(worn, clean, 6) / 4
    assert unrest(whole, clean, 6) > unrest(worn, clean, 6) / 2


def test_clean_film_passes():
    grain = torch.randn(30, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 0.01
    clean = (still() + grain).clamp(0, 1)
    assert psnr(deflicker(clean), clean) > 55


def test_fade_is_kept():
    fade = torch.from_numpy(np.interp(np.arange(60), [10, 45], [0.03, 1.0]).astype(np.float32)).view(-1, 1, 1, 1)
    clean = still(60) * fade
    assert (deflicker(clean) - clean).abs().max() < 0.01
    mended = deflicker(flickered(clean, contrast=0))
    bright = clean.mean((1, 2, 3))
    assert (mended.mean((1, 2, 3)) - bright).abs().max() < 0.08 * bright.max()


def test_lamp_switched_on_is_kept():
    clean = still(40)
    clean[:20] *= 0.5
    worn = flickered(clean, gain=0.02, contrast=0)
    levels = deflicker(worn).mean((1, 2, 3)) / clean.mean((1, 2, 3))
    assert (levels - levels.mean()).abs().max() < 0.03


def test_flash_is_taken_out_and_leaves_its_neighbours_alone():
    clean = still(31)
    flash = clean.clone()
    flash[15] *= 1.2
    mended = deflicker(flash)
    assert (mended[15] - clean[15]).abs().mean() < 0.005
    others = torch.arange(31) != 15
    assert (mended[others] - clean[others]).abs().max() < 0.005


def test_flash_to_white_does_not_break_the_path():
    worn = flickered(still(31), contrast=0)
    worn[15] = 1
    track = analyse(worn)
    assert np.isfinite(track.gain).all() and track.gain[15] == pytest.approx(0, abs=0.2)
    kept = [t for t in range(31) if t != 15]
    assert unrest(apply_flicker(worn, track)[kept], still(30)) < unrest(worn[kept], still(30)) / 5


def test_pan_over_a_bright_wall_is_not_flicker():
    wide = picture(HEIGHT, WIDTH + 160, seed=3) * torch.linspace(0.5, 1.2, WIDTH + 160)
    frames = torch.stack([wide[:, :, 4 * t : 4 * t + WIDTH] for t in range(40)])
    motions = [None] + [shift_motion(-4.0)] * 39
    level = frames.mean((1, 2, 3))
    mended = deflicker(frames, motions).mean((1, 2, 3))
    assert level[-1] > 1.3 * level[0]
    assert (mended / level - 1).abs().max() < 0.01


def test_object_that_enters_is_not_flicker():
    frames = still(40)
    for t in range(10, 40):
        frames[t, :, 20:80, : min(3 * (t - 9), 50)] = 0.95
    mended = deflicker(frames)
    assert (mended[:, :, :, 64:] - frames[:, :, :, 64:]).abs().max() < 0.02


def test_whites_clipped_by_the_scanner_stay_white():
    clean = still(30)
    worn = flickered(clean, gain=0.08, contrast=0)
    worn[:, :, 30:60, 40:90] = 1
    mended = deflicker(worn)
    assert mended[:, :, 34:56, 44:86].min() > 0.999
    assert unrest(mended[..., :30], clean[..., :30]) < unrest(worn[..., :30], clean[..., :30]) / 5


def test_strength():
    worn = flickered(still())
    assert torch.equal(deflicker(worn, options=FlickerSettings(strength=0)), worn)
    half = analyse(worn, options=FlickerSettings(strength=0.5))
    assert np.allclose(2 * half.gain, analyse(worn).gain, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_short_shots(count):
    frames = flickered(still(count))
    result = deflicker(frames)
    assert result.shape == frames.shape and torch.isfinite(result).all()
    if count == 1:
        assert torch.equal(result, frames)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_flat_frames_pass(value):
    frames = torch.full((6, 3, 40, 50), value)
    assert torch.equal(deflicker(frames), frames)


def test_black_frames_part_the_shot():
    frames = flickered(still(40))
    frames[18:22] = 0
    track = analyse(frames)
    result = apply_flicker(frames, track)
    assert torch.equal(result[18:22], frames[18:22])
    assert unrest(result[:18], still(18)) < unrest(frames[:18], still(18)) / 5
    assert unrest(result[22:], still(18)) < unrest(frames[22:], still(18)) / 5


@settings(max_examples=8)
@given(cuts=st.lists(st.integers(1, 11), max_size=4), seed=st.integers(0, 100))
def test_chunks_give_the_same_bits(cuts, seed):
    generator = np.random.default_rng(seed)
    track = FlickerTrack(
        gain=generator.normal(size=12).astype(np.float32) * 0.1,
        contrast=generator.normal(size=12).astype(np.float32) * 0.05,
        field=generator.normal(size=(12, 6, 6)).astype(np.float32) * 0.05,
        white=np.ones(12, np.float32),
        brightness=np.zeros(12, np.float32),
    )
    frames = torch.rand(12, 3, 20, 33, generator=torch.Generator().manual_seed(seed))
    whole = apply_flicker(frames, track)
    assert whole.min() >= 0 and whole.max() <= 1
    windows_agree(lambda window, kept: apply_flicker(frames[window], track, window.start), whole, cuts)


def test_track_survives_pickling_and_input_is_left_alone():
    worn = flickered(still(10))
    before = worn.clone()
    track = pickle.loads(pickle.dumps(analyse(worn)))
    assert track.frame_count == 10
    assert torch.equal(apply_flicker(worn, track), deflicker(worn))
    assert torch.equal(worn, before)


def test_same_film_gives_same_track():
    worn = flickered(still(12), field=0.03)
    first, second = analyse(worn), analyse(worn)
    assert np.array_equal(first.gain, second.gain) and np.array_equal(first.field, second.field)


def test_wrong_input_is_refused():
    track = analyse(still(4))
    with pytest.raises(SettingsError, match="track has 4"):
        apply_flicker(still(3), track, 2)
    with pytest.raises(SettingsError, match="frames"):
        apply_flicker(torch.zeros(2, 1, 8, 8), track)


@given(count=st.integers(4, 12), size=st.integers(1, 200))
def test_spline_basis_is_a_partition_of_unity(count, size):
    basis = spline_basis(count, size)
    assert basis.shape == (size, count) and (basis >= 0).all()
    assert np.allclose(basis.sum(1), 1, atol=1e-5)


def test_a_known_change_is_found():
    before = reduce(255 * picture(192, 256)[1].numpy())
    after = 128 * np.exp(0.07) * (before / 128) ** 1.05
    cells = compare(before, after.astype(np.float32), displacement(None, 192, 256))
    change = BrightnessModel(0, 0).fit(cells, 0.0)
    assert change.values[0] == pytest.approx(0.07, abs=0.003)
    assert change.values[1] == pytest.approx(0.05, abs=0.01)
    assert change.whole_error < 0.01


def test_gain_and_contrast_of_a_dark_scene_are_taken_out_together():
    """Each of them is doubtful far from the pivot; what they do to the scene is not."""
    clean = still() * 0.35
    grain = torch.randn(30, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) * 0.004
    worn = (flickered(clean, gain=0.0, contrast=0.06) + grain).clamp(0, 1)
    assert unrest(deflicker(worn), clean) < unrest(worn, clean) / 5


def person_passes(frames, level=0.8, seed=7):
    """A large body with texture walks through the picture."""
    texture = picture(seed=seed)
    body = (texture - texture.mean()) * 0.8 + level
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    result = frames.clone()
    for t in range(len(frames)):
        x = 6 * t - 30
        inside = ((rows - 60) / 48.0) ** 2 + ((columns - x) / 30.0) ** 2 < 1
        result[t] = torch.where(inside, torch.roll(body, x, dims=-1), frames[t])
    return result.clamp(0, 1)


def with_grain(frames, size=0.008):
    return (
        frames + torch.randn(len(frames), 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3)) * size
    ).clamp(0, 1)


@pytest.mark.parametrize("level", [0.2, 0.8])
def test_a_person_who_passes_moves_no_light(level):
    frames = with_grain(person_passes(still(30), level))
    assert (deflicker(frames) - frames).abs().max() < 0.01


def test_light_that_swings_is_no_flicker():
    swing = 0.15 * torch.sin(2 * torch.pi * torch.arange(40) / 10).view(-1, 1, 1, 1)
    side = torch.linspace(-1, 1, WIDTH).view(1, 1, 1, -1)
    frames = with_grain(still(40) * (1 + swing * side))
    assert (deflicker(frames) - frames).abs().mean() < 0.004


def test_the_dying_light_of_a_flash_stays():
    light = torch.ones(30)
    light[10:15] = torch.tensor([1.7, 1.5, 1.32, 1.2, 1.12])
    frames = with_grain((still(30) * 0.55 * light.view(-1, 1, 1, 1)).clamp(0, 1))
    change = (deflicker(frames) / frames.clamp(min=0.02)).mean((1, 2, 3))
    assert (change - 1).abs().max() < 0.02


def test_uneven_flicker_goes_although_a_person_passes():
    clean = person_passes(still(30))
    worn = flickered(clean, gain=0.02, contrast=0.0, field=0.05)
    assert unrest(deflicker(worn), clean, 6) < unrest(worn, clean, 6) / 2


def test_noise_of_the_contrast_does_not_make_a_smooth_light_restless():
    generator = np.random.default_rng(0)
    fast = np.zeros((40, 2))
    fast[:, 1] = 0.02 * generator.normal(size=40)
    level = -1.5
    fast[:, 0] = 0.05 * np.sin(2 * np.pi * np.arange(40) / 16) - fast[:, 1] * level
    sure = BrightnessChange(values=np.zeros(2), whole_error=0.001, field_error=0.0, level=level, level_spread=0.05)
    left = believed(fast, [sure] * 39)
    assert np.abs(left[:, 0] + left[:, 1] * level).max() < 0.005

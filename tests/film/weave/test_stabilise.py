"""Weave goes, camera moves stay, nothing is cropped."""

import pickle
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.film.motion.scene import FrameMotion, measure_motion
from vldm_core.film.weave.stabilise import (
    RADIUS,
    StabiliseSettings,
    WeaveAnalyser,
    WeaveTrack,
    apply_stabilise,
    warp_masks,
)
from vldm_core.video.luma import luma_array

from ...testers import windows_agree

HEIGHT, WIDTH = 120, 160


def scene(height, width, seed=0):
    """A textured picture (height, width, 3)."""
    generator = np.random.default_rng(seed)
    coarse, fine = (cv2.GaussianBlur(generator.normal(size=(height, width, 3)), (0, 0), s) for s in (8.0, 1.5))
    return np.clip(0.5 + 0.12 * coarse / coarse.std() + 0.08 * fine / fine.std(), 0, 1).astype(np.float32)


def film(positions, seed=0, margin=40):
    """Frames (T, 3, H, W) in which the scene lies at `positions` (T, 3): x, y, degrees."""
    # The scene lies at p in a frame when its centre is p from the middle.
    big = scene(HEIGHT + 2 * margin, WIDTH + 2 * margin, seed)
    frames = []
    for x, y, degrees in positions:
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        to = np.array([(WIDTH - 1) / 2 + x, (HEIGHT - 1) / 2 + y])
        centre = to - [x, y] + margin
        linear = np.array([[cos, -sin], [sin, cos]])
        matrix = np.hstack([linear, (to - linear @ centre)[:, None]])
        frames.append(cv2.warpAffine(big, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).clamp(0, 1).contiguous()


def weave(count, x=0.6, y=1.0, degrees=0.05, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)) * (x, y, degrees)


def exact_motions(positions):
    """Motion as a perfect measurement would give it."""
    full = np.ones((6, 16), np.float32)

    def motion(step):
        x, y, degrees = step
        return FrameMotion(
            dx=x, dy=y, angle=degrees, grid_dx=full * x, grid_dy=full * y, grid_confidence=full, confidence=1.0
        )

    return [None, *(motion(step) for step in np.diff(positions, axis=0))]


def follow(motions, options=None):
    analyser = WeaveAnalyser(options)
    for motion in motions:
        analyser.update(motion)
    return analyser.finish()


def jitter(positions):
    """RMS movement from frame to frame."""
    return np.sqrt(np.square(np.diff(positions, axis=0)).mean(axis=0))


def psnr(first, second):
    return float(-10 * torch.log10((first - second).square().mean() + 1e-12))


def test_weave_is_taken_out_of_a_static_shot():
    positions = weave(60)
    track = follow(exact_motions(positions))
    assert (jitter(positions + track.correction) < jitter(positions) / 10).all()


def test_measured_on_frames_and_filled_without_cropping():
    positions = weave(24)
    frames, steady = film(positions), film(np.zeros((24, 3)))
    lumas = [luma_array(frame) for frame in frames]
    motions = [None, *(measure_motion(a, b) for a, b in pairwise(lumas))]
    track = follow(motions)
    assert (jitter(positions + track.correction) < jitter(positions) / 4)[:2].all()
    result = apply_stabilise(frames, track)
    rest = (positions + track.correction).mean(axis=0)
    steady = film(np.tile(rest, (24, 1)))
    assert psnr(result, steady) > psnr(frames, steady) + 8
    border = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    border[3:-3, 3:-3] = False
    assert psnr(result[..., border], steady[..., border]) > psnr(frames[..., border], steady[..., border]) + 4


def test_border_comes_from_the_neighbours_that_see_it():
    positions = np.zeros((7, 3))
    positions[3] = (5.0, -4.0, 0.0)
    frames, steady = film(positions), film(np.zeros((7, 3)))
    track = follow(exact_motions(positions))
    result = apply_stabilise(frames, track)
    assert np.allclose(track.correction[3], (-5, 4, 0), atol=0.2)
    assert psnr(result[3], steady[3]) > 38
    alone = apply_stabilise(frames[3:4], track, 3)[0]
    assert psnr(alone, steady[3]) < psnr(result[3], steady[3]) - 6


def test_pan_is_kept_and_does_not_lag():
    count = 90
    speed = np.convolve(np.where((np.arange(count + 8) > 34) & (np.arange(count + 8) < 68), -3.0, 0.0), np.ones(9) / 9)
    camera = np.zeros((count, 3))
    camera[:, 0] = np.cumsum(speed[8 : 8 + count])
    clean = follow(exact_motions(camera))
    assert np.abs(clean.correction).max() < 1
    positions = camera + weave(count)
    track = follow(exact_motions(positions))
    left = positions + track.correction - camera
    assert np.abs(left[:, 0] - np.median(left[:, 0])).max() < 1
    assert (jitter(left) < jitter(positions - camera) / 4).all()


def test_slow_handheld_sway_is_kept():
    sway = np.zeros((150, 3))
    sway[:, 0] = 12 * np.sin(np.arange(150) / 150 * 4 * np.pi)
    assert np.abs(follow(exact_motions(sway)).correction).max() < 0.5


def test_splice_jump_is_undone_and_limited():
    positions = weave(50, 0.2, 0.2, 0.0)
    positions[20, 1] += 12
    track = follow(exact_motions(positions))
    assert track.correction[20, 1] == pytest.approx(-12, abs=1)
    limited = follow(exact_motions(positions), StabiliseSettings(max_shift=3))
    assert np.abs(limited.correction[:, :2]).max() <= 3


def test_drift_of_the_measurement_does_not_matter():
    drift = np.outer(np.arange(200), (0.05, -0.04, 0.002))
    positions = weave(200)
    exact, drifting = follow(exact_motions(positions)), follow(exact_motions(positions + drift))
    assert np.abs(exact.correction - drifting.correction).max() < 0.05


def test_steady_shot_is_left_alone():
    positions = weave(40, 0.01, 0.01, 0.0005)
    frames = film(positions)
    assert torch.equal(apply_stabilise(frames, follow(exact_motions(positions))), frames)


def test_strength_zero_is_identity_and_half_is_half():
    positions = weave(12)
    frames = film(positions)
    motions = exact_motions(positions)
    assert torch.equal(apply_stabilise(frames, follow(motions, StabiliseSettings(strength=0))), frames)
    half = follow(motions, StabiliseSettings(strength=0.5))
    assert np.allclose(2 * half.correction, follow(motions).correction)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_shots(count):
    positions = weave(count)
    frames = film(positions)
    result = apply_stabilise(frames, follow(exact_motions(positions)))
    assert result.shape == frames.shape and torch.isfinite(result).all()
    if count == 1:
        assert torch.equal(result, frames)


def test_unknown_motion_parts_the_shot():
    positions = weave(60)
    positions[30:] += (40, 25, 0)
    motions = exact_motions(positions)
    blind = motions[30]
    assert blind is not None
    motions[30] = FrameMotion(
        dx=7.0,
        dy=-3.0,
        angle=0.0,
        grid_dx=blind.grid_dx,
        grid_dy=blind.grid_dy,
        grid_confidence=blind.grid_confidence,
        confidence=0.0,
    )
    track = follow(motions)
    assert track.piece.tolist() == [0] * 30 + [1] * 30
    assert np.abs(track.correction[:, :2]).max() < 6
    for part in (slice(0, 30), slice(30, 60)):
        assert (jitter((positions + track.correction)[part]) < jitter(positions[part]) / 5).all()


@settings(max_examples=6)
@given(cuts=st.lists(st.integers(1, 13), max_size=3), seed=st.integers(0, 50))
def test_chunks_give_the_same_bits(cuts, seed):
    positions = weave(14, 2.0, 2.0, 0.2, seed)
    frames = film(positions, seed)
    track = follow(exact_motions(positions))
    whole = apply_stabilise(frames, track)
    assert whole.min() >= 0 and whole.max() <= 1
    windows_agree(lambda window, kept: apply_stabilise(frames[window], track, window.start), whole, cuts, radius=RADIUS)


def test_masks_follow_their_frames():
    positions = np.zeros((9, 3))
    positions[4] = (6.0, 3.0, 0.0)
    track = follow(exact_motions(positions))
    masks = torch.zeros(9, HEIGHT, WIDTH)
    masks[:, 50:60, 70:80] = 1
    moved = warp_masks(masks, track)
    still = [t for t in range(9) if t != 4]
    assert torch.equal(moved[still], masks[still])
    assert moved[4, 48:56, 65:73].mean() > 0.95
    assert moved[4].sum() == pytest.approx(100, rel=0.02)
    assert torch.equal(warp_masks(masks[4:5], track, 4)[0], moved[4])


def test_track_survives_pickling_and_input_is_left_alone():
    positions = weave(8)
    frames = film(positions)
    before = frames.clone()
    track = follow(exact_motions(positions))
    copy = pickle.loads(pickle.dumps(track))
    assert isinstance(copy, WeaveTrack) and copy.frame_count == 8
    assert torch.equal(apply_stabilise(frames, copy), apply_stabilise(frames, track))
    assert torch.equal(frames, before)


def test_wrong_input_is_refused():
    track = follow(exact_motions(weave(4)))
    with pytest.raises(SettingsError, match="track has 4"):
        apply_stabilise(torch.zeros(3, 3, 8, 8), track, 2)
    with pytest.raises(SettingsError, match="frames"):
        apply_stabilise(torch.zeros(2, 1, 8, 8), track)
    with pytest.raises(SettingsError, match="masks"):
        warp_masks(torch.zeros(2, 1, 8, 8), track)

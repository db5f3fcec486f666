"""Persistent scratches against scene verticals, on made scenes with known motion and on a real film."""

import pickle
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.film.motion.scene import GRID_COLUMNS, GRID_ROWS, FrameMotion
from vldm_core.film.scratches.detection import (
    HOP,
    WINDOW,
    ScratchAnalyser,
    ScratchMap,
    ScratchSettings,
    detect_scratches,
    scratch_mask,
)

from ...testers import interrupt_comes_out

HEIGHT, WIDTH, COUNT = 208, 320, 48
POLE = 100


def weave(count, sigma, seed=3):
    return np.random.default_rng(seed).normal(scale=sigma, size=count)


def scene(moved, seed=1, pole=True, grain=2.5):
    """A textured scene with a pole through its full height, seen at positions `moved`: (T, H, W)."""
    rng = np.random.default_rng(seed)
    margin = 80
    noise = rng.normal(size=(HEIGHT, WIDTH + 2 * margin)).astype(np.float32)
    wide: Any = 120 + 30 * cv2.GaussianBlur(noise, (0, 0), 5) / 0.056 / 2 + 8 * cv2.GaussianBlur(noise, (0, 0), 1.2)
    if pole:
        wide[:, margin + POLE : margin + POLE + 3] -= 14
    frames = []
    for shift in moved:
        turn = np.array([[1, 0, -margin + shift], [0, 1, 0]], np.float32)
        frames.append(cv2.warpAffine(wide, turn, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC))
    return np.array(frames) + rng.normal(scale=grain, size=(len(moved), HEIGHT, WIDTH)).astype(np.float32)


def add_line(frames, x, depth, *, tilt=0.0, width=2.0, rows=slice(None), times=slice(None)):
    """Add a Gaussian line at x (one position per frame); return its core as a mask."""
    y, columns = np.arange(HEIGHT), np.arange(WIDTH)
    mask = np.zeros(frames.shape, bool)
    for t in range(len(frames))[times]:
        centre = np.broadcast_to(x, len(frames))[t] + np.tan(np.deg2rad(tilt)) * (y - HEIGHT / 2)
        profile = np.exp(-np.square(columns - centre[:, None]) / 2 / (width / 2.355) ** 2)
        frames[t, rows] += depth * profile[rows]
        mask[t, rows] = profile[rows] > 0.5
    return mask


def motions(moved):
    cells = np.zeros((GRID_ROWS, GRID_COLUMNS), np.float32)
    steps = [
        FrameMotion(
            dx=float(step),
            dy=0.0,
            angle=0.0,
            grid_dx=cells + np.float32(step),
            grid_dy=cells,
            grid_confidence=cells + 1,
            confidence=1.0,
        )
        for step in np.diff(moved)
    ]
    return [None, *steps]


def analyse(frames, moved, settings=None):
    analyser = ScratchAnalyser(settings or ScratchSettings(), *frames.shape[1:])
    for luma, motion in zip(frames.clip(0, 255).astype(np.float32), motions(moved), strict=True):
        analyser.update(luma, motion)
    lines = analyser.finish()
    return lines, np.stack([scratch_mask(lines, t, *frames.shape[1:]).numpy() > 0 for t in range(len(frames))])


def recall(found, truth):
    return (found & truth).sum() / truth.sum()


def strays(found, truth):
    near = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((3, 5), np.uint8)) > 0 for mask in truth])
    return (found & ~near).mean()


@pytest.mark.parametrize("moved", [0.6 * np.arange(COUNT), weave(COUNT, 0.5)], ids=["pan", "weave"])
def test_a_faint_line_is_found_and_the_pole_of_the_scene_is_not(moved):
    frames = scene(moved)
    truth = add_line(frames, 221.3, -6)
    lines, found = analyse(frames, moved)
    assert len(lines.tracks) == 1
    assert lines.tracks[0].depth == pytest.approx(-6, abs=2)
    assert recall(found, truth) > 0.9
    assert strays(found, truth) < 0.001


def test_a_clean_scene_with_a_pole_has_no_scratches():
    for moved in (weave(COUNT, 0.4, seed=5), -1.3 * np.arange(COUNT) + weave(COUNT, 0.3), np.zeros(COUNT)):
        assert analyse(scene(moved, seed=7), moved)[0].tracks == ()


def test_what_a_locked_shot_leaves_open_goes_to_the_scene():
    moved = np.zeros(COUNT)
    frames = scene(moved)
    add_line(frames, 221.3, -6)
    assert not analyse(frames, moved, ScratchSettings(detector="weight-free"))[1].any()


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (200.4, {"depth": 9, "tilt": 2.5}),
        (180 + 0.3 * np.arange(COUNT), {"depth": -10}),
        (210 + 4 * np.sin(np.arange(COUNT) / 8), {"depth": 10}),
        (240.0, {"depth": -9, "width": 4.5}),
    ],
    ids=["tilted", "drifting", "swaying", "wide"],
)
def test_lines_that_tilt_drift_sway_or_are_wide(x, options):
    moved = weave(COUNT, 0.5)
    frames = scene(moved)
    truth = add_line(frames, x, **options)
    _, found = analyse(frames, moved)
    assert recall(found, truth) > 0.9
    assert strays(found, truth) < 0.002


def test_a_gap_and_a_birth_are_left_out():
    moved = weave(COUNT, 0.5)
    frames = scene(moved)
    upper = add_line(frames, 200.0, -12, rows=slice(0, 80), times=slice(16, None))
    lower = add_line(frames, 200.0, -12, rows=slice(144, None), times=slice(16, None))
    _, found = analyse(frames, moved)
    assert recall(found, upper | lower) > 0.85
    # Every frame decides for itself, so what the scene has there may pass for the line now and then.
    assert found[20:, 104:120].mean() < 0.4 * found[20:, :72].mean()
    assert found[:8].mean() < 0.5 * found[20:].mean()


def test_min_depth_and_sensitivity_bar_faint_lines():
    moved = weave(COUNT, 0.5)
    frames = scene(moved)
    add_line(frames, 221.3, -6)
    assert analyse(frames, moved, ScratchSettings(min_depth=15.0))[0].tracks == ()
    assert analyse(frames, moved, ScratchSettings(sensitivity=200.0))[0].tracks != ()


def test_a_line_stays_one_track_over_many_windows_and_memory_does_not_grow():
    count = WINDOW + 6 * HOP + 5
    moved = np.cumsum(weave(count, 0.3)) * 0.3
    frames = scene(moved, pole=False)
    truth = add_line(frames, 150.0, -9)
    analyser = ScratchAnalyser(ScratchSettings(), HEIGHT, WIDTH)
    sizes = []
    for luma, motion in zip(frames.astype(np.float32), motions(moved), strict=True):
        analyser.update(luma, motion)
        sizes.append(len(pickle.dumps(analyser)))
    lines = analyser.finish()
    assert len(lines.tracks) == 1
    assert len(lines.tracks[0].x) == count
    found = np.stack([scratch_mask(lines, t, HEIGHT, WIDTH).numpy() > 0 for t in range(count)])
    assert recall(found, truth) > 0.95
    # Beyond the first windows only the tracks grow, by less than 100 bytes a frame.
    assert max(sizes[-HOP:]) - max(sizes[WINDOW : WINDOW + HOP]) < 100 * count
    assert len(pickle.dumps(lines)) < 100 * count


def test_a_long_shot_holds_no_more_profiles_than_a_short_one():
    # Flat frames leave nothing but profiles behind.
    sizes = {}
    analyser = ScratchAnalyser(ScratchSettings(), 64, 64)
    flat = np.full((64, 64), 100, np.float32)
    for t in range(2000):
        analyser.update(flat, None)
        if t + 1 in (200, 2000):
            sizes[t + 1] = len(pickle.dumps(analyser))
    assert sizes[2000] <= sizes[200] + 64


def test_maps_are_picklable_and_masks_are_binary():
    moved = weave(COUNT, 0.5)
    frames = scene(moved)
    add_line(frames, 221.3, -9)
    lines, found = analyse(frames, moved)
    copy = pickle.loads(pickle.dumps(lines))
    assert np.array_equal(scratch_mask(copy, 7, HEIGHT, WIDTH).numpy() > 0, found[7])
    assert set(np.unique(scratch_mask(copy, 7, HEIGHT, WIDTH))) == {0.0, 1.0}


def test_a_large_frame_is_analysed_at_a_smaller_size_and_masked_at_its_own():
    moved = weave(24, 0.5)
    frames = scene(moved)
    truth = add_line(frames, 221.3, -12, width=3)
    large = np.stack([cv2.resize(frame, (WIDTH * 4, HEIGHT * 4), interpolation=cv2.INTER_CUBIC) for frame in frames])
    _, found = analyse(large, 4 * moved)
    assert recall(found, truth.repeat(4, axis=1).repeat(4, axis=2)) > 0.9
    assert found.mean() < 0.02


def test_short_shots_and_bad_input():
    with pytest.raises(SettingsError, match="at least one frame"):
        detect_scratches(torch.zeros(0, 3, 32, 32))
    for count in (1, 3):
        assert not detect_scratches(torch.full((count, 3, 32, 48), 0.5)).any()
    with pytest.raises(SettingsError, match="outside the shot"):
        scratch_mask(ScratchMap(height=4, width=4, frame_count=2, grow=1.0, tracks=()), 2, 4, 4)
    with pytest.raises(SettingsError, match="4×4"):
        scratch_mask(ScratchMap(height=4, width=4, frame_count=2, grow=1.0, tracks=()), 0, 8, 8)
    with pytest.raises(SettingsError, match="one analyser per shot"):
        ScratchAnalyser(ScratchSettings(), 32, 32).update(np.zeros((32, 48), np.float32), None)


def test_an_interrupt_comes_out():
    frames = torch.full((5, 3, 32, 48), 0.5)
    calls = interrupt_comes_out(lambda progress: detect_scratches(frames, progress=progress), at=2)
    assert [(done, total) for _, done, total in calls] == [(1, 5), (2, 5)]


def test_the_real_line_of_the_san_francisco_film(shared_data):
    with av.open(str(shared_data("film/san_francisco_1906.mkv"))) as film:
        images = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    frames = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mask = detect_scratches(frames).numpy() > 0
    covered = mask[:, 30:338, 286:290].any(axis=2).mean(axis=1)
    assert (covered > 0.5).sum() >= 45
    mask[:, :, 282:294] = False
    assert mask.mean() < 0.001

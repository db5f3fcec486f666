"""Flicker removal leaves no frame further from its neighbours than it came, and no blotches of light on a fast pan."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vldm_core.film.flicker.brightness import CellChange, ComparisonGrid, compare, displacement, reduce
from vldm_core.film.flicker.check import permitted
from vldm_core.film.flicker.model import BrightnessModel
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.stages import batch as pipeline

HEIGHT, WIDTH = 96, 144


def panorama(width, seed):
    generator = np.random.default_rng(seed)
    layers = [s * cv2.GaussianBlur(generator.normal(size=(HEIGHT, width)), (0, 0), s) for s in (1.5, 5, 15, 40)]
    scene = np.sum(layers, axis=0)
    return (110 + 45 * scene / scene.std()).clip(12, 240)


def pan(count, speed, seed=0, gain=0.0, field=0.0):
    """A pan of whole pixels per frame, with flicker on it: (T, 3, H, W)."""
    generator = np.random.default_rng(seed)
    wide = panorama(WIDTH + abs(speed) * count, seed)
    frames = []
    for t in range(count):
        frame = wide[:, abs(speed) * t : abs(speed) * t + WIDTH]
        grid = 1 + gain * generator.normal() + field * generator.normal(size=(4, 4))
        frame = frame * cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        frames.append(frame[:, ::-1] if speed < 0 else frame)
    return torch.from_numpy(np.repeat(np.stack(frames)[:, None], 3, axis=1).clip(0, 255).astype(np.float32) / 255)


def distances(frames, speed):
    """Grey levels between parts of each frame and the mean of its neighbours, moved to where the scene is: (T,)."""
    shift = abs(speed)
    grey = frames[:, 0].numpy() * 255
    if speed < 0:
        grey = grey[..., ::-1]
    count = len(grey)
    result = np.zeros(count)
    for t in range(count):
        around = []
        # Content moves to the left by the speed from frame to frame.
        if t > 0:
            around.append(np.pad(grey[t - 1][:, shift:], ((0, 0), (0, shift)), constant_values=np.nan))
        if t < count - 1:
            around.append(np.pad(grey[t + 1][:, : WIDTH - shift], ((0, 0), (shift, 0)), constant_values=np.nan))
        away = np.mean([grey[t] - other for other in around], axis=0)
        cells = away[:, shift : WIDTH - shift].reshape(4, HEIGHT // 4, -1)
        result[t] = np.abs(np.nanmean(cells, axis=(1, 2))).mean()
    return result


@settings(max_examples=14)
@given(
    speed=st.sampled_from([0, 1, 3, -7, 16, 40, -60]),
    seed=st.integers(0, 50),
    gain=st.sampled_from([0.0, 0.02, 0.1, 0.25]),
    field=st.sampled_from([0.0, 0.06]),
    strength=st.sampled_from([0.5, 1.0]),
)
@example(speed=40, seed=1, gain=0.0, field=0.0, strength=1.0)
@example(speed=-60, seed=3, gain=0.0, field=0.0, strength=1.0)
def test_no_frame_comes_out_further_from_its_neighbours(speed, seed, gain, field, strength):
    frames = pan(8, speed, seed, gain, field)
    made = pipeline.remove_flicker(frames, settings=FlickerSettings(strength=strength))
    before, after = distances(frames, speed), distances(made, speed)
    assert (after <= before + 0.5 + 0.1 * before).all(), (before.round(2), after.round(2))


@pytest.mark.parametrize(("speed", "seed"), [(30, 0), (40, 1), (60, 0), (60, 2)])
def test_a_clean_fast_pan_gets_no_blotches_of_light(speed, seed):
    frames = pan(20, speed, seed)
    made = pipeline.remove_flicker(frames)
    parts = [torch.nn.functional.adaptive_avg_pool2d(film[:, 0], 4) * 255 for film in (frames, made)]
    assert (parts[1] - parts[0]).abs().max() < 4


def test_a_slow_pan_loses_its_flicker():
    frames, clean = pan(20, 2, 5, gain=0.06), pan(20, 2, 5)
    made = pipeline.remove_flicker(frames)
    worn, mended = (np.diff((film / clean.clamp(min=0.02)).mean((1, 2, 3)).numpy()) for film in (frames, made))
    assert np.std(mended) < np.std(worn) / 6


def test_frames_of_different_things_are_not_compared():
    one, other = (reduce(panorama(WIDTH, seed).astype(np.float32)) for seed in (1, 2))
    still, model = displacement(None, HEIGHT, WIDTH), BrightnessModel(8, 8)
    assert compare(one, other, still).weight.mean() < 0.02
    assert model.fit(compare(one, other, still), 0.05).whole_error > 0.04
    same = compare(one, 1.2 * one, still)
    assert same.weight.mean() > 0.5
    assert model.fit(same, 0.05).values[0] == pytest.approx(np.log(1.2), abs=1e-3)
    flat = np.full_like(one, 90)
    grain = flat + np.random.default_rng(0).normal(0, 1.5, flat.shape).astype(np.float32)
    seen = model.fit(compare(flat, 1.1 * grain, still), 0.0)
    assert seen.whole_error < 0.03 and model.of_cells(
        seen.values[None], np.log(90 / 128) * np.ones((1, 1))
    ).mean() == pytest.approx(np.log(1.1), abs=0.01), "flat frames tell"
    assert compare(flat, one, still).weight.mean() < 0.02


def link(before, after):
    cells = np.ones(ComparisonGrid().cells, np.float32)
    return CellChange(
        ratio=np.float32(np.log(after / before)) * cells,
        level=np.float32(np.log(np.sqrt(after * before) / 128)) * cells,
        weight=cells,
        bend=0 * cells,
        spread=0 * cells,
        deviation=0.01,
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 500), count=st.integers(2, 12), error=st.sampled_from([0.0, 0.05, 0.5]))
def test_whatever_was_measured_no_distance_grows(seed, count, error):
    generator = np.random.default_rng(seed)
    true = 0.1 * generator.normal(size=count)
    shown = 100 * np.exp(true)
    measured = true + error * generator.normal(size=count)
    links = [link(shown[t - 1], shown[t]) for t in range(1, count)]

    correction = np.stack([measured, np.zeros(count)], axis=1)
    events = generator.random(count) < 0.1
    share = permitted(links, events, correction, BrightnessModel(0, 0))[:, 0]
    assert ((share >= 0) & (share <= 1)).all() and not share[events].any()

    def away(levels):
        result = []
        for t in range(count):
            around = [s for s in (t - 1, t + 1) if 0 <= s < count and events[s] == events[t]]
            result.append(abs(np.mean([levels[t] - levels[s] for s in around])) if around else 0.0)
        return np.array(result)

    assert (away(shown * np.exp(-measured * share)) <= away(shown) + 0.26).all()
    if error == 0 and not events.any():
        assert share.min() == 1, "what is right is not held back"

"""Light that belongs to the story stays: lightning, strobes, gunshots; flicker goes however strong it is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.film.flicker.events import find_events
from vldm_core.film.flicker.removal import FlickerAnalyser, FlickerSettings, apply_flicker
from vldm_core.stages import batch as pipeline

HEIGHT, WIDTH, COUNT = 96, 128, 30


def lit(gains, seed=0, grain=0.004):
    """A still scene under the given light, (T,) or (T, H, W)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    scene = 0.22 + 0.09 * np.sin(x / 7 + seed) * np.cos(y / 9) + 0.05 * generator.random((HEIGHT, WIDTH))
    light = np.asarray(gains, np.float64)
    light = light if light.ndim == 3 else light[:, None, None]
    frames = scene * light + grain * generator.normal(size=(len(gains), HEIGHT, WIDTH))
    return torch.from_numpy(np.repeat(frames[:, None], 3, axis=1).clip(0, 1).astype(np.float32))


def evened(frames, options=None):
    """The frames without flicker; nothing in them moves."""
    analyser = FlickerAnalyser(options)
    for frame in frames:
        analyser.update(frame, None)
    return apply_flicker(frames, analyser.finish())


def levels(frames):
    return frames.mean((1, 2, 3)).numpy()


def flash(*sizes, first=12, count=COUNT):
    gains = np.ones(count)
    gains[first : first + len(sizes)] = sizes
    return gains


@pytest.mark.parametrize(
    "gains",
    [
        flash(2.2),
        flash(1.6, 1.8),
        flash(2.4, 1.15, 2.2),
        flash(3.0, 2.2, 1.7, 1.4, 1.2, 1.1),
        flash(0.3, 0.3),
        np.where(np.arange(COUNT) % 2, 1.0, 0.15),
        np.where(np.arange(COUNT) % 4 < 2, 1.5, 0.5),
    ],
    ids=["one frame", "two", "a stroke of lightning", "dies away", "the light fails", "strobe", "slow strobe"],
)
def test_events_stay_as_they_are(gains):
    frames = lit(gains)
    made = evened(frames)
    assert (made - frames).abs().mean() < 0.002
    assert np.allclose(levels(made), levels(frames), atol=0.007)


def test_a_flash_in_a_part_of_the_frame_stays():
    gains = np.ones((COUNT, HEIGHT, WIDTH))
    gains[12:14, : HEIGHT // 2, : WIDTH // 2] = 2.4
    frames = lit(gains)
    assert (evened(frames) - frames).abs().max() < 0.02


@pytest.mark.parametrize("size", [1.2, 1 / 1.2])
def test_the_size_of_an_event_is_the_users(size):
    frames = lit(flash(size))
    usual = levels(lit(np.ones(COUNT)))

    def left(options):
        return (levels(evened(frames, options)) - usual)[12] / (levels(frames) - usual)[12]

    assert left(FlickerSettings()) < 0.1
    assert left(FlickerSettings(flash=1.15)) > 0.9
    strong = lit(flash(2.2))
    taken = levels(evened(strong, FlickerSettings(flash=10)))
    assert abs(taken - usual).max() < 0.02


def test_flicker_around_an_event_goes_all_the_same():
    generator = np.random.default_rng(3)
    wobble = 1 + 0.05 * generator.normal(size=COUNT)
    gains = flash(2.4, 1.9) * wobble
    made = levels(evened(lit(gains)))
    for calm in (slice(0, 11), slice(15, COUNT)):
        assert np.std(np.diff(made[calm])) < np.std(np.diff(levels(lit(gains))[calm])) / 20
    assert (made[12:14] > 1.7 * np.median(made)).all()


def test_strong_flicker_is_no_event():
    generator = np.random.default_rng(4)
    gains = np.exp(0.15 * generator.normal(size=60))
    frames = lit(gains)
    assert np.abs(np.log(gains)).max() > np.log(1.4)
    made = levels(evened(frames))
    assert np.std(np.log(made)) < np.std(np.log(levels(frames))) / 5


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    sigma=st.floats(0.0, 0.12),
    size=st.floats(1.2, 3.0),
    length=st.integers(1, 5),
    up=st.booleans(),
)
def test_events_are_where_they_were_put(seed, sigma, size, length, up):
    light = sigma * np.random.default_rng(seed).normal(size=(60, 1)).clip(-2, 2) @ np.ones((1, 16))
    calm = find_events(light, size)
    if 2 * sigma < np.log(size):
        assert not calm.any()
    sign = 1 if up else -1
    light[20 : 20 + length] = sign * (np.log(size) + 4.5 * sigma + 0.02)
    found = find_events(light, size)
    assert found[20 : 20 + length].all()
    assert found.sum() <= length + 12, "it spreads over what is lit alike only"


@pytest.mark.parametrize("name", ["lightning", "strobe", "leaders"])
def test_the_cases_stay(clean_cases, name):
    frames, _ = clean_cases(name)
    small = np.stack(frames)[:, 8:-8:2, ::2]
    clip = torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255
    made = pipeline.remove_flicker(clip, shots=pipeline.detect_shots_in(clip))
    assert -10 * np.log10(float((made - clip).square().mean()) + 1e-12) > 50

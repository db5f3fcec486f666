"""The local gain: full frames and reduced ones, known everywhere and in parts."""

import cv2
import numpy as np
import pytest

from vldm_core.film.flicker.local_gain import GAIN, apply_gain, local_gain, local_gain_of_reduced

HEIGHT, WIDTH = 150, 210


def scene(seed: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(40, 200, (HEIGHT, WIDTH)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def reduced(plane: np.ndarray) -> np.ndarray:
    return cv2.resize(plane, (WIDTH // GAIN.shrink, HEIGHT // GAIN.shrink), interpolation=cv2.INTER_AREA)


def test_it_undoes_light_that_varies_smoothly():
    reference = scene()
    light = np.linspace(0.9, 1.2, WIDTH, dtype=np.float32)[None] * np.ones((HEIGHT, 1), np.float32)
    frame = (reference + GAIN.pedestal) * light - GAIN.pedestal
    back = apply_gain(reference, local_gain(reference, frame))
    assert np.abs(back - frame)[:, 16:-16].mean() < 1.0
    assert np.abs(reference - frame)[:, 16:-16].mean() > 8.0


def test_a_defect_smaller_than_half_a_block_does_not_pull_it():
    reference = scene()
    frame = reference.copy()
    frame[64:84, 96:116] = 255
    assert np.allclose(local_gain(reference, frame), 1, atol=0.02)


def test_what_is_not_known_does_not_count():
    reference = scene()
    frame = apply_gain(reference, np.float32(1.1) * np.ones_like(reference))
    small, known = reduced(frame), np.ones((HEIGHT // GAIN.shrink, WIDTH // GAIN.shrink), bool)
    small[:, :20], known[:, :20] = 255, False
    gain = local_gain_of_reduced(reduced(reference), small, known, (HEIGHT, WIDTH))
    assert gain.shape == (HEIGHT, WIDTH)
    assert np.allclose(gain, 1.1, atol=0.01)


def test_nothing_known_changes_nothing():
    small = reduced(scene())
    gain = local_gain_of_reduced(small, small + 50, np.zeros(small.shape, bool), (HEIGHT, WIDTH))
    assert np.allclose(gain, 1)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_it_stays_within_its_limits(factor):
    gain = local_gain(scene(), scene() * np.float32(factor))
    assert gain.min() >= GAIN.limits[0] - 1e-6
    assert gain.max() <= GAIN.limits[1] + 1e-6


def test_colours_take_the_same_gain_as_planes():
    values, gain = scene(), np.full((HEIGHT, WIDTH), 1.3, np.float32)
    flat = apply_gain(np.repeat(values.reshape(-1, 1), 3, axis=1), gain.reshape(-1, 1))
    assert np.array_equal(flat[:, 0].reshape(HEIGHT, WIDTH), apply_gain(values, gain))
    assert np.array_equal(apply_gain(np.dstack([values] * 2), gain)[..., 1], apply_gain(values, gain))

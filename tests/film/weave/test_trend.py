"""The slow part keeps what is slow, leaves what is fast, and has no bias at the ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.film.robust import robust_sigma
from vldm_core.film.weave.trend import slow_part


def noisy(count=90, sigma=0.05, seed=0):
    return sigma * np.random.default_rng(seed).normal(size=count)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
def test_short_paths(count):
    path = np.arange(count, dtype=float)
    slow = slow_part(path, period=24, floor=0.01)
    assert slow.shape == (count,) and np.isfinite(slow).all()


def test_noise_is_left_out_to_the_very_ends():
    path = 1 + noisy()
    slow = slow_part(path, period=24, floor=1e-3)
    assert np.abs(slow - 1).max() < 0.03
    assert np.diff(slow).std() < 0.05 * np.diff(path).std()


def test_a_ramp_stays():
    ramp = np.interp(np.arange(90), [20, 60], [0.0, 1.0])
    slow = slow_part(ramp + noisy(sigma=0.02), period=24, floor=1e-3)
    assert np.abs(slow - ramp).max() < 0.05


def test_one_outlier_does_not_bend_the_trend():
    path = 1 + noisy()
    flash = path.copy()
    flash[40] += 2
    difference = slow_part(flash, period=24, floor=1e-3) - slow_part(path, period=24, floor=1e-3)
    assert np.abs(difference).max() < 0.01
    still = np.zeros(9)
    still[4] = 6
    assert np.abs(slow_part(still, period=24, floor=0.03)).max() < 0.01


def test_a_lasting_step_stays_if_asked():
    truth = np.where(np.arange(90) < 45, 1.0, 1.6)
    path = truth + noisy(sigma=0.02)
    kept = slow_part(path, period=24, floor=1e-3, keep_steps=True)
    ramp = slow_part(path, period=24, floor=1e-3)
    assert np.abs(kept - truth).max() < 0.06
    assert np.abs(ramp - truth).max() > 0.15


def test_noise_that_grows_with_the_path():
    truth = np.interp(np.arange(90), [10, 70], [0.05, 1.0])
    path = truth * (1 + noisy(sigma=0.05))
    slow = slow_part(path, period=24, floor=1e-3, scale=truth)
    assert np.abs(slow / truth - 1).max() < 0.15


@settings(max_examples=25)
@given(
    offset=st.floats(-50, 50),
    slope=st.floats(-2, 2),
    count=st.integers(3, 80),
    period=st.floats(4, 200),
)
def test_straight_lines_are_reproduced(offset, slope, count, period):
    line = offset + slope * np.arange(count)
    assert np.allclose(slow_part(line, period=period, floor=0.01), line, atol=1e-5)


@settings(max_examples=15)
@given(scale=st.floats(0.01, 100), sign=st.sampled_from([-1, 1]), seed=st.integers(0, 1000))
def test_the_fit_follows_the_unit_and_the_direction_of_time(scale, sign, seed):
    path = noisy(60, 1.0, seed)
    slow = slow_part(path, period=24, floor=1e-3)
    assert np.allclose(
        slow_part(sign * scale * path, period=24, floor=1e-3 * scale), sign * scale * slow, atol=1e-6 * scale
    )
    assert np.allclose(slow_part(path[::-1], period=24, floor=1e-3)[::-1], slow, atol=1e-6)


def test_robust_sigma():
    values = noisy(5000, 2.0)
    values[:500] = 100
    assert robust_sigma(values) == pytest.approx(2.0, rel=0.25)
    assert robust_sigma([]) == 0

"""Upright structure: where a bar is, and what posts do to a picture."""

import numpy as np
import pytest

from vldm_core.data.structure import UprightSettings, between, draw_uprights, upright


def test_a_bar_covers_as_much_as_it_is_wide_wherever_it_stands():
    for x in (20.0, 20.3, 20.5):
        bar = upright(40, 60, x, 3.2, slope=0.0)
        assert bar.cover.sum(axis=1) == pytest.approx(np.full(40, 3.2))
        assert (bar.cover * np.arange(60)).sum(axis=1) / 3.2 == pytest.approx(np.full(40, x), abs=0.05)
    assert np.allclose(bar.aside, np.arange(60) - 20.5)


def test_a_bar_leans_and_ends():
    bar = upright(40, 60, 30.0, 4.0, slope=0.25, top=10.0, bottom=30.5)
    assert not bar.cover[:11].any() and not bar.cover[31:].any() and bar.cover[11:30].any(axis=1).all()
    # Half a row is half covered, and in the middle of the height the bar is where it was asked for.
    assert bar.cover[30].max() == pytest.approx(0.5)
    assert bar.aside[20, 30] == 0 and bar.aside[24, 31] == 0
    assert between(np.array([0.0, 5.0, 5.5, 9.0]), 5.0, 9.0) == pytest.approx([0, 0, 0.5, 0])


def test_posts_are_lit_from_one_side_and_stay_in_range():
    grey = np.full((80, 120, 3), 0.5, np.float32)
    settings = UprightSettings(fence_share=0.0, width=(8.0, 8.0), depth=(60.0, 60.0), slope=0.0)
    for seed in range(8):
        drawn = draw_uprights(np.random.default_rng(seed), grey, 480, 1, settings)
        change = np.abs(drawn - grey).max(axis=(0, 2))
        assert drawn.min() >= 0 and drawn.max() <= 1 and np.array_equal(drawn[..., 0], drawn[..., 2])
        # One post of eight pixels at most, and sixty grey levels deep, give or take the light from the side.
        assert (change > 0).sum() <= 9 and change.max() <= 1.5 * 60 / 255 + 1e-6
    assert np.array_equal(grey, np.full((80, 120, 3), 0.5, np.float32))

"""Scene-linear light as values that stages work on."""

import numpy as np

from vldm_core.video.scene_linear import WHITE, as_srgb, coded, light_of, light_of_srgb

HALVES = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
"""All that are finite and not negative, rising."""


def test_each_half_above_one_in_512_comes_back():
    back = light_of(coded(HALVES))
    kept = HALVES > 1 / 512
    np.testing.assert_array_equal(back[kept], HALVES[kept].astype(np.float32))
    assert np.abs(back - HALVES.astype(np.float32))[~kept].max() < 1e-6


def test_codes_rise_with_the_light():
    assert (np.diff(coded(HALVES).astype(int)) >= 0).all()
    assert (np.diff(light_of(np.arange(1 << 16, dtype=np.uint16))) > 0).all()


def test_codes_come_back():
    codes = np.arange(1 << 16, dtype=np.uint16)
    near = np.abs(coded(light_of(codes)).astype(int) - codes)
    # Half floats are coarser than the codes between 1/512 and 1.
    assert near.max() <= 12 and (near[WHITE:] == 0).all()


def test_what_is_no_light_is_black_and_what_is_too_bright_the_brightest():
    odd = np.array([-1, -np.inf, np.nan, 0, np.inf, 1e9], np.float32)
    assert coded(odd).tolist() == [0, 0, 0, 0, 65535, 65535]


def test_screens_show_srgb_and_nothing_above_white():
    shown = as_srgb(coded(np.array([0, 0.18, 1, 7], np.float32)))
    # IEC 61966-2-1: 18 % grey is 0.4614 of white.
    assert abs(shown[1] / 65535 - 0.4614) < 2e-4
    assert shown[[0, 2, 3]].tolist() == [0, 65535, 65535]


def test_light_of_what_a_screen_shows():
    light = light_of_srgb(np.array([0, 118, 255], np.uint8))
    assert light.dtype == np.float32
    np.testing.assert_allclose(light, [0, 0.1812, 1], atol=1e-4)

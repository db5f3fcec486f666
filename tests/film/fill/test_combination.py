"""Medians with weights, holes filled from around, and boxes around thin holes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.film.fill.atlas import Atlas
from vldm_core.film.fill.carry import CarryIn
from vldm_core.film.fill.combination import weighted_median
from vldm_core.video.flow import fill_masked


@given(st.integers(0, 2**31), st.integers(1, 12))
def test_a_median_with_equal_weights_is_one_of_the_middle_values(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).standard_normal((count, 9)).astype(np.float32)
    found = weighted_median(values, np.ones_like(values))
    ranks = (values < found).sum(axis=0)
    assert ((ranks == (count - 1) // 2) | (ranks == count // 2)).all()


def test_a_value_without_weight_is_never_the_median() -> None:
    values = np.array([[0, 0], [5, 6], [900, 800]], np.float32)
    weights = np.array([[1, 0], [1, 3], [0, 1]], np.float32)
    assert weighted_median(values, weights).tolist() in ([0, 6], [5, 6])


@pytest.mark.parametrize("channels", [None, 1, 2])
def test_holes_are_filled_as_the_motion_estimator_fills_them(channels: int | None) -> None:
    stream = np.random.default_rng(4)
    shape = (41, 67) if channels is None else (41, 67, channels)
    plane = stream.standard_normal(shape).astype(np.float32)
    unknown = np.zeros((41, 67), bool)
    unknown[8:30, 10:50] = True
    filled = CarryIn(unknown)(plane)
    assert np.array_equal(filled[~unknown], plane[~unknown])
    planes = plane.reshape(41, 67, -1)
    for channel in range(planes.shape[-1]):
        expected = fill_masked(np.ascontiguousarray(planes[..., channel]), unknown)
        assert filled.reshape(41, 67, -1)[..., channel] == pytest.approx(expected, abs=1e-4)


def test_what_is_all_hole_stays() -> None:
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(CarryIn(np.ones((3, 4), bool))(plane), plane)


def test_a_long_thin_hole_takes_little_room() -> None:
    hole = np.zeros((400, 600), bool)
    for row in range(20, 380):
        hole[row, 100 + row : 102 + row] = True
    atlas = Atlas.of(hole)
    assert atlas.x.size < 0.25 * hole.size
    shown = np.zeros_like(hole)
    shown[atlas.place] = True
    assert np.array_equal(shown, hole)
    assert len(atlas.place[0]) == int(hole.sum())

"""Boxes around holes: every damaged pixel once, with its surroundings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.film.fill.atlas import MARGIN, Atlas


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.floats(0.0005, 0.3), st.integers(1, 90), st.integers(1, 120))
def test_every_damaged_pixel_is_there_once(seed: int, density: float, height: int, width: int) -> None:
    hole = np.random.default_rng(seed).random((height, width)) < density
    hole[height // 2, width // 3] = True
    atlas = Atlas.of(hole)
    back = np.zeros(hole.shape, int)
    np.add.at(back, atlas.place, 1)
    assert np.array_equal(back, hole.astype(int))
    number = np.arange(hole.size).reshape(hole.shape)
    assert np.array_equal(atlas.cut(number), (atlas.y * width + atlas.x).astype(int))
    assert np.array_equal(atlas.cut(hole), atlas.hole)
    assert atlas.hole.shape[1] <= width


def test_boxes_are_small_and_show_the_surroundings() -> None:
    hole = np.zeros((300, 400), bool)
    for row, column in ((40, 50), (150, 300), (250, 90)):
        hole[row : row + 8, column : column + 10] = True
    atlas = Atlas.of(hole)
    assert atlas.hole.size < 0.1 * hole.size
    rows, columns = atlas.own
    assert rows.min() >= MARGIN and columns.min() >= MARGIN


def test_a_look_follows_the_flow() -> None:
    hole = np.zeros((64, 96), bool)
    hole[30:34, 40:44] = True
    atlas = Atlas.of(hole)
    ramp = np.add.outer(2.0 * np.arange(64), np.arange(96)).astype(np.float32)
    flow = np.full((*atlas.hole.shape, 2), (1.5, -2.0), np.float32)
    looked = atlas.look(ramp, flow)
    assert looked[atlas.own] == pytest.approx(ramp[atlas.place] + 1.5 - 4.0, abs=0.1)
    assert atlas.inside(flow, 64, 96).all()

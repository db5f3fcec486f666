"""Tiles cover the latent, are squares, and count by the published bell."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.prior.onestep.tiles import PublishedTiles

sides = st.integers(1, 60).map(lambda units: 8 * units)


@given(height=sides, width=sides, size=st.integers(1, 12).map(lambda units: 8 * units), share=st.floats(0, 0.95))
@settings(max_examples=60)
def test_tiles_cover_the_latent(height, width, size, share):
    tiles = PublishedTiles(size=size, overlap=int(share * size))
    laid = tiles.plan(height, width)
    covered = torch.zeros(height, width, dtype=torch.bool)
    for tile in laid:
        assert 0 <= tile.top <= height - tile.height and 0 <= tile.left <= width - tile.width
        covered[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = True
    assert covered.all()
    assert len(set(laid)) == len(laid)
    if height * width <= size**2:
        assert len(laid) == 1
    else:
        assert {(tile.height, tile.width) for tile in laid} == {(min(size, height, width),) * 2}


def test_a_long_strip_passes_whole_below_the_area_of_a_tile():
    assert len(PublishedTiles().plan(64, 144)) == 1
    assert len(PublishedTiles().plan(64, 152)) == 4


def test_the_bell_of_some_programs_is_half_a_row_low():
    tile = PublishedTiles().plan(96, 96)[0]
    middle, low = PublishedTiles().weights(tile), PublishedTiles(low=True).weights(tile)
    assert torch.equal(middle, middle.flip(0)) and torch.allclose(middle, middle.flip(1))
    assert torch.equal(low, low.flip(1)) or torch.allclose(low, low.flip(1))
    assert low[-1, 0] > 1.5 * low[0, 0]


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (12, 0), (96, 96), (96, -1)])
def test_what_does_not_work_is_refused(size, overlap):
    with pytest.raises(SettingsError, match=r"tile (size|overlap) is"):
        PublishedTiles(size=size, overlap=overlap)

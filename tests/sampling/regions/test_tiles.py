"""Tiles cover the frame; tables and grids are those of the published systems where they are meant to be."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.sampling.regions.plan import Region, blend
from vldm_core.sampling.regions.tiles import (
    TileSettings,
    hann_weights,
    plan_tiles,
    symmetric_gaussian,
    tile_weights,
)

from ...oracles import load_oracle
from ..published import gaussian_weights, sliding_windows


@st.composite
def settings(draw: st.DrawFn) -> TileSettings:
    size = 8 * draw(st.integers(1, 5))
    return TileSettings(
        size=size,
        overlap=draw(st.integers(0, size - 1)),
        weight=draw(st.sampled_from(["gaussian", "hann", "uniform"])),
        move=draw(st.booleans()),
    )


@given(st.integers(1, 70), st.integers(1, 70), settings(), st.integers(0, 40))
def test_tiles_cover_the_frame_and_stay_inside(height: int, width: int, how: TileSettings, step: int) -> None:
    count = torch.zeros(height, width)
    tiles = plan_tiles(height, width, how, step)
    for tile in tiles:
        assert (tile.height, tile.width) == (min(how.size, height), min(how.size, width))
        assert 0 <= tile.top <= height - tile.height and 0 <= tile.left <= width - tile.width
        count[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] += 1
        assert tile_weights(tile, how).float().min() > 0
    assert count.min() >= 1
    assert len(set(tiles)) == len(tiles)
    assert tiles == plan_tiles(height, width, how, step)


def test_neighbours_overlap_as_asked() -> None:
    lefts = sorted({tile.left for tile in plan_tiles(64, 160, TileSettings())})
    assert lefts == [0, 48, 96]
    assert len(plan_tiles(64, 64, TileSettings(move=True), 5)) == 1


def test_a_moving_grid_moves_in_both_directions() -> None:
    how = TileSettings(size=32, overlap=8, move=True)
    plans = [plan_tiles(128, 128, how, step) for step in range(6)]
    assert len({frozenset(tile.top for tile in plan) for plan in plans}) > 3
    assert len({frozenset(tile.left for tile in plan) for plan in plans}) > 3
    still = TileSettings(size=32, overlap=8)
    assert plan_tiles(128, 128, still, 0) == plan_tiles(128, 128, still, 3)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (16, 16), (12, 20), (64, 64)])
def test_published_weights(width: int, height: int) -> None:
    load_oracle("tiles").check(f"weights.{width}x{height}", gaussian_weights(width, height))


@pytest.mark.parametrize(
    ("height", "width", "size", "stride"), [(40, 56, 16, 12), (64, 64, 64, 32), (96, 70, 64, 32), (33, 17, 16, 16)]
)
def test_published_grids(height: int, width: int, size: int, stride: int) -> None:
    found = torch.tensor(sliding_windows(height, width, size, stride))
    load_oracle("tiles").check(f"windows.h{height}_w{width}_size{size}_stride{stride}", found)


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_published_tiled_evaluation(kind: str) -> None:
    oracle = load_oracle("tiles")
    x = oracle.input("x")
    weight = gaussian_weights(16, 16).float() if kind == "gaussian" else torch.ones(16, 16)
    regions = [
        Region(frames=(0,), top=top, left=left, height=bottom - top, width=right - left, weight=weight[None])
        for top, bottom, left, right in sliding_windows(40, 56, 16, 12)
    ]

    def evaluate(region: Region) -> list[torch.Tensor]:
        tile = region.crop(x)
        return [tile - tile.mean((2, 3), keepdim=True)]

    oracle.check(f"tiled.{kind}", blend(regions, evaluate, x)[0])


def test_the_plan_is_the_published_grid() -> None:
    plan = [
        (t.top, t.top + t.height, t.left, t.left + t.width)
        for t in plan_tiles(40, 56, TileSettings(size=16, overlap=4))
    ]
    load_oracle("tiles").check("windows.h40_w56_size16_stride12", torch.tensor(plan))


def test_our_bell_is_symmetric_and_the_published_one_is_not() -> None:
    ours, theirs = symmetric_gaussian(16, 16), gaussian_weights(16, 16)
    assert torch.allclose(ours, ours.flip(0)) and torch.allclose(ours, ours.flip(1))
    assert torch.allclose(ours, ours.T)
    assert torch.allclose(theirs, theirs.flip(1)) and not torch.allclose(theirs, theirs.flip(0), rtol=0.1)


def test_half_overlapping_hann_tiles_sum_to_one() -> None:
    weights = hann_weights(16, 8)
    assert torch.allclose(weights[:4] + weights[4:], hann_weights(16, 1) * torch.ones(4, 1, dtype=torch.float64))
    assert weights.min() > 0


@pytest.mark.parametrize("wrong", [{"size": 12}, {"size": 0}, {"overlap": 64}, {"overlap": -1}, {"weight": "x"}])
def test_wrong_settings_say_what_to_do(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="use"):
        TileSettings(**wrong)  # type: ignore[arg-type]

"""Windows and tiles change nothing for a denoiser that does not look around, and never join two shots."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.sampling.regions.plan import Region, blend, described, plan_regions, smaller
from vldm_core.sampling.regions.tiles import TileSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.video.shots import Shot, covering_shots

WINDOWS = [WindowSettings(), WindowSettings(schedule="uniform", stride=4), WindowSettings(fuse="linear", move=True)]
TILES = [None, TileSettings(size=16, overlap=4), TileSettings(size=8, overlap=3, weight="hann", move=True)]


def per_frame(clip: Tensor) -> Tensor:
    """A denoiser that sees one frame at a time, all of it."""
    return clip - clip.mean((1, 2, 3), keepdim=True) + clip.roll(1, 3).tanh()


def per_pixel(clip: Tensor) -> Tensor:
    return (3 * clip).sin() - 0.2 * clip.sum(1, keepdim=True)


@pytest.mark.parametrize("frames", [17, 31, 40, 61])
@pytest.mark.parametrize("windows", WINDOWS)
def test_windows_change_nothing_for_a_per_frame_denoiser(frames: int, windows: WindowSettings) -> None:
    x = torch.randn(frames, 4, 6, 10)
    for step in (0, 3):
        plan = plan_regions(
            frames=frames, height=6, width=10, shots=None, windows=windows, tiles=None, step=step, steps=5
        )
        (found,) = blend(plan, lambda region: [per_frame(region.crop(x))], x)
        assert (found - per_frame(x)).abs().max() < 1e-6


@pytest.mark.parametrize("frames", [17, 40, 61])
@pytest.mark.parametrize("tiles", TILES)
@pytest.mark.parametrize("windows", [None, *WINDOWS])
def test_windows_and_tiles_change_nothing_for_a_per_pixel_denoiser(
    frames: int, tiles: TileSettings | None, windows: WindowSettings | None
) -> None:
    x = torch.randn(frames, 4, 20, 27)
    shots = (Shot(0, 3), Shot(3, frames))
    plan = plan_regions(frames=frames, height=20, width=27, shots=shots, windows=windows, tiles=tiles, step=2, steps=5)
    found, ones = blend(plan, lambda region: [per_pixel(region.crop(x)), torch.ones_like(region.crop(x))[:, :1]], x)
    assert (found - per_pixel(x)).abs().max() < 2e-6
    assert (ones - 1).abs().max() < 1e-6
    assert ones.shape == (frames, 1, 20, 27)


def test_identity_is_identity() -> None:
    x = torch.randn(40, 4, 40, 40)
    plan = plan_regions(
        frames=40,
        height=40,
        width=40,
        shots=None,
        windows=WindowSettings(),
        tiles=TileSettings(size=32),
        step=0,
        steps=1,
    )
    (found,) = blend(plan, lambda region: [region.crop(x)], x)
    assert (found - x).abs().max() < 1e-6


@pytest.mark.parametrize("windows", WINDOWS)
def test_what_belongs_to_a_frame_reaches_it_in_every_window(windows: WindowSettings) -> None:
    number = torch.arange(40.0)[:, None, None, None].expand(40, 1, 16, 16)
    plan = plan_regions(
        frames=40, height=16, width=16, shots=(Shot(0, 19), Shot(19, 40)), windows=windows,
        tiles=TileSettings(size=8, overlap=2), step=1, steps=4,
    )  # fmt: skip
    for region in plan:
        assert torch.equal(region.crop(number)[:, 0, 0, 0], torch.tensor(region.frames, dtype=torch.float32))
        assert region.weight.shape == (len(region.frames), region.height, region.width)
        assert region.weight.min() > 0


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.sampled_from(WINDOWS), st.integers(0, 9))
def test_no_window_crosses_a_cut(lengths: list[int], windows: WindowSettings, step: int) -> None:
    borders = [sum(lengths[:index]) for index in range(len(lengths) + 1)]
    shots = [Shot(a, b) for a, b in pairwise(borders)]
    plan = plan_regions(
        frames=borders[-1], height=8, width=8, shots=shots, windows=windows, tiles=None, step=step, steps=10
    )
    for region in plan:
        assert sum(shot.first <= region.frames[0] and region.frames[-1] < shot.last for shot in shots) == 1


def test_a_cut_blocks() -> None:
    """With a denoiser that mixes all frames it sees, the other shot's frames leave no trace."""
    x = torch.randn(30, 4, 8, 8)
    shots = (Shot(0, 11), Shot(11, 30))

    def mixed(clip: Tensor, how: WindowSettings | None) -> Tensor:
        plan = plan_regions(frames=30, height=8, width=8, shots=shots, windows=how, tiles=None, step=0, steps=1)
        return blend(plan, lambda r: [r.crop(clip).mean(0, keepdim=True).expand(len(r.frames), -1, -1, -1)], clip)[0]

    changed = x.clone()
    changed[11:] += 5
    assert torch.equal(mixed(x, WindowSettings())[:11], mixed(changed, WindowSettings())[:11])
    assert not torch.allclose(mixed(x, None)[:11], mixed(changed, None)[:11])


def test_without_windows_the_clip_is_one_region() -> None:
    plan = plan_regions(
        frames=30, height=8, width=8, shots=(Shot(0, 11), Shot(11, 30)), windows=None, tiles=None, step=0, steps=1
    )
    assert [region.frames for region in plan] == [tuple(range(30))]
    x = torch.randn(30, 4, 8, 8)
    assert torch.equal(blend(plan, lambda region: [region.crop(x)], x)[0], x)


def test_results_have_the_type_asked_for_and_sums_do_not() -> None:
    x = torch.ones(40, 4, 16, 16, dtype=torch.float16)
    plan = plan_regions(
        frames=40, height=16, width=16, shots=None, windows=WindowSettings(overlap=12), tiles=None, step=0, steps=1
    )
    (found,) = blend(plan, lambda region: [region.crop(x)], x)
    assert found.dtype == torch.float16 and torch.equal(found, x)


def test_mistakes_are_told() -> None:
    x = torch.zeros(4, 4, 8, 8)
    hole = Region(frames=(0, 1, 2), top=0, left=0, height=8, width=8, weight=torch.ones(3, 8, 8))
    with pytest.raises(SettingsError, match="uncovered"):
        blend([hole], lambda region: [region.crop(x)], x)
    with pytest.raises(SettingsError, match="evaluated to"):
        blend([hole], lambda region: [x], x)
    with pytest.raises(SettingsError, match="without gaps"):
        covering_shots((Shot(0, 4), Shot(5, 9)), 9)
    with pytest.raises(SettingsError, match="cover 4 frames but there are 9"):
        covering_shots((Shot(0, 4),), 9)
    with pytest.raises(SettingsError, match="steps count from 0"):
        plan_regions(frames=3, height=8, width=8, shots=None, windows=None, tiles=None, step=3, steps=3)


def test_memory_is_halved_in_time_and_then_in_space() -> None:
    windows, tiles = smaller(None, None, 40, 52, 90) or (None, None)
    assert (windows, tiles) == (WindowSettings(length=20, overlap=4), None)
    steps = 0
    found = (windows, tiles)
    while found is not None:
        windows, tiles = found
        # Whatever comes out can be planned.
        assert plan_regions(
            frames=40, height=52, width=90, shots=None, windows=windows, tiles=tiles, step=0, steps=1
        ), described(windows, tiles)
        found = smaller(windows, tiles, 40, 52, 90)
        steps += 1
    assert windows is not None and tiles is not None
    assert (windows.length, tiles.size, steps) == (8, 32, 5)
    assert described(windows, tiles) == "windows of 8 frames and tiles of 32 latent pixels"

"""Pixel attention in windows: the whole where it is small, a bounded number of scores where it is not."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.network.blocks import attend_to_all
from vldm_core.prior.controls.pasd import windows as windows_file
from vldm_core.prior.controls.pasd.system import PasdControl, PasdLightControl
from vldm_core.prior.controls.pasd.windows import PixelAttentionWindows
from vldm_core.prior.controls.settings import ControlSettings

from ...tiny_models import tiny_unet
from ..oracle_unets import run
from .tiny_pasd import pasd_files


def parts(height, width, *, batch=2, heads=2, channels=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, heads, height * width, channels, generator=generator) for _ in range(3)]


@pytest.mark.parametrize(("seen", "size"), [(0, (20, 30)), (32, (32, 32)), (32, (16, 64)), (30, (20, 30))])
def test_a_map_no_larger_than_the_square_is_whole(seen, size):
    found = PixelAttentionWindows(seen=seen).attend(*size)(*parts(*size))
    assert torch.equal(found, attend_to_all(*parts(*size)))


def by_masks(seen, size, query, key, value):
    """The same by its definition: which positions each may see, one after the other."""
    spans = [list(PixelAttentionWindows(seen=seen)._spans(length)) for length in size]
    found = torch.zeros_like(query)
    grid = torch.arange(size[0] * size[1]).reshape(size)
    for rows, seen_rows in spans[0]:
        for columns, seen_columns in spans[1]:
            mine, theirs = grid[rows, columns].flatten(), grid[seen_rows, seen_columns].flatten()
            scores = query[:, :, mine] @ key[:, :, theirs].transpose(-1, -2) * query.shape[-1] ** -0.5
            found[:, :, mine] = scores.softmax(-1) @ value[:, :, theirs]
    return found


@pytest.mark.parametrize("size", [(17, 40), (31, 9), (24, 24)])
def test_each_block_sees_the_square_around_it(size):
    found = PixelAttentionWindows(seen=9).attend(*size)(*parts(*size))
    torch.testing.assert_close(found, by_masks(9, size, *parts(*size)))


@pytest.mark.parametrize("length", [5, 9, 10, 31, 100])
def test_every_position_is_in_one_block_and_sees_far_enough(length):
    seen = 9
    spans = list(PixelAttentionWindows(seen=seen)._spans(length))
    assert [place for block, _ in spans for place in range(block.start, block.stop)] == list(range(length))
    for block, around in spans:
        assert 0 <= around.start <= block.start < block.stop <= around.stop <= length
        assert around.stop - around.start == min(seen, length)
        # A third of the square on each side, less half a position of rounding; all there is at the picture's edge.
        assert block.start - around.start >= min(seen // 3, block.start) or around.stop == length
        assert around.stop - block.stop >= min(seen // 3, length - block.stop) or around.start == 0


def flops(window, size):
    with FlopCounterMode(display=False) as counter:
        window.attend(*size)(*parts(*size))
    return counter.get_total_flops()


def test_cost_grows_with_the_area():
    windows, whole = PixelAttentionWindows(seen=12), PixelAttentionWindows(seen=0)
    assert flops(windows, (48, 96)) == pytest.approx(4 * flops(windows, (24, 48)), rel=1e-6)
    assert flops(whole, (48, 96)) == pytest.approx(16 * flops(whole, (24, 48)), rel=1e-6)
    # Where windows take over, they cost what the whole costs.
    assert flops(windows, (12, 13)) <= flops(whole, (12, 13))


def test_scores_are_few_at_a_time(monkeypatch):
    monkeypatch.setattr(windows_file, "MOST_SCORES", 1000)
    most = []

    def watched(query, key, value):
        most.append(query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2])
        return attend_to_all(query, key, value)

    monkeypatch.setattr(windows_file, "attend_to_all", watched)
    found = PixelAttentionWindows(seen=0).attend(10, 20)(*parts(10, 20))
    assert max(most) <= 1000
    torch.testing.assert_close(found, attend_to_all(*parts(10, 20)))


@pytest.mark.parametrize("light", [False, True])
def test_the_setting_reaches_the_net(light):
    unet = tiny_unet()
    control = (PasdLightControl if light else PasdControl).from_published(
        *pasd_files(unet, light=light), heads=(4, 4, 4, 4)
    )
    torch.manual_seed(1)
    inputs = (torch.randn(1, 4, 8, 24), torch.tensor([500]), torch.randn(1, 7, 64))
    material = ControlMaterial(hint=torch.rand(1, 3, 64, 192))

    def found(positions):
        applied = RestorationControl(control, material, ControlSettings(pixel_window=positions))
        return run(unet, *inputs, applied)

    whole = found(0)
    assert torch.equal(found(14), whole)
    assert (found(6) - whole).abs().max() > 1e-4
    assert torch.equal(found(0), whole)

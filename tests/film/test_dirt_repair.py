"""Holes are filled with the scene, and nothing else changes."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.evaluation.metrics import dilate
from vldm_core.film.dirt_repair import RADIUS, DirtRepairSettings, repair_dirt

from .dirt_scenes import scene, speckled, with_runner


def psnr(result: Tensor, truth: Tensor, mask: Tensor) -> float:
    error = (result - truth).square().mean(1)[mask > 0]
    return -10 * math.log10(float(error.mean()))


def telea(frames: Tensor, mask: Tensor) -> Tensor:
    result = frames.clone()
    for index, frame in enumerate(frames):
        picture = (frame * 255).round().byte().permute(1, 2, 0).numpy().copy()
        painted = cv2.inpaint(picture, mask[index].byte().numpy(), 3, cv2.INPAINT_TELEA)
        result[index] = torch.from_numpy(painted).permute(2, 0, 1) / 255
    return result


def test_specks_are_filled_far_better_than_by_inpainting() -> None:
    clean = scene(7)
    dirty, truth = speckled(clean)
    mask = dilate(truth, 1).float()
    repaired = psnr(repair_dirt(dirty, mask), clean, mask)
    assert repaired > 31
    assert repaired > psnr(telea(dirty, mask), clean, mask) + 4


def test_everything_outside_the_mask_is_bit_equal() -> None:
    dirty, truth = speckled(scene(4))
    dirty += torch.rand(dirty.shape, generator=torch.Generator().manual_seed(1)) * 1e-3
    mask = dilate(truth, 1).float()
    repaired = repair_dirt(dirty, mask, DirtRepairSettings(feather=2.0))
    outside = (mask == 0)[:, None].expand_as(dirty)
    assert torch.equal(repaired[outside], dirty[outside])
    assert not torch.equal(repaired, dirty)


def test_nothing_masked_nothing_changed() -> None:
    frames = scene(3, 64, 64)
    assert torch.equal(repair_dirt(frames, torch.zeros(3, 64, 64)), frames)


def test_flicker_leaves_no_seam() -> None:
    clean = scene(5, pan=0.8) * torch.tensor([1.0, 0.9, 1.08, 0.92, 1.0])[:, None, None, None]
    clean = clean.clamp(0, 1)
    mask = torch.zeros(5, 144, 192)
    mask[2, 50:70, 60:90] = 1
    dirty = torch.where(mask[:, None] > 0, torch.zeros(()), clean)
    repaired = repair_dirt(dirty, mask)
    offset = (repaired - clean).mean(1)[mask > 0].mean().abs()
    assert offset < 2 / 255
    assert psnr(repaired, clean, mask) > 31


def test_a_defect_that_lasts_is_filled_from_beyond() -> None:
    clean = scene(6, pan=0.5)
    mask = torch.zeros(6, 144, 192)
    mask[2:5, 50:62, 100:114] = 1
    dirty = torch.where(mask[:, None] > 0, torch.ones(()), clean)
    assert psnr(repair_dirt(dirty, mask), clean, mask) > 31


def test_what_no_neighbour_shows_is_inpainted() -> None:
    clean = scene(3, 64, 96, pan=0.0)
    mask = torch.zeros(3, 64, 96)
    mask[:, 30:34, 40:44] = 1
    dirty = torch.where(mask[:, None] > 0, torch.ones(()), clean)
    repaired = repair_dirt(dirty, mask)
    assert psnr(repaired, clean, mask) > 20 > psnr(dirty, clean, mask)


def test_feather_keeps_the_rim() -> None:
    dirty, truth = speckled(scene(5))
    mask = dilate(truth, 2).float()
    rim = (mask > 0) & dilate(mask == 0, 1)
    hard = (repair_dirt(dirty, mask) - dirty).abs().mean(1)[rim].mean()
    soft = (repair_dirt(dirty, mask, DirtRepairSettings(feather=2.0)) - dirty).abs().mean(1)[rim].mean()
    assert soft < 0.6 * hard


def test_windows_give_the_same_picture() -> None:
    dirty, truth = speckled(with_runner(scene(13, 96, 128)), per_frame=4)
    mask = dilate(truth, 1).float()
    mask[5:8, 20:30, 20:30] = 1
    whole = repair_dirt(dirty, mask)
    for first, last in ((0, 4), (4, 9), (9, 13)):
        start = max(first - RADIUS, 0)
        kept = slice(first - start, last - start)
        part = slice(start, last + RADIUS)
        assert torch.equal(repair_dirt(dirty[part], mask[part])[kept], whole[first:last])
        assert torch.equal(repair_dirt(dirty[part], mask[part], keep=kept)[kept], whole[first:last])


@pytest.mark.parametrize("count", [1, 2])
def test_short_shots(count: int) -> None:
    dirty, truth = speckled(scene(2, 64, 64))
    repaired = repair_dirt(dirty[:count], truth[:count].float())
    assert torch.isfinite(repaired).all()
    assert not torch.equal(repaired, dirty[:count])


def test_masked_all_over() -> None:
    frames = scene(3, 64, 64)
    everything = torch.ones(3, 64, 64)
    assert torch.equal(repair_dirt(frames, everything), frames)
    everything[0] = 0
    assert torch.isfinite(repair_dirt(frames, everything)).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (8, 200)])
def test_tiny_frames(height: int, width: int) -> None:
    stream = torch.Generator().manual_seed(0)
    frames = torch.rand(4, 3, height, width, generator=stream)
    mask = (torch.rand(4, height, width, generator=stream) > 0.7).float()
    repaired = repair_dirt(frames, mask)
    assert torch.isfinite(repaired).all()
    assert repaired.min() >= 0 and repaired.max() <= 1


def test_grey_frames() -> None:
    dirty, truth = speckled(scene(4, 64, 96))
    grey = repair_dirt(dirty[:, :1], truth.float())
    assert grey.shape == (4, 1, 64, 96)
    assert np.allclose(grey[:, 0], repair_dirt(dirty, truth.float())[:, 0], atol=1e-3)


def test_wrong_arguments_are_refused() -> None:
    frames = torch.zeros(3, 3, 32, 32)
    with pytest.raises(SettingsError, match="dirt mask"):
        repair_dirt(frames, torch.zeros(3, 32, 31))
    with pytest.raises(SettingsError, match="dirt repair needs"):
        repair_dirt(torch.zeros(3, 32, 32), torch.zeros(3, 32, 32))
    for wrong in ({"reach": 0}, {"reach": 3}, {"feather": -1.0}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            DirtRepairSettings(**wrong)  # type: ignore[arg-type]

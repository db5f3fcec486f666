"""Holes are filled with the scene, and nothing else changes."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.film.fill.repair import RADIUS, DirtRepairSettings, repair_dirt
from vldm_core.metrics.detection import dilate

from ...testers import interrupt_comes_out, windows_agree
from ..dirt.dirt_scenes import scene, speckled, with_runner


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
    for run in (
        lambda window, kept: repair_dirt(dirty[window], mask[window]),
        lambda window, kept: repair_dirt(dirty[window], mask[window], keep=kept),
    ):
        windows_agree(run, whole, (4, 9), radius=RADIUS)


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


def _grainy(count: int = 7, *, sigma: float = 4.0, blur: float = 0.7, size: tuple[int, int] = (160, 200)) -> Tensor:
    """A slowly panning smooth scene under grain of a known strength, black and white."""
    stream = np.random.default_rng(5)
    wide = cv2.GaussianBlur(stream.standard_normal((size[0] + 20, size[1] + 40)).astype(np.float32), (0, 0), 25)
    wide = 120 + 30 * wide / wide.std()
    frames = []
    for index in range(count):
        shift = np.array([[1, 0, 4 + 0.6 * index], [0, 1, 3]], np.float64)
        view = cv2.warpAffine(wide, shift, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        noise = cv2.GaussianBlur(stream.standard_normal(size), (0, 0), blur)
        frames.append(view + sigma * noise / noise.std())
    grey = np.rint(np.clip(np.stack(frames), 0, 255)).astype(np.float32) / 255
    return torch.from_numpy(grey)[:, None].repeat(1, 3, 1, 1)


def _fine(frames: Tensor, mask: Tensor) -> float:
    """Variance of the fine detail inside a mask, grey levels²."""
    total = [
        np.square(plane - cv2.GaussianBlur(plane, (0, 0), 2.0))[hole > 0]
        for plane, hole in zip(frames[:, 0].numpy() * 255, mask.numpy(), strict=True)
    ]
    return float(np.concatenate(total).mean())


@pytest.mark.parametrize(("sigma", "blur"), [(4.0, 0.7), (3.0, 0.3)])
def test_grain_is_given_back(sigma: float, blur: float) -> None:
    clean = _grainy(sigma=sigma, blur=blur)
    mask = torch.zeros(7, 160, 200)
    for index in range(7):
        mask[index, 20 + 15 * index : 38 + 15 * index, 20 + 20 * index : 44 + 20 * index] = 1
        mask[index, 120:140, 150 - 20 * index : 172 - 20 * index] = 1
    dirty = torch.where(mask[:, None] > 0, torch.zeros(()), clean)
    wanted = _fine(clean, mask)
    assert _fine(repair_dirt(dirty, mask, DirtRepairSettings(grain=0.0)), mask) < 0.8 * wanted
    assert _fine(repair_dirt(dirty, mask), mask) == pytest.approx(wanted, rel=0.15)


def test_inpainted_places_get_grain_too() -> None:
    clean = _grainy()
    mask = torch.zeros(7, 160, 200)
    mask[:, 60:84, 80:110] = 1
    dirty = torch.where(mask[:, None] > 0, torch.zeros(()), clean)
    wanted = _fine(clean, mask)
    assert _fine(repair_dirt(dirty, mask, DirtRepairSettings(grain=0.0)), mask) < 0.3 * wanted
    assert _fine(repair_dirt(dirty, mask), mask) == pytest.approx(wanted, rel=0.15)


def test_what_shows_through_a_veil_is_kept() -> None:
    """Behind a faint blotch something is seen that no neighbour shows."""
    clean = scene(5, pan=0.5)
    clean[2, :, 60:72, 90:96] = 0.15
    mask = torch.zeros(5, 144, 192)
    cv2.ellipse(mask[2].numpy(), (92, 66), (28, 22), 0, 0, 360, 1.0, -1)
    dirty = torch.where(mask[:, None] > 0, clean * 0.7, clean)
    repaired = repair_dirt(dirty, mask, DirtRepairSettings(grain=0.0))
    assert repaired[2, :, 62:70, 91:95].mean() < 0.25
    assert psnr(repaired, clean, mask) > 34


@pytest.mark.parametrize(("first", "last", "least"), [(4, 7, 35), (2, 9, 33)])
def test_a_chain_reaches_beyond_frames_damaged_in_the_same_place(first: int, last: int, least: float) -> None:
    clean = scene(11, pan=2.0)
    mask = torch.zeros(11, 144, 192)
    mask[first:last, 60:74, 100:116] = 1
    dirty = torch.where(mask[:, None] > 0, torch.zeros(()), clean)
    middle = mask * 0
    middle[5] = mask[5]
    far = psnr(repair_dirt(dirty, mask, DirtRepairSettings(grain=0.0)), clean, middle)
    near = psnr(repair_dirt(dirty, mask, DirtRepairSettings(grain=0.0, reach=1)), clean, middle)
    assert far > least
    assert far > near + 10


def test_a_brightness_ramp_leaves_no_seam() -> None:
    """Light that falls off across the neighbours is matched at the hole."""
    clean = scene(5, pan=0.5)
    ramp = torch.linspace(0.75, 1.0, 192)
    clean[1::2] *= ramp
    clean[::2] *= ramp.flip(0)
    mask = torch.zeros(5, 144, 192)
    mask[2, 40:70, 50:90] = 1
    dirty = torch.where(mask[:, None] > 0, torch.ones(()), clean)
    repaired = repair_dirt(dirty, mask)
    error = ((repaired - clean)[2, 0, 40:70, 50:90] * 255).numpy()
    for rim in (error[:3], error[-3:], error[:, :3], error[:, -3:]):
        assert abs(rim.mean()) < 2
    # Interpolation beside another frame's hole must not mix its dirt in.
    assert np.abs(cv2.blur(error, (5, 5))).max() < 12


def test_a_fill_never_mixes_the_dirt_of_a_neighbour_in() -> None:
    clean = torch.full((5, 3, 96, 96), 0.5)
    mask = torch.zeros(5, 96, 96)
    for index in range(5):
        mask[index, 30:50, 20 + 9 * index : 40 + 9 * index] = 1
    dirty = torch.where(mask[:, None] > 0, torch.zeros(()), clean)
    assert (repair_dirt(dirty, mask) - clean).abs().max() < 1 / 255


def test_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    dirty, truth = speckled(scene(6, 96, 128))
    mask = dilate(truth, 1).float()
    several = repair_dirt(dirty, mask)
    monkeypatch.setattr("vldm_core.film.fill.repair._MOST_THREADS", 1)
    assert torch.equal(repair_dirt(dirty, mask), several)


def test_interrupts_come_out() -> None:
    dirty, truth = speckled(scene(6, 96, 128))

    interrupt_comes_out(lambda progress: repair_dirt(dirty, truth.float(), progress=progress), at=2)


def test_local_light_leaves_no_seam() -> None:
    """A patch of light that one frame alone has, smaller than the brightness match can follow."""
    clean = scene(5, pan=0.5)
    columns, rows = torch.meshgrid(torch.arange(192.0), torch.arange(144.0), indexing="xy")
    patch = torch.exp(-((columns - 95) ** 2 + (rows - 70) ** 2) / (2 * 22**2))
    clean[2] = (clean[2] + 0.05 * patch).clamp(0, 1)
    mask = torch.zeros(5, 144, 192)
    mask[2, 60:80, 82:108] = 1
    dirty = torch.where(mask[:, None] > 0, torch.zeros(()), clean)
    error = (repair_dirt(dirty, mask, DirtRepairSettings(grain=0.0)) - clean)[2, 0][mask[2] > 0].mean() * 255
    assert abs(error) < 5

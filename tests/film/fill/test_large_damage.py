"""Large damage, masks that do not fit, and marks that had better be left alone."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.film.fill.repair import DirtRepairSettings, repair_dirt
from vldm_core.metrics.detection import dilate

_CLEAN = DirtRepairSettings(grain=0.0)


def _psnr(result: Tensor, truth: Tensor, where: Tensor) -> float:
    error = (result - truth).square().mean(1)[where > 0]
    return -10 * math.log10(float(error.mean()))


def _texture(seed: int, height: int, width: int, sigma: float = 2.0) -> np.ndarray:
    """A texture with detail of a few pixels, grey levels."""
    stream = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(stream.standard_normal((height, width)).astype(np.float32), (0, 0), sigma)
    return (120 + 30 * fine / fine.std()).astype(np.float32)


def _panning(count: int, speed: float, *, height: int = 144, width: int = 192) -> Tensor:
    """A textured scene that pans evenly, (T, 3, H, W)."""
    wide = _texture(3, height, width + round(abs(speed) * count) + 8)
    views = []
    for index in range(count):
        move = np.array([[1, 0, speed * index + 2], [0, 1, 0]], np.float64)
        view = cv2.warpAffine(wide, move, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        views.append(np.clip(view, 0, 255) / 255)
    return torch.from_numpy(np.stack(views)).float()[:, None].repeat(1, 3, 1, 1)


def _blotch(height: int, width: int, radius: int) -> Tensor:
    """A ragged mark in the middle, (H, W)."""
    rough = cv2.GaussianBlur(np.random.default_rng(1).standard_normal((height, width)).astype(np.float32), (0, 0), 3)
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(rows - height / 2, columns - width / 2) + 5 * rough / rough.std()
    return torch.from_numpy((away < radius).astype(np.float32))


@pytest.mark.parametrize("at", [3, 6])
def test_the_scene_goes_on_evenly_behind_large_damage(at: int) -> None:
    """In the last frame of a shot nothing has told damage from motion before."""
    clean = _panning(7, 3.4)
    mask = torch.zeros(7, 144, 192)
    mask[at] = _blotch(144, 192, 28)
    spots = torch.from_numpy(_texture(9, 144, 192, 1.5)).clamp(0, 255) / 255
    dirty = torch.where(mask[:, None] > 0, (spots + 0.35).clamp(0, 1), clean)
    assert _psnr(repair_dirt(dirty, mask, _CLEAN), clean, mask) > 28


def test_a_mask_that_is_too_wide_does_no_harm() -> None:
    """Its rim shows the scene, and must not pass for what shines through the rest."""
    clean = _panning(7, 1.3)
    damage = torch.zeros(7, 144, 192)
    # In the same place on every frame, so that no neighbour shows the middle of it.
    damage[1:6, 60:80, 80:104] = 1
    dirty = torch.where(damage[:, None] > 0, torch.full((), 0.3), clean)
    wide = torch.stack([dilate(frame[None], 3)[0] for frame in damage]).float()
    exact, broad = (repair_dirt(dirty, mask, _CLEAN) for mask in (damage, wide))
    assert _psnr(broad, clean, damage) > _psnr(exact, clean, damage) - 1


def test_grain_averages_out_over_the_neighbours() -> None:
    still = torch.from_numpy(_texture(5, 128, 160, 6.0) / 255).clamp(0.1, 0.9)
    noise = torch.randn(7, 128, 160, generator=torch.Generator().manual_seed(2)) * 6 / 255
    film = (still + noise)[:, None].repeat(1, 3, 1, 1)
    mask = torch.zeros(7, 128, 160)
    mask[3, 40:60, 60:90] = 1
    dirty = torch.where(mask[:, None] > 0, torch.ones(()), film)
    error = (repair_dirt(dirty, mask, _CLEAN)[3, 0] - still)[mask[3] > 0] * 255
    # Six frames with a deviation of 6 each; two would leave more than 4.
    assert float(error.std()) < 3.6


def _restless(count: int) -> Tensor:
    """Every frame shows something else in the middle of a scene at rest."""
    still = torch.from_numpy(_texture(4, 96, 128) / 255).clamp(0, 1).repeat(count, 1, 1)
    for index in range(count):
        still[index, 30:66, 40:88] = torch.from_numpy(_texture(20 + index, 36, 48, 3.0) / 255).clamp(0, 1)
    return still[:, None].repeat(1, 3, 1, 1)


def test_a_fill_in_doubt_is_left_out_and_told() -> None:
    frames = _restless(7)
    mask = torch.zeros(7, 96, 128)
    mask[3, 34:62, 44:84] = 1
    told: list[tuple[int, str]] = []
    repaired = repair_dirt(frames, mask, tell=lambda index, reason: told.append((index, reason)))
    assert torch.equal(repaired, frames)
    assert [index for index, _ in told] == [3]
    assert "left as they came" in told[0][1]


def test_plain_damage_is_filled_even_where_neighbours_differ() -> None:
    frames = _restless(7)
    mask = torch.zeros(7, 96, 128)
    mask[3, 34:62, 44:84] = 1
    dirty = torch.where(mask[:, None] > 0, torch.ones(()), frames)
    assert _psnr(repair_dirt(dirty, mask), frames, mask) > _psnr(dirty, frames, mask) + 6


def test_a_mark_that_is_trusted_is_filled_in_doubt_too() -> None:
    frames = _restless(7)
    mask = torch.zeros(7, 96, 128)
    mask[3, 34:62, 44:84] = 1
    changed = (repair_dirt(frames, mask, trusted=True) != frames).any(1)
    assert changed[mask > 0].float().mean() > 0.5

"""Soft maps of damage agree with the masks at the settings' own thresholds."""

import numpy as np
import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.stages.batch import damage_probability, detect_damage
from vldm_core.video.shots import Shot


def _damaged(count: int = 12, height: int = 96, width: int = 128) -> torch.Tensor:
    """A texture that moves 2 px a frame, one black speck a frame at no course, and a dark line that stands still."""
    rng = np.random.default_rng(4)
    wide = width + 2 * count
    coarse = torch.from_numpy(rng.random((1, 1, height // 8, wide // 8), dtype=np.float32))
    picture = torch.nn.functional.interpolate(coarse, (height, wide), mode="bicubic", align_corners=False)[0]
    frames = torch.stack([picture[:, :, 2 * t : 2 * t + width] for t in range(count)]) * 0.3 + 0.35
    frames = frames + torch.from_numpy(rng.normal(0, 2 / 255, frames.shape).astype(np.float32))
    for t in range(count):
        y, x = 10 + 37 * t % 73, 8 + 53 * t % 71
        frames[t, :, y : y + 6, x : x + 6] = 0.02
    frames[:, :, :, 90:92] -= 20 / 255
    return frames.clamp(0, 1).expand(-1, 3, -1, -1).clone()


def test_masks_are_the_probability_above_the_certainty():
    frames = _damaged()
    shots = (Shot(first=0, last=12),)
    # With larger ones alone, a speck of a pixel or two is likely dirt that is not marked.
    dirt = DirtSettings(min_size=1)
    masks = detect_damage(frames, shots=shots, dirt=dirt, lines=ScratchSettings())
    judged = damage_probability(frames, shots=shots, dirt=dirt, lines=ScratchSettings())
    assert bool(masks.dirt.any()) and bool(masks.scratch.any())
    assert torch.equal(judged.dirt >= dirt.certainty, masks.dirt > 0)
    assert bool((judged.scratch[masks.scratch > 0] > 0).all())
    for plane in (judged.dirt, judged.scratch):
        assert plane.shape == (12, 96, 128)
        assert bool(((plane >= 0) & (plane <= 1)).all())


def test_what_is_not_asked_for_stays_zero():
    frames = _damaged(6)
    seen: list[tuple[object, ...]] = []
    judged = damage_probability(frames, lines=ScratchSettings(), progress=lambda *report: seen.append(report[:2]))
    assert not bool(judged.dirt.any())
    judged = damage_probability(frames, dirt=DirtSettings())
    assert bool(judged.dirt.any()) and not bool(judged.scratch.any())
    assert ("find scratches", 6) in seen


def test_frames_of_another_layout_are_refused():
    with pytest.raises(SettingsError, match="frames must be"):
        damage_probability(torch.zeros(3, 8, 8), dirt=DirtSettings())

"""Temporal figures on cases whose value is known by hand."""

import numpy as np
import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.metrics import temporal as metrics

from .textures import texture_frames


def _still(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count, _, height, width = frames.shape
    return torch.zeros(count - 1, 2, height, width), torch.ones(count - 1, height, width)


def test_flicker_index_is_the_spread_of_the_gain_steps():
    frames = texture_frames(6, 48, 64)
    gains = torch.tensor([1.0, 1.1, 1.0, 1.1, 1.0, 1.1])
    flow, visible = _still(frames)
    steady = metrics.flicker_index(frames, flow, visible)
    assert steady.overall == 0
    assert steady.local == 0
    flickering = metrics.flicker_index(frames * gains[:, None, None, None], flow, visible)
    # The changes alternate between +log 1.1 and -log 1.1 (a little less: the logarithm is offset in the dark).
    changes = np.log(1.1) * np.array([1, -1, 1, -1, 1])
    assert flickering.overall == pytest.approx(float(changes.std()), rel=0.1)
    assert flickering.overall < float(changes.std())
    assert flickering.local < 0.1 * flickering.overall


def test_flicker_index_does_not_mind_a_fade_but_sees_a_local_flicker():
    frames = texture_frames(6, 48, 64)
    flow, visible = _still(frames)
    fade = frames * (0.97 ** torch.arange(6.0))[:, None, None, None]
    assert metrics.flicker_index(fade, flow, visible).overall < 1e-3
    corner = frames.clone()
    corner[::2, :, :12, :16] *= 1.2
    local = metrics.flicker_index(corner, flow, visible)
    assert local.overall < 0.005
    assert local.local > 0.02


def test_warp_error_follows_the_motion_and_leaves_occlusions_out():
    still = texture_frames(1, 48, 64)
    frames = torch.cat([torch.roll(still, 3 * step, dims=-1) for step in range(4)])
    flow, visible = _still(frames)
    visible[:, :, :3] = 0  # what rolled in at the left was not there before
    assert metrics.warp_error(frames, flow, visible) > 5
    flow[:, 0] = -3
    assert metrics.warp_error(frames, flow, visible) < 1e-3
    assert metrics.warp_error(frames, flow, torch.zeros_like(visible)) is None
    offset = frames.clone()
    offset[1::2] += 4 / 255
    assert metrics.warp_error(offset, flow, visible) == pytest.approx(4.0, abs=1e-2)


def test_frames_that_do_not_fit_are_refused():
    frames = torch.zeros(3, 3, 4, 4)
    with pytest.raises(SettingsError, match="at least 3"):
        metrics.flicker_index(frames[:2], *_still(frames[:2]))
    with pytest.raises(SettingsError, match="do not fit"):
        metrics.warp_error(frames, *_still(frames[:2]))

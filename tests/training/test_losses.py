"""Losses have the values their formulas say."""

import math

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.training.losses import charbonnier, gradient, multi_scale, temporal


def test_charbonnier_by_hand() -> None:
    output, target = torch.tensor([0.0, 3.0]), torch.tensor([0.0, -1.0])
    assert charbonnier(output, target) == pytest.approx((1e-3 + math.sqrt(16 + 1e-6)) / 2)
    assert charbonnier(output, target, torch.tensor([3.0, 1.0])) == pytest.approx((3e-3 + math.sqrt(16 + 1e-6)) / 4)
    assert charbonnier(output, target, torch.zeros(2)) == 0


def test_multi_scale_compares_each_size_with_its_own_target() -> None:
    target = torch.rand(1, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    smaller = torch.nn.functional.avg_pool2d(target[0], 2)[None]
    assert multi_scale([target, smaller], target, [1.0, 2.0]) == pytest.approx(3e-3, rel=1e-3)
    assert multi_scale([target + 1, smaller], target, [1.0, 2.0]) == pytest.approx(1.002, rel=1e-3)
    with pytest.raises(SettingsError, match="2 pictures and 1 weights"):
        multi_scale([target, smaller], target, [1.0])


def test_gradient_minds_edges_and_not_tone() -> None:
    target = torch.zeros(1, 4, 4)
    assert gradient(target + 0.3, target) == 0
    step = target.clone()
    step[..., 2:] = 1
    assert gradient(step, target) == pytest.approx(1 / 3)


def test_temporal_forgives_what_the_target_does_and_punishes_flicker() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 3, 3, 8, 8, generator=generator)
    flow, trust = torch.zeros(1, 2, 2, 8, 8), torch.ones(1, 2, 8, 8)
    assert temporal(target, target, flow, trust) == pytest.approx(1e-3)
    assert temporal(target + 0.2, target, flow, trust) == pytest.approx(1e-3, rel=1e-2)
    flickering = target + torch.tensor([0.0, 0.1, 0.0])[None, :, None, None, None]
    assert temporal(flickering, target, flow, trust) == pytest.approx(0.1, rel=1e-2)
    assert temporal(flickering, target, flow, torch.zeros_like(trust)) == 0


def test_temporal_follows_the_motion() -> None:
    error = torch.rand(1, 1, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    moving = torch.cat([error, error.roll(2, dims=-1)], dim=1)
    flow = torch.zeros(1, 1, 2, 8, 16)
    flow[:, :, 0] = -2
    trust = torch.ones(1, 1, 8, 16)
    trust[..., :2] = 0
    zero = torch.zeros_like(moving)
    assert temporal(moving, zero, flow, trust) == pytest.approx(1e-3, rel=1e-2)
    assert temporal(moving, zero, torch.zeros_like(flow), trust) > 0.1

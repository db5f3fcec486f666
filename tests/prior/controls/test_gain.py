"""How much of a control's change is kept."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.prior.controls.gain import gain_of, weighed


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_gain_of_one_hands_on_the_change_itself():
    before, after = noise(4, 3, 8, 6), noise(4, 3, 8, 6, seed=1)
    gain = gain_of([1.0, 1.0], torch.zeros(2, 8, 6), 0.5, chunks=2)
    assert gain.plain
    assert weighed(before, after, gain, tokens=False, scale=1) is after


def test_a_frame_of_factor_nothing_stays_bit_equal():
    before, after = noise(4, 3, 8, 6), noise(4, 3, 8, 6, seed=1)
    found = weighed(before, after, gain_of([0.0, 1.0], None, 0.5, chunks=2), tokens=False, scale=1)
    assert torch.equal(found[[0, 2]], before[[0, 2]])
    assert torch.allclose(found[[1, 3]], after[[1, 3]], atol=1e-6)


@given(in_damage=st.floats(0, 1), factor=st.floats(0, 10))
def test_damage_weakens_inside_only(in_damage, factor):
    damage = torch.zeros(1, 8, 8)
    damage[:, 2:4, 2:4] = 1
    before, after = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    found = weighed(before, after, gain_of([factor], damage, in_damage, chunks=1), tokens=False, scale=1)
    assert torch.allclose(found[0, 0, 2:4, 2:4], torch.tensor(factor * in_damage), atol=1e-5)
    assert torch.allclose(found[0, 0, 5:, :], torch.tensor(float(factor)), atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(8, 8), (9, 13)])
def test_tokens_and_maps_are_weighed_alike(scale, size):
    damage = torch.rand(2, *size, generator=torch.Generator().manual_seed(3))
    gain = gain_of([0.7, 0.2], damage, 0.1, chunks=2)
    height, width = (-(-side // scale) for side in size)
    before, after = noise(4, 5, height, width), noise(4, 5, height, width, seed=1)
    as_map = weighed(before, after, gain, tokens=False, scale=scale)
    before, after = (tensor.flatten(2).transpose(1, 2) for tensor in (before, after))
    found = weighed(before, after, gain, tokens=True, scale=scale)
    assert torch.equal(found, as_map.flatten(2).transpose(1, 2))


def test_the_weakening_is_the_mean_over_what_a_coarse_pixel_covers():
    damage = torch.zeros(1, 4, 4)
    damage[0, 0, 0] = 1
    gain = gain_of([1.0], damage, 0.0, chunks=1)
    assert gain.at(4).item() == pytest.approx(15 / 16)

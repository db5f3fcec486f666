"""Fitting to the prior's sizes always fits, and always leads back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.video.geometry import FitSettings, fit, plan_fit, unfit

MODES = ("pad", "resize")


@settings(max_examples=300, deadline=None)
@given(height=st.integers(1, 2500), width=st.integers(1, 2500), mode=st.sampled_from(MODES))
def test_every_size_gets_a_plan_that_fits(height, width, mode):
    plan = plan_fit(height, width, FitSettings(mode=mode))
    assert plan.fitted_height % 64 == plan.fitted_width % 64 == 0
    assert min(plan.fitted_height, plan.fitted_width) >= 512
    if mode == "pad":
        assert 0 <= plan.fitted_height - plan.scaled_height < 64
        assert 0 <= plan.fitted_width - plan.scaled_width < 64
        assert plan.resizes == (min(height, width) < 512)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), mode=st.sampled_from(MODES), short=st.integers(8, 64))
def test_size_comes_back_and_an_untouched_picture_is_exact(height, width, mode, short):
    frames = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height * 97 + width))
    plan = plan_fit(height, width, FitSettings(short_side=short, multiple=16, mode=mode))
    fitted = fit(frames, plan)
    assert fitted.shape == (2, 3, plan.fitted_height, plan.fitted_width)
    assert fitted.min() >= 0 and fitted.max() <= 1
    back = unfit(fitted, plan)
    assert back.shape == frames.shape
    if not plan.resizes:
        assert torch.equal(back, frames)
    assert torch.equal(unfit(fitted, plan, frames), frames)


def test_a_change_made_at_the_fitted_size_arrives():
    frames = torch.full((1, 3, 40, 60), 0.25)
    plan = plan_fit(40, 60, FitSettings(short_side=96, multiple=32))
    assert plan.resizes
    back = unfit(fit(frames, plan) + 0.5, plan, frames)
    torch.testing.assert_close(back, frames + 0.5)


def test_a_smooth_picture_survives_enlarging():
    y, x = torch.meshgrid(torch.linspace(0, 3, 100), torch.linspace(0, 4, 140), indexing="ij")
    frames = (0.5 + 0.4 * torch.sin(x) * torch.cos(y)).expand(1, 3, -1, -1)
    plan = plan_fit(100, 140)
    assert (unfit(fit(frames, plan), plan) - frames).abs().max() < 2 / 255


def test_padding_mirrors_the_picture():
    frames = torch.arange(5.0)[None, None, None].expand(1, 1, 1, 5) / 5
    plan = plan_fit(1, 5, FitSettings(short_side=1, multiple=16))
    expected = torch.tensor([3, 4, 3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2]) / 5
    assert plan.left == 5
    torch.testing.assert_close(fit(frames, plan)[0, 0, 0], expected)


@pytest.mark.parametrize("mode", MODES)
def test_masks_stay_binary_and_keep_every_mark(mode):
    mask = torch.zeros(1, 70, 90)
    mask[0, 33, 41] = 1
    plan = plan_fit(70, 90, FitSettings(short_side=64, multiple=64, mode=mode))
    fitted = fit(mask, plan)
    assert set(fitted.unique().tolist()) == {0.0, 1.0}
    back = unfit(fitted, plan)
    assert back.shape == mask.shape
    assert set(back.unique().tolist()) == {0.0, 1.0}
    assert back[0, 33, 41] == 1


def test_wrong_sizes_and_settings_are_refused():
    plan = plan_fit(40, 60)
    with pytest.raises(SettingsError, match="cannot fit"):
        fit(torch.zeros(1, 3, 41, 60), plan)
    with pytest.raises(SettingsError, match="cannot unfit"):
        unfit(torch.zeros(1, 3, 40, 60), plan)
    with pytest.raises(SettingsError, match="at least 1"):
        plan_fit(0, 5)
    with pytest.raises(SettingsError, match="stretch"):
        FitSettings(mode="stretch")  # type: ignore[arg-type]

"""Fitting to the prior's sizes, and the way back."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.video.geometry import LARGEST_ASPECT, FitPlan, FitSettings, fit, plan_fit, unfit

SIDE = st.integers(1, 2000)
MODE = st.sampled_from(["pad", "resize"])
SMALL: dict[str, Any] = {"short_side": 64, "multiple": 16}


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def picture(height, width):
    """Smooth structure with a sharp-edged square."""
    y, x = torch.meshgrid(torch.linspace(0, 6, height), torch.linspace(0, 6, width), indexing="ij")
    grey = 0.5 + 0.3 * torch.sin(x) * torch.cos(y)
    grey[height // 3 : height // 2, width // 3 : width // 2] = 0.9
    return grey.expand(1, 3, -1, -1).contiguous()


@given(height=SIDE, width=SIDE, mode=MODE)
@settings(max_examples=400)
def test_any_size_gets_a_valid_plan(height, width, mode):
    plan = plan_fit(height, width, FitSettings(mode=mode))
    assert plan.fitted_height % 64 == 0 and plan.fitted_width % 64 == 0
    assert min(plan.fitted_height, plan.fitted_width) >= 512
    assert max(plan.fitted_height, plan.fitted_width) < max(LARGEST_ASPECT * 512, height, width) + 64
    assert height <= plan.content_height <= plan.fitted_height - plan.top
    assert width <= plan.content_width <= plan.fitted_width - plan.left
    assert plan.top >= 0 and plan.left >= 0
    down, across = plan.scale
    if mode == "pad":
        if min(height, width) >= 512:
            assert not plan.resized
        # The aspect ratio is kept up to the rounding to whole pixels.
        assert abs(plan.content_width - across * width) < 1e-6
        assert abs(down - across) <= 0.5 / height + 0.5 / width + 1e-9
    else:
        assert (plan.content_height, plan.content_width) == (plan.fitted_height, plan.fitted_width)
        assert plan.top == plan.left == 0


@given(height=st.integers(1, 150), width=st.integers(1, 150), mode=MODE, seed=st.integers(0, 99))
@settings(max_examples=40)
def test_there_and_back_has_the_exact_size(height, width, mode, seed):
    plan = plan_fit(height, width, FitSettings(mode=mode, **SMALL))
    frames = noise(2, 3, height, width, seed=seed)
    fitted = fit(frames, plan)
    assert fitted.shape == (2, 3, plan.fitted_height, plan.fitted_width)
    assert fitted.dtype == frames.dtype and fitted.min() >= 0 and fitted.max() <= 1
    back = unfit(fitted, plan)
    assert back.shape == frames.shape
    if not plan.resized:
        assert torch.equal(back, frames)
    assert torch.equal(unfit(fitted, plan, frames), frames)


@given(height=st.integers(1, 150), width=st.integers(1, 150), mode=MODE, seed=st.integers(0, 99))
@settings(max_examples=60)
def test_binary_masks_stay_binary_and_come_back(height, width, mode, seed):
    plan = plan_fit(height, width, FitSettings(mode=mode, **SMALL))
    masks = (noise(2, height, width, seed=seed) > 0.7).float()
    fitted = fit(masks, plan)
    assert fitted.shape == (2, plan.fitted_height, plan.fitted_width)
    assert set(fitted.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(unfit(fitted, plan), masks)


def test_film_of_the_archive_is_enlarged_then_padded():
    plan = plan_fit(368, 480)
    assert (plan.content_height, plan.content_width) == (512, 668)
    assert (plan.top, plan.left, plan.fitted_height, plan.fitted_width) == (0, 18, 512, 704)
    assert plan.resized and plan.scale[0] == pytest.approx(512 / 368)
    assert not plan_fit(720, 1280).resized
    assert plan_fit(720, 1280).fitted_height == 768


@pytest.mark.parametrize("mode", ["pad", "resize"])
def test_an_untouched_picture_comes_back_within_the_documented_tolerance(mode):
    frames = picture(368, 480)
    plan = plan_fit(368, 480, FitSettings(mode=mode))
    error = (unfit(fit(frames, plan), plan) - frames).abs()
    assert error.mean() < 0.003
    assert error.flatten().kthvalue(int(0.999 * error.numel())).values < 0.07
    rough = noise(1, 3, 368, 480)
    assert (unfit(fit(rough, plan), plan) - rough).abs().mean() < 0.06


def test_with_the_original_only_the_change_comes_back():
    frames = noise(1, 3, 100, 120)
    plan = plan_fit(100, 120, FitSettings(short_side=128))
    fitted = fit(frames, plan)
    fitted[..., 40:60, 50:70] = 0.25
    back = unfit(fitted, plan, frames)
    changed = (back != frames).any(1)[0]
    rows, columns = changed.nonzero(as_tuple=True)
    scale = plan.scale[0]
    assert rows.min() >= 40 / scale - 9 and rows.max() <= 60 / scale + 9
    assert columns.min() >= (50 - plan.left) / scale - 9 and columns.max() <= (70 - plan.left) / scale + 9
    middle = back[..., round(50 / scale), round((60 - plan.left) / scale)]
    # Inside the change the way back with the original keeps the detail of it that enlarging and reducing lose.
    without = unfit(fitted, plan)[..., round(50 / scale), round((60 - plan.left) / scale)]
    assert torch.allclose(without, torch.full((1, 3), 0.25), atol=1e-3)
    lost = (frames - unfit(fit(frames, plan), plan))[..., round(50 / scale), round((60 - plan.left) / scale)]
    assert torch.allclose(middle, without + lost, atol=0.02)
    assert not changed[:20].any() and changed[round(50 / scale)].any()
    assert back.min() >= 0 and back.max() <= 1


def test_padding_mirrors_even_when_it_exceeds_the_picture():
    row = torch.tensor([0.0, 0.5, 1.0]).expand(1, 1, 3, 3)
    plan = FitPlan(
        height=3, width=3, content_height=3, content_width=3, top=2, left=5, fitted_height=7, fitted_width=16
    )
    fitted = fit(row, plan)
    expected = [0.5, 0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0]
    assert fitted[0, 0, 0].tolist() == expected
    assert torch.equal(unfit(fitted, plan), row)
    single = FitPlan(
        height=1, width=1, content_height=1, content_width=1, top=3, left=3, fitted_height=8, fitted_width=8
    )
    assert torch.equal(fit(torch.full((1, 3, 1, 1), 0.4), single), torch.full((1, 3, 8, 8), 0.4))


def test_soft_masks_stay_soft_and_frames_are_judged_singly():
    soft, hard = noise(1, 50, 70), (noise(1, 50, 70, seed=1) > 0.5).float()
    plan = plan_fit(50, 70, FitSettings(**SMALL))
    both = fit(torch.cat([soft, hard]), plan)
    assert torch.equal(both[:1], fit(soft, plan)) and torch.equal(both[1:], fit(hard, plan))
    assert len(both[0].unique()) > 100
    assert both.min() >= 0 and both.max() <= 1


def test_fit_never_hands_out_its_argument():
    frames = noise(1, 3, 512, 512)
    plan = plan_fit(512, 512)
    for result in (fit(frames, plan), unfit(frames, plan)):
        assert torch.equal(result, frames)
        result.zero_()
        assert frames.abs().sum() > 0


def test_wrong_arguments_are_refused():
    for wrong in ({"short_side": 0}, {"multiple": 0}, {"mode": "crop"}):
        with pytest.raises(SettingsError, match="fit"):
            FitSettings(**wrong)
    with pytest.raises(SettingsError, match="0×5"):
        plan_fit(5, 0)
    plan = plan_fit(100, 100)
    with pytest.raises(SettingsError, match="make a plan"):
        fit(torch.zeros(1, 3, 100, 101), plan)
    with pytest.raises(SettingsError, match="make a plan"):
        unfit(torch.zeros(1, 3, 100, 100), plan)
    with pytest.raises(SettingsError, match="same number"):
        unfit(torch.zeros(2, 3, 512, 512), plan, torch.zeros(1, 3, 100, 100))
    with pytest.raises(SettingsError, match="no original for masks"):
        unfit(torch.zeros(2, 512, 512), plan, torch.zeros(2, 100, 100))

"""Optical flow: accuracy, robustness to film damage, warping and consistency."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from vldm_core.errors import SettingsError
from vldm_core.video.flow import (
    FlowSettings,
    estimate_flow,
    estimate_pair,
    fill_masked,
    normalise_brightness,
    prefill_dirt,
    to_luma,
)
from vldm_core.video.warping import consistency, consistency_array, inside, inside_array, warp, warp_array


def scene(height=184, width=240, seed=0, sigma=2.0):
    """A picture with texture of several sizes everywhere, in grey levels."""
    rng = np.random.default_rng(seed)
    noise = sum(
        ndimage.gaussian_filter(rng.normal(size=(height, width)), s, mode="wrap") * s for s in (sigma, 3 * sigma)
    )
    return (128 + 45 * noise / noise.std()).clip(0, 255).astype(np.float32)


def moved(picture, dx, dy):
    """Content shifted by (dx, dy), by spline, since OpenCV's cubic kernel is not accurate enough for a reference."""
    return ndimage.shift(picture, (dy, dx), order=4, mode="reflect").astype(np.float32)


def inner(flow, margin=16):
    return flow[margin:-margin, margin:-margin]


@pytest.mark.parametrize("quality", ["fine", "fast"])
@pytest.mark.parametrize("shift", [(0.5, -0.25), (3.3, 2.1), (-11.0, 6.0)])
def test_flow_recovers_a_shift_under_grain(quality, shift):
    rng = np.random.default_rng(1)
    here = scene()
    there = moved(here, *shift)
    here, there = (p + rng.normal(0, 2.5, p.shape).astype(np.float32) for p in (here, there))
    flow = estimate_pair(here, there, settings=FlowSettings(quality=quality))
    assert flow.shape == (*here.shape, 2) and flow.dtype == np.float32
    # The fast setting stops at quarter size, which costs sub-pixel accuracy.
    assert np.abs(np.median(inner(flow), (0, 1)) - shift).max() < (0.1 if quality == "fine" else 0.15)
    assert np.abs(inner(flow) - shift).mean() < 0.25


def test_flow_is_the_same_for_any_number_of_threads():
    here, there = scene(), moved(scene(), 1.3, -2.2)
    threads = cv2.getNumThreads()
    results = []
    try:
        for count in (1, 2, 3, 1):
            cv2.setNumThreads(count)
            results.append(estimate_pair(here, there))
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_flow_direction_follows_the_convention():
    base = scene()
    frames = torch.from_numpy(np.stack([moved(base, 2.0 * t, -1.0 * t) for t in range(3)]) / 255)[:, None]
    frames = frames.expand(-1, 3, -1, -1)
    backward = estimate_flow(frames)
    forward = estimate_flow(frames, direction="forward")
    assert backward.shape == (2, 2, *base.shape)
    centre = np.s_[:, :, 20:-20, 20:-20]
    assert torch.allclose(backward[centre].mean((0, 2, 3)), torch.tensor([-2.0, 1.0]), atol=0.1)
    assert torch.allclose(forward[centre].mean((0, 2, 3)), torch.tensor([2.0, -1.0]), atol=0.1)
    looked_up = warp(frames[:-1], backward)
    assert (looked_up - frames[1:])[centre].abs().mean() < 0.25 * (frames[:-1] - frames[1:])[centre].abs().mean()
    assert consistency(backward, forward)[:, 20:-20, 20:-20].float().mean() > 0.99


def test_a_window_gives_what_its_parts_give():
    base = scene(96, 120)
    frames = torch.from_numpy(np.stack([moved(base, 1.5 * t, t) for t in range(5)]) / 255)[:, None]
    whole = estimate_flow(frames)
    parts = torch.cat([estimate_flow(frames[:3]), estimate_flow(frames[2:])])
    assert torch.equal(whole, parts)


def test_flicker_does_not_become_motion():
    here = scene()
    field = ndimage.zoom(np.random.default_rng(3).normal(0, 0.07, (4, 4)), (46, 60), order=1)
    there = (moved(here, 1.0, 0.5) * (1.08 + field)).clip(0, 255).astype(np.float32)
    matched = np.abs(inner(estimate_pair(here, there)) - (1.0, 0.5)).mean()
    plain = np.abs(inner(estimate_pair(here, there, settings=FlowSettings(match_brightness=False))) - (1.0, 0.5)).mean()
    assert matched < 0.15
    assert matched < plain


def test_brightness_match_undoes_gain_and_offset():
    here = scene()
    for gain, offset in ((0.85, 0.0), (1.15, -10.0)):
        matched = normalise_brightness(here * gain + offset, here)
        assert np.abs(matched - here).max() < 1.5
    assert np.abs(normalise_brightness(here, here) - here).max() < 1e-3


def test_known_damage_does_not_pull_the_flow():
    here, there = scene(), moved(scene(), 4.0, 0.0)
    mask = np.zeros(here.shape, np.float32)
    mask[:, 100:112] = 1
    here, there = np.where(mask > 0, 250, here), np.where(mask > 0, 250, there)
    around = np.s_[20:-20, 92:120, 0]
    plain = np.abs(estimate_pair(here, there)[around] - 4.0).mean()
    masked = np.abs(estimate_pair(here, there, mask_from=mask, mask_to=mask)[around] - 4.0).mean()
    assert masked < 0.5 * plain
    frames = torch.from_numpy(np.stack([there, here]) / 255)[:, None]
    masks = torch.from_numpy(np.stack([mask, mask]))
    window = estimate_flow(frames, masks=masks)[0].permute(1, 2, 0).numpy()
    assert np.abs(window[around] - 4.0).mean() < 0.5 * plain


def test_large_frames_are_worked_on_at_reduced_size():
    here = scene(300, 400, sigma=5.0)
    there = moved(here, 6.0, -4.0)
    flow = estimate_pair(here, there, settings=FlowSettings(working_side=160))
    assert flow.shape == (300, 400, 2)
    assert np.abs(np.median(inner(flow, 40), (0, 1)) - (6.0, -4.0)).max() < 0.2


@pytest.mark.parametrize("size", [(1, 1), (3, 300), (17, 9), (30, 900), (900, 12), (64, 65)])
@pytest.mark.parametrize("quality", ["fine", "fast"])
def test_any_size_works(size, quality):
    picture = np.random.default_rng(0).uniform(0, 255, size).astype(np.float32)
    flow = estimate_pair(picture, picture, settings=FlowSettings(quality=quality))
    assert flow.shape == (*size, 2)
    assert np.isfinite(flow).all() and np.abs(flow).max() < 1


def test_dark_material_still_has_motion():
    here, there = scene() * 0.06, moved(scene(), 2.0, 1.0) * 0.06
    assert np.abs(np.median(inner(estimate_pair(here, there)), (0, 1)) - (2.0, 1.0)).max() < 0.15


@given(seed=st.integers(0, 1000), scale=st.floats(0, 30))
@settings(max_examples=15)
def test_torch_and_numpy_warps_agree(seed, scale):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 1, (21, 34, 3)).astype(np.float32)
    flow = (rng.normal(size=(21, 34, 2)) * scale).astype(np.float32)
    image_t, flow_t = torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(flow).permute(2, 0, 1)
    assert np.abs(warp(image_t, flow_t).permute(1, 2, 0).numpy() - warp_array(image, flow)).max() < 0.02
    assert np.array_equal(inside(flow_t).numpy(), inside_array(flow))
    back = (rng.normal(size=(21, 34, 2)) * 0.4 - flow).astype(np.float32)
    agree = consistency(flow_t, torch.from_numpy(back).permute(2, 0, 1)).numpy() == consistency_array(flow, back)
    assert agree.mean() > 0.99


def test_warp_of_whole_pixels_and_beyond_the_border():
    image = torch.arange(20.0).reshape(1, 4, 5)
    flow = torch.zeros(2, 4, 5)
    assert torch.allclose(warp(image, flow), image, atol=1e-5)
    flow[0] = 1
    warped = warp(image, flow)
    assert torch.allclose(warped[..., :-1], image[..., 1:], atol=1e-4)
    assert torch.allclose(warped[..., -1], image[..., -1], atol=1e-4)
    assert inside(flow)[:, :-1].all() and not inside(flow)[:, -1].any()
    mask = (image[0].numpy() > 7).astype(np.uint8)
    looked_up = warp_array(mask, np.full((4, 5, 2), 0.4, np.float32), "nearest")
    assert set(np.unique(looked_up)) <= {0, 1}


def test_consistency_formula():
    flow, back = torch.zeros(2, 6, 9), torch.zeros(2, 6, 9)
    flow[0], back[0] = 2.0, -2.0
    assert consistency(flow, back)[:, :-2].all()
    assert not consistency(flow, back)[:, -2:].any(), "looking out of the frame is never consistent"
    # |f + b|² = 0.64 against 0.01 (4 + 1.44) + 0.5 = 0.5544.
    back[0] = -1.2
    assert not consistency(flow, back).any()


def test_fill_is_smooth_and_leaves_the_rest():
    ramp = np.tile(np.linspace(0, 200, 80, dtype=np.float32), (60, 1))
    mask = np.zeros((60, 80), bool)
    mask[10:40, 20:50] = True
    spoiled = np.where(mask, 255, ramp).astype(np.float32)
    filled = fill_masked(spoiled, mask)
    assert np.array_equal(filled[~mask], ramp[~mask])
    assert np.abs(filled - ramp)[mask].mean() < 15
    everything = np.ones((60, 80), bool)
    assert np.array_equal(fill_masked(spoiled, everything), spoiled)


def test_spikes_are_prefilled():
    luma = np.full((40, 40), 100, np.float32)
    luma[10:12, 10:12] = 255
    luma[30, 30] = 0
    assert np.array_equal(prefill_dirt(luma), np.full((40, 40), 100, np.float32))
    assert np.array_equal(prefill_dirt(luma, spike_threshold=0), luma)


def test_luma_weights_and_progress():
    frames = torch.rand(3, 3, 70, 80, generator=torch.Generator().manual_seed(0))
    expected = (frames * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1) * 255
    assert np.allclose(to_luma(frames), expected.numpy(), atol=1e-3)
    seen = []
    estimate_flow(frames, progress=lambda phase, done, total, preview=None: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert estimate_flow(frames[:1]).shape == (0, 2, 70, 80)


def test_wrong_arguments_are_refused():
    with pytest.raises(SettingsError, match="working_side is 10"):
        FlowSettings(working_side=10)
    with pytest.raises(SettingsError, match="quality"):
        FlowSettings(quality="best")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="spike_threshold"):
        FlowSettings(spike_threshold=-1)
    with pytest.raises(SettingsError, match="one size"):
        estimate_pair(np.zeros((4, 5), np.float32), np.zeros((5, 4), np.float32))
    with pytest.raises(SettingsError, match="channels"):
        to_luma(torch.zeros(2, 4, 4))
    with pytest.raises(SettingsError, match="masks"):
        estimate_flow(torch.zeros(2, 3, 8, 8), masks=torch.zeros(2, 8, 9))
    with pytest.raises(SettingsError, match="belong together"):
        warp(torch.zeros(3, 8, 8), torch.zeros(2, 8, 9))

"""Metrics on cases whose value is known by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.metrics import structural_similarity

from vldm_core.errors import SettingsError
from vldm_core.metrics import figures as metrics

MASKS = hnp.arrays(bool, (2, 9, 11))


def _texture(count: int, height: int, width: int, seed: int = 3) -> torch.Tensor:
    """Smooth random frames (T, 3, H, W) in [0.2, 0.8], all alike."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, height // 4, width // 4), dtype=np.float32))
    frame = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return frame.clamp(0, 1).mul(0.6).add(0.2).expand(count, -1, -1, -1).clone()


def _still(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count, _, height, width = frames.shape
    return torch.zeros(count - 1, 2, height, width), torch.ones(count - 1, height, width)


def test_psnr_of_a_constant_offset():
    reference = torch.full((2, 3, 4, 5), 0.5)
    assert metrics.psnr(reference + 0.1, reference) == pytest.approx(20.0, abs=1e-4)
    assert metrics.psnr(reference, reference) == math.inf


def test_psnr_inside_pools_over_all_masked_pixels():
    reference = torch.zeros(2, 3, 4, 4)
    output = reference.clone()
    mask = torch.zeros(2, 4, 4)
    mask[0, 0, 0] = 1
    mask[1, :, :] = 1
    output[0, :, 0, 0] = 0.5
    output[0, :, 3, 3] = 1.0  # outside: must not count
    expected = -10 * math.log10(0.25 / 17)
    assert metrics.psnr_inside(output, reference, mask) == pytest.approx(expected, abs=1e-6)
    assert metrics.psnr_inside(output, reference, torch.zeros(2, 4, 4)) is None


def test_ssim_agrees_with_scikit_image():
    reference = _texture(1, 40, 48)
    output = (reference + 0.05 * torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 40, 48)))).float()
    grey = [metrics.luma_array(frames[0]).astype(np.float64) for frames in (output, reference)]
    expected = structural_similarity(
        *grey, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1]
    inner = torch.zeros(1, 40, 48)
    inner[:, 8:-8, 8:-8] = 1
    measured = metrics.ssim(output, reference, inner)
    assert measured == pytest.approx(float(expected[8:-8, 8:-8].mean()), abs=1e-6)
    assert metrics.ssim(reference, reference) == pytest.approx(1.0)
    assert metrics.ssim(reference, reference, torch.zeros(1, 40, 48)) is None


def test_largest_change_outside_ignores_the_mask_and_its_feather():
    source = torch.zeros(1, 3, 4, 4)
    output = source.clone()
    output[0, 1, 0, 0] = 1.0
    output[0, 2, 2, 2] = 3 / 255
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = 0.01
    assert metrics.largest_change_outside(output, source, mask) == pytest.approx(3.0, abs=1e-4)
    assert metrics.largest_change_outside(output, source, torch.ones(1, 4, 4)) == 0
    assert metrics.share_changed_outside(output, source, mask) == pytest.approx(1 / 15)
    assert metrics.share_changed_outside(output, source, torch.ones(1, 4, 4)) is None


@pytest.mark.parametrize(("distance", "tolerance", "hit"), [(0, 0, 1), (1, 0, 0), (1, 1, 1), (2, 1, 0), (2, 2, 1)])
def test_tolerance_is_a_chebyshev_distance(distance: int, tolerance: int, hit: int):
    truth, detected = torch.zeros(1, 9, 9), torch.zeros(1, 9, 9)
    truth[0, 4, 4] = 1
    detected[0, 4 + distance, 4 - distance] = 1
    score = metrics.score_detection(detected, truth, tolerance=tolerance)
    assert (score.recall, score.precision, score.f1) == (hit, hit, hit)


def test_detection_scores_counted_by_hand():
    truth, detected = torch.zeros(1, 10, 10), torch.zeros(1, 10, 10)
    truth[0, 2, 2] = truth[0, 7, 7] = 1
    detected[0, 2, 3] = detected[0, 0, 9] = detected[0, 9, 0] = 1
    score = metrics.score_detection(detected, truth, tolerance=1)
    assert score.recall == 0.5
    assert score.precision == pytest.approx(1 / 3)
    assert score.f1 == pytest.approx(0.4)
    assert score.false_alarm == pytest.approx(2 / (100 - 18))


def test_detection_without_damage_or_without_detections():
    nothing, something = torch.zeros(1, 5, 5), torch.ones(1, 5, 5)
    clean = metrics.score_detection(something, nothing)
    assert (clean.recall, clean.precision, clean.f1, clean.false_alarm) == (None, 0, None, 1)
    missed = metrics.score_detection(nothing, something)
    assert (missed.recall, missed.precision, missed.f1, missed.false_alarm) == (0, None, 0, None)


def test_ignored_places_count_neither_way_but_truth_always_does():
    truth, detected, ignore = (torch.zeros(1, 12, 12) for _ in range(3))
    truth[0, 2, 2] = 1
    ignore[0, :, 6] = ignore[0, 2, 2] = 1
    detected[0, 2, 2] = 1
    detected[0, :, 6] = 1
    score = metrics.score_detection(detected, truth, tolerance=1, ignore=ignore)
    assert (score.recall, score.precision, score.f1, score.false_alarm) == (1, 1, 1, 0)


@settings(max_examples=60, deadline=None)
@given(MASKS, MASKS, st.integers(0, 2))
def test_scores_are_shares_and_grow_with_tolerance(detected: np.ndarray, truth: np.ndarray, tolerance: int):
    flagged, real = torch.from_numpy(detected).float(), torch.from_numpy(truth).float()
    near = metrics.score_detection(flagged, real, tolerance=tolerance)
    far = metrics.score_detection(flagged, real, tolerance=tolerance + 1)
    for score in (near, far):
        for value in (score.recall, score.precision, score.f1, score.false_alarm):
            assert value is None or 0 <= value <= 1
    assert (near.recall is None) == (not truth.any())
    if near.recall is not None:
        assert far.recall >= near.recall
    if near.precision is not None:
        assert far.precision >= near.precision


@settings(max_examples=40, deadline=None)
@given(MASKS)
def test_a_perfect_mask_scores_perfectly(truth: np.ndarray):
    real = torch.from_numpy(truth).float()
    score = metrics.score_detection(real, real, tolerance=0)
    assert score.f1 in (None, 1.0)
    assert score.false_alarm in (None, 0.0)


def test_dilation_is_a_square():
    mask = torch.zeros(1, 7, 7)
    mask[0, 3, 0] = 1
    grown = metrics.dilate(mask, 2)
    assert int(grown.sum()) == 15
    assert bool(grown[0, 1:6, 0:3].all())


def test_flicker_index_is_the_spread_of_the_gain_steps():
    frames = _texture(6, 48, 64)
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
    frames = _texture(6, 48, 64)
    flow, visible = _still(frames)
    fade = frames * (0.97 ** torch.arange(6.0))[:, None, None, None]
    assert metrics.flicker_index(fade, flow, visible).overall < 1e-3
    corner = frames.clone()
    corner[::2, :, :12, :16] *= 1.2
    local = metrics.flicker_index(corner, flow, visible)
    assert local.overall < 0.005
    assert local.local > 0.02


def test_warp_error_follows_the_motion_and_leaves_occlusions_out():
    still = _texture(1, 48, 64)
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


def test_shapes_that_do_not_fit_are_refused():
    frames = torch.zeros(3, 3, 4, 4)
    with pytest.raises(SettingsError, match="differ in shape"):
        metrics.psnr(frames, frames[:2])
    with pytest.raises(SettingsError, match="does not fit"):
        metrics.psnr_inside(frames, frames, torch.zeros(3, 4, 5))
    with pytest.raises(SettingsError, match="at least 3"):
        metrics.flicker_index(frames[:2], *_still(frames[:2]))
    with pytest.raises(SettingsError, match="do not fit"):
        metrics.warp_error(frames, *_still(frames[:2]))
    with pytest.raises(SettingsError, match="0 or more"):
        metrics.dilate(torch.zeros(1, 2, 2), -1)

"""Fidelity on cases whose value is known by hand, and beside kornia and scikit-image."""

import math

import kornia
import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from vldm_core.errors import SettingsError
from vldm_core.metrics import fidelity as metrics
from vldm_core.video.luma import luma_array

from .textures import texture_frames


def test_psnr_of_a_constant_offset():
    reference = torch.full((2, 3, 4, 5), 0.5)
    assert metrics.psnr(reference + 0.1, reference) == pytest.approx(20.0, abs=1e-4)
    assert metrics.psnr(reference, reference) == math.inf


def test_ssim_agrees_with_scikit_image():
    reference = texture_frames(1, 40, 48)
    output = (reference + 0.05 * torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 40, 48)))).float()
    grey = [luma_array(frames[0]).astype(np.float64) for frames in (output, reference)]
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


def test_figures_are_those_of_kornia():
    reference = texture_frames(2, 48, 56)
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, 48, 56))).float()
    output = (reference + 0.04 * noise).clamp(0, 1)
    theirs = float(kornia.metrics.psnr(output.double(), reference.double(), 1.0))
    assert metrics.psnr(output, reference) == pytest.approx(theirs, abs=1e-9)
    grey = [torch.from_numpy(np.stack([luma_array(frame) for frame in film]))[:, None] for film in (output, reference)]
    similar = kornia.metrics.ssim(grey[0].double(), grey[1].double(), 11, max_val=255.0, eps=0.0)[:, 0]
    inner = np.s_[:, 6:-6, 6:-6]
    assert torch.allclose(metrics.ssim_map(output, reference)[inner].double(), similar[inner], atol=1e-6)


def test_decibels_of_any_peak():
    assert metrics.decibels(0.01) == pytest.approx(20)
    assert metrics.decibels(255.0**2 / 1000, peak=255.0) == pytest.approx(30)
    assert metrics.decibels(0.0, peak=255.0) == math.inf


def test_shapes_that_do_not_fit_are_refused():
    frames = torch.zeros(3, 3, 4, 4)
    with pytest.raises(SettingsError, match="differ in shape"):
        metrics.psnr(frames, frames[:2])
    with pytest.raises(SettingsError, match="does not fit"):
        metrics.ssim(frames, frames, torch.zeros(3, 4, 5))
    with pytest.raises(SettingsError, match="does not fit"):
        metrics.largest_change_outside(frames, frames, torch.zeros(3, 4, 5))

"""FreeInit keeps the low frequencies asked for, no others, and the variance."""

import math
from typing import Any

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.sampling.noise.freeinit import FILTERS, FreeInitSettings, low_pass, reinitialise, renoise
from vldm_core.video.shots import Shot


@pytest.mark.parametrize("name", FILTERS)
def test_the_same_noise_twice_comes_back(name: Any) -> None:
    """LPF + HPF = 1."""
    z = torch.randn(9, 4, 12, 15)
    assert (reinitialise(z, z.clone(), FreeInitSettings(filter=name)) - z).abs().max() < 1e-6


@pytest.mark.parametrize("name", FILTERS)
def test_the_formula(name: Any) -> None:
    settings = FreeInitSettings(filter=name)
    z, noise = torch.randn(8, 4, 10, 12), torch.randn(8, 4, 10, 12)
    response = low_pass(8, 10, 12, settings)[:, None]
    low = torch.fft.ifftn(torch.fft.fftn(z, dim=(0, 2, 3)) * response, dim=(0, 2, 3))
    high = torch.fft.ifftn(torch.fft.fftn(noise, dim=(0, 2, 3)) * (1 - response), dim=(0, 2, 3))
    assert (low + high).imag.abs().max() < 1e-5
    assert (reinitialise(z, noise, settings) - (low + high).real).abs().max() < 1e-5


@pytest.mark.parametrize("name", FILTERS)
def test_variance_stays_near_one(name: Any) -> None:
    z, noise = torch.randn(16, 4, 64, 64), torch.randn(16, 4, 64, 64)
    assert reinitialise(z, noise, FreeInitSettings(filter=name)).var() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("name", "at_cutoff"), [("gaussian", math.exp(-0.5)), ("butterworth", 0.5), ("ideal", 1.0)])
def test_the_passband_is_the_one_specified(name: Any, at_cutoff: float) -> None:
    settings = FreeInitSettings(filter=name, spatial_cutoff=0.25, temporal_cutoff=0.5)
    response = low_pass(16, 64, 64, settings)
    assert response[0, 0, 0] == 1
    for place in ((4, 0, 0), (0, 8, 0), (0, 0, 8), (-4, 0, 0), (0, -8, 0), (0, 0, -8)):
        assert response[place] == pytest.approx(at_cutoff, abs=1e-6)
    assert response[5, 0, 0] < at_cutoff and response[0, 9, 0] < at_cutoff and response[3, 6, 0] < at_cutoff
    assert response[0, 0, :33].diff().max() <= 0


def test_the_ideal_filter_passes_an_ellipsoid_and_nothing_else() -> None:
    """The published code's passes 18 % of the bins."""
    response = low_pass(16, 64, 64, FreeInitSettings(filter="ideal"))
    assert set(response.unique().tolist()) == {0.0, 1.0}
    ellipsoid = 4 / 3 * math.pi * 0.25**3 / 8
    assert response.mean() == pytest.approx(ellipsoid, rel=0.25)
    fine = low_pass(64, 128, 128, FreeInitSettings(filter="ideal"))
    assert fine.mean() == pytest.approx(ellipsoid, rel=0.05)


def test_slow_content_stays_and_fast_content_goes() -> None:
    t = torch.arange(32.0)[:, None, None, None]
    slow = torch.cos(2 * math.pi * t / 32).expand(32, 4, 8, 8)
    fast = torch.cos(2 * math.pi * t * 12 / 32).expand(32, 4, 8, 8)
    kept = reinitialise(slow + fast, torch.zeros(32, 4, 8, 8), FreeInitSettings())
    assert (kept - slow).abs().max() < 0.01


def test_a_cut_blocks() -> None:
    shots = (Shot(0, 6), Shot(6, 14))
    z, noise = torch.randn(14, 4, 8, 8), torch.randn(14, 4, 8, 8)
    changed = z.clone()
    changed[6:] += 3
    settings = FreeInitSettings()
    assert torch.equal(reinitialise(z, noise, settings, shots)[:6], reinitialise(changed, noise, settings, shots)[:6])
    assert not torch.equal(reinitialise(z, noise, settings)[:6], reinitialise(changed, noise, settings)[:6])
    assert reinitialise(z[:1], noise[:1], settings).shape == (1, 4, 8, 8)


def test_renoised_results_have_unit_variance() -> None:
    z = renoise(torch.randn(8, 4, 32, 32), torch.randn(8, 4, 32, 32), 14.6)
    assert z.var() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"filter": "x"}, {"spatial_cutoff": 0.0}, {"temporal_cutoff": 3.0}, {"order": 0}]
)
def test_wrong_settings_say_what_to_do(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="use"):
        FreeInitSettings(**wrong)  # type: ignore[arg-type]


def test_wrong_shapes_are_told() -> None:
    with pytest.raises(SettingsError, match="give both"):
        reinitialise(torch.zeros(3, 4, 8, 8), torch.zeros(2, 4, 8, 8), FreeInitSettings())

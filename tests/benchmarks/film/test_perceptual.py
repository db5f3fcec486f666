"""Figures of what eyes see."""

import sys

import numpy as np
import pytest

from benchmarks.film import perceptual
from benchmarks.film.perceptual import has_xpsnr, st_lpips, xpsnr


def film(seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    base = np.kron(np.random.default_rng(5).integers(60, 180, (3, 8, 10)), np.ones((1, 16, 16)))
    return np.clip(base + rng.normal(0, noise, base.shape), 0, 255).astype(np.uint8) if noise else base.astype(np.uint8)


@pytest.mark.skipif(not has_xpsnr(), reason="this PyAV has no filter xpsnr")
def test_xpsnr_is_less_for_more_noise_and_near_psnr():
    little, much = xpsnr(film(1, 3.0), film()), xpsnr(film(1, 12.0), film())
    assert 20 < much < little < 50
    assert little - much == pytest.approx(20 * np.log10(4), abs=2)


def test_xpsnr_is_left_out_where_there_is_no_filter(monkeypatch):
    monkeypatch.setattr(perceptual, "_FILTER", "no_such_filter")
    assert xpsnr(film(), film()) is None


def test_st_lpips_is_left_out_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "stlpips_pytorch", None)
    perceptual._distance.cache_clear()
    assert st_lpips(film(), film()) is None
    perceptual._distance.cache_clear()


def test_st_lpips_sees_noise():
    pytest.importorskip("stlpips_pytorch")
    if not perceptual.has_st_lpips():
        pytest.skip("torchvision cannot be imported here")
    assert st_lpips(film(), film()) == pytest.approx(0, abs=1e-5)
    assert st_lpips(film(1, 20.0), film()) > st_lpips(film(1, 5.0), film()) > 0
    # What stood in for modules that it does not use is gone again.
    assert not hasattr(sys.modules.get("IPython"), "embed") or sys.modules["IPython"].embed is not None

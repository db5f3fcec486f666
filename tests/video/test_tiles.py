"""Tiles: the plan, weights that sum to 1, and the work."""

from itertools import pairwise

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import nn

from vldm_core.errors import SettingsError
from vldm_core.video.tiles import PictureTileSettings, decoded_share, plan_spans, span_weights, tiled


@st.composite
def settings(draw):
    overlap, halo = draw(st.integers(0, 12)), draw(st.integers(0, 6))
    size = draw(st.integers(16, 96))
    assume(size > 2 * (overlap + halo))
    return PictureTileSettings(size=size, overlap=overlap, halo=halo)


def enlarge(latents):
    return latents[:, :3].repeat_interleave(8, -1).repeat_interleave(8, -2)


class TestPlan:
    @given(length=st.integers(1, 400), tiles=settings())
    @example(length=26, tiles=PictureTileSettings(size=16, overlap=7, halo=0))
    def test_spans_cover_are_even_and_no_larger_than_allowed(self, length, tiles):
        spans = plan_spans(length, tiles)
        assert spans[0].start == spans[0].first == 0 and spans[-1].last == spans[-1].stop == length
        sizes = [s.stop - s.start for s in spans]
        assert max(sizes) <= max(tiles.size, min(length, tiles.size)) and max(sizes) - min(sizes) <= 1
        overlaps = {left.last - right.first for left, right in pairwise(spans)}
        assert len(overlaps) <= 1 and all(0 <= overlap <= tiles.overlap for overlap in overlaps)
        for left, right in pairwise(spans):
            assert left.stop - left.last == right.first - right.start == tiles.halo
        for left, right in zip(spans[:-2], spans[2:], strict=True):
            assert left.last <= right.first, "three tiles meet in one pixel"

    @given(length=st.integers(1, 300), tiles=settings())
    @example(length=26, tiles=PictureTileSettings(size=16, overlap=7, halo=0))
    @example(length=24, tiles=PictureTileSettings(size=17, overlap=5, halo=3))
    def test_weights_sum_to_one(self, length, tiles):
        spans = plan_spans(length, tiles)
        total = torch.zeros(length * 8)
        for index, span in enumerate(spans):
            weights = span_weights(spans, index, 8)
            assert weights.min() > 0 and weights.max() <= 1
            total[span.first * 8 : span.last * 8] += weights
        assert torch.allclose(total, torch.ones_like(total), atol=1e-6)

    def test_work(self):
        # One call for a picture of 512 pixels; four tiles where they are forced, still within a fifth.
        assert decoded_share(64, 64, PictureTileSettings()) == 1.0
        assert decoded_share(64, 64, PictureTileSettings(size=40)) <= 1.2
        assert decoded_share(96, 96, PictureTileSettings()) <= 1.2
        assert decoded_share(90, 160, PictureTileSettings()) <= 1.2

    @pytest.mark.parametrize("wrong", [{"size": 20, "overlap": 8, "halo": 2}])
    def test_refuses(self, wrong):
        with pytest.raises(SettingsError, match="decode tile"):
            PictureTileSettings(**wrong)


class TestDecode:
    def test_identity_across_the_seams(self):
        latents = torch.rand(2, 4, 50, 70)
        found = tiled(enlarge, PictureTileSettings(size=24, overlap=4, halo=1))(latents)
        assert torch.allclose(found, enlarge(latents), atol=1e-6)

    def test_one_call_when_one_tile_is_enough(self):
        calls = []

        def decode(latents):
            calls.append(latents)
            return enlarge(latents)

        latents = torch.rand(2, 4, 64, 48)
        tiled(decode, PictureTileSettings())(latents)
        assert len(calls) == 1 and calls[0] is latents
        calls.clear()
        tiled(decode, PictureTileSettings(size=40))(latents)
        assert len(calls) == 4

    def test_halo_hides_the_padding_of_a_convolution(self):
        torch.manual_seed(1)
        convolution = nn.Conv2d(4, 3, 5, padding=2)

        @torch.no_grad()
        def decode(latents):
            return enlarge(convolution(latents))

        latents = torch.randn(1, 4, 60, 60)
        hidden = tiled(decode, PictureTileSettings(size=32, overlap=4, halo=2))(latents)
        shown = tiled(decode, PictureTileSettings(size=32, overlap=4, halo=0))(latents)
        assert (hidden - decode(latents)).abs().max() < 1e-5
        assert (shown - decode(latents)).abs().max() > 1e-2

    def test_refuses_a_vae_that_does_not_enlarge_evenly(self):
        with pytest.raises(SettingsError, match="whole factor"):
            tiled(lambda x: x[..., 1:], PictureTileSettings(size=16, overlap=2))(torch.zeros(1, 3, 40, 40))

"""Decode Video on an image VAE of the host's classes."""

import comfy.model_management as management
import pytest
import torch
from inside.models import count_decodes, image_vae
from pack.nodes.decode.decode_video import DecodeVideo
from pack.nodes.host.prior import vae as host_vae
from pack.vldm_core.errors import SettingsError

pytestmark = pytest.mark.usefixtures("without_gradients")

LATENTS = torch.randn(5, 4, 24, 40, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def vae():
    with torch.no_grad():
        return image_vae()


@pytest.fixture
def stock(vae):
    """What the host itself decodes."""
    stock = vae.decode(LATENTS)
    assert stock.shape == (5, 192, 320, 3) and stock.std() > 0.01
    return stock


def run(vae, latents=LATENTS, *, chunk_frames=0, halo=4, tile_size=0):
    output = DecodeVideo.execute(
        samples={"samples": latents}, vae=vae, chunk_frames=chunk_frames, halo=halo, tile_size=tile_size
    )
    return output.result[0]


def test_frames_are_decoded_one_at_a_time_and_without_the_halo_of_the_widget(vae, stock):
    assert not host_vae.is_temporal(vae)
    calls = count_decodes(vae)
    plain = run(vae)
    assert torch.allclose(plain, stock, atol=1e-5) and plain.is_contiguous()
    assert calls == [(1, 4, 24, 40)] * 5


def test_tiles_are_no_larger_than_asked(vae, stock):
    calls = count_decodes(vae)
    tiled = run(vae, tile_size=192)
    assert len(calls) == 10 and max(shape[-1] for shape in calls) <= 24
    # Random weights make much of the statistics of a tile, so only the tone is compared.
    assert (tiled - stock).mean().abs() < 0.01 and torch.isfinite(tiled).all()


def test_chunks_hold_the_frames_that_were_asked_for(vae, stock):
    calls = count_decodes(vae)
    assert torch.allclose(run(vae, chunk_frames=2), stock, atol=1e-5) and len(calls) == 3


def test_memory_that_runs_out_makes_chunks_smaller_and_then_tiles(vae, stock):
    real = vae.first_stage_model.decode
    largest = 4 * 24 * 24
    done = []

    def short_of_memory(part, **options):
        if part.numel() > largest:
            raise management.OOM_EXCEPTION("short of memory")
        done.append(len(part))
        return real(part, **options)

    vae.first_stage_model.decode = short_of_memory
    assert run(vae, chunk_frames=4).shape == stock.shape
    assert set(done) == {1} and len(done) > 5


def test_an_interrupt_comes_out(vae):
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        run(vae, chunk_frames=1, tile_size=192)


def test_latents_of_another_family_and_of_video_models_are_refused(vae):
    with pytest.raises(SettingsError, match=r"ha(ve|s) 16 channels"):
        run(vae, torch.zeros(1, 16, 8, 8))
    with pytest.raises(SettingsError, match="use VAE Decode"):
        run(vae, torch.zeros(1, 4, 2, 8, 8))
    vae.latent_dim = 3
    with pytest.raises(SettingsError, match="use VAE Decode"):
        run(vae)

"""Stable Video Diffusion's decoder, at its full size, which is the only one the host builds."""

import comfy.model_management as management
import pytest
import torch
from comfy.sd import VAE
from inside.models import count_decodes, filled
from pack.nodes.host.prior import vae as host_vae
from pack.vldm_core.decode.temporal_vae import build_temporal_decoder, convert_decoder, is_temporal, temporal_decode

pytestmark = pytest.mark.usefixtures("without_gradients")

LATENTS = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def vae():
    with torch.no_grad():
        vae = VAE(sd={"decoder.mid.block_1.mix_factor": torch.zeros(1)})
        filled(vae.first_stage_model, std=0.02)
    return vae


def test_the_host_decodes_as_the_package_does(vae):
    assert host_vae.is_temporal(vae) and vae.vae_dtype == torch.float32
    weights = vae.get_sd()
    assert is_temporal(weights)
    here = host_vae.vae_decoder(vae)(LATENTS)
    twin = temporal_decode(build_temporal_decoder(convert_decoder(weights)), scale=1)(LATENTS)
    torch.testing.assert_close(here, twin, atol=1e-4, rtol=0)
    assert here.std() > 1e-3


def test_with_little_memory_a_chunk_stays_one_call(vae, monkeypatch):
    """The host's own decode splits the clip then, and the result is another one."""
    here = host_vae.vae_decoder(vae)(LATENTS)
    monkeypatch.setattr(management, "get_free_memory", lambda *arguments, **options: 1)
    calls = count_decodes(vae)
    split = vae.decode(LATENTS).movedim(-1, 1)
    assert len(calls) == 3 and (split - here).abs().max() > 1e-3
    calls.clear()
    assert torch.equal(host_vae.vae_decoder(vae)(LATENTS), here)
    assert len(calls) == 1

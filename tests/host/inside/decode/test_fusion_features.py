"""The trained fusion takes the features of the host's own VAE decoder, which has Stable Diffusion's layout."""

import pytest
import torch
from inside.models import image_vae
from pack.vldm_core.decode.fusion_decoder import DecoderFeatures, FusionDecoder, FusionDecoderConfig
from pack.vldm_core.decode.prior_fusion import fuse_with_prior, prior_decoder
from pack.vldm_core.prerestore.network import PreRestorer, PreRestorerConfig
from pack.vldm_core.prerestore.run import pre_restore_stream

pytestmark = pytest.mark.usefixtures("without_gradients")


@pytest.fixture
def vae():
    return image_vae().first_stage_model


def test_features_are_caught_and_the_decode_stays_as_it_is(vae):
    latents = torch.randn(3, 4, 4, 6)
    before = vae.decode(latents)
    with DecoderFeatures(vae.decoder).caught() as found:
        inside = vae.decode(latents)
    assert torch.equal(inside, before)
    shapes = {level: tuple(features.shape) for level, features in found.items()}
    assert shapes == {2: (3, 32, 4, 6), 1: (3, 32, 8, 12), 0: (3, 32, 16, 24)}


def test_what_the_decoder_says_is_heard(vae):
    network = PreRestorer(PreRestorerConfig(widths=(8, 8, 12), heads=2, window=4)).eval()
    fusion = FusionDecoder(
        FusionDecoderConfig(source="decoder", widths=(8, 8, 12), decoder_widths=(32, 32, 32), heads=2, window=4)
    ).eval()
    for parameter in fusion.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))

    def fused(latents):
        frames = ((frame, None) for frame in torch.full((3, 3, 32, 48), 0.5))
        restored = pre_restore_stream(frames, network, features=True)
        return torch.stack(list(fuse_with_prior(restored, prior_decoder(latents, vae.decoder, vae.decode), fusion)))

    latents = torch.randn(3, 4, 4, 6)
    one, other = fused(latents), fused(-latents)
    assert one.shape == (3, 3, 32, 48) and one.isfinite().all()
    assert not torch.equal(one, other)

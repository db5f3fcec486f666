"""Wrapped decoding: the published numbers, chunks and tiles, and a VAE that stays as it is."""

import pytest
import torch
from torch import nn

from vldm_core.decode.chunks import ChunkSettings
from vldm_core.decode.memory_fallback import DecodePlan, decode_within_memory
from vldm_core.decode.wrapping.network import FeatureWrapping
from vldm_core.decode.wrapping.wrapped import WrappedVAE, decode_wrapped
from vldm_core.errors import SettingsError
from vldm_core.video.tiles import PictureTileSettings

from ...oracles import load_oracle
from .oracle_vae import decoder_of, encoder_of, vae_of

WHOLE = DecodePlan(chunks=ChunkSettings())


@pytest.fixture(scope="module")
def oracle():
    return load_oracle("stablesr_cfw")


@pytest.fixture(scope="module")
def vae(oracle):
    return vae_of(oracle.weights("autoencoder"))


@pytest.fixture(scope="module")
def layers(oracle):
    return FeatureWrapping.from_published(oracle.weights("autoencoder"))


@pytest.fixture
def clip():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(3, 4, 4, 6, generator=generator), torch.rand(3, 3, 32, 48, generator=generator)


def decoded(vae, layers, latents, pictures, *, fidelity=1.0, plan=WHOLE, **more):
    wrapped = WrappedVAE(vae, layers, fidelity=fidelity)
    more = {"decode": decoder_of(vae), "encode": encoder_of(vae)} | more
    return decode_wrapped(latents, pictures, wrapped, plan, **more)


def hooks_of(vae):
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in vae.modules())


class TestPublishedNumbers:
    def test_the_encoder_and_its_features(self, oracle, vae, layers):
        found = WrappedVAE(vae, layers).features(oracle.input("image"), vae.encode)
        oracle.check("enc_fea.0", found[1])
        oracle.check("enc_fea.1", found[2])
        oracle.check("moments", vae.encode(oracle.input("image")).latent_dist.parameters)

    @pytest.mark.parametrize(("name", "fidelity"), [("w1", 1.0), ("w0.5", 0.5), ("w0", 0.0)])
    def test_the_picture(self, oracle, vae, layers, name, fidelity):
        pictures = (oracle.input("image") + 1) / 2
        found = decoded(vae, layers, oracle.input("latent"), pictures, fidelity=fidelity)
        oracle.check(f"image.{name}", found * 2 - 1)


class TestRun:
    def test_a_fidelity_of_zero_is_the_plain_decoder(self, vae, layers, clip):
        latents, pictures = clip
        plain = decode_within_memory(latents, decoder_of(vae), WHOLE)
        assert torch.equal(decoded(vae, layers, latents, pictures, fidelity=0.0), plain)
        assert not torch.equal(decoded(vae, layers, latents, pictures, fidelity=0.1), plain)

    def test_the_vae_stays_as_it_is(self, vae, layers, clip):
        latents, pictures = clip
        before = vae.decode(latents).sample
        decoded(vae, layers, latents, pictures)
        with pytest.raises(KeyboardInterrupt):
            decoded(vae, layers, latents, pictures, progress=_interrupt)
        assert hooks_of(vae) == 0
        assert torch.equal(vae.decode(latents).sample, before)

    def test_frames_are_wrapped_by_themselves_whatever_the_chunks(self, vae, layers, clip):
        latents, pictures = clip
        one = decoded(vae, layers, latents, pictures)
        together = decoded(vae, layers, latents, pictures, plan=DecodePlan(chunks=ChunkSettings(frames=3)))
        torch.testing.assert_close(together, one, atol=1e-5, rtol=0)
        changed = pictures.clone()
        changed[1] = 1 - changed[1]
        other = decoded(vae, layers, latents, changed)
        assert torch.equal(other[[0, 2]], one[[0, 2]])
        assert not torch.equal(other[1], one[1])

    def test_tiles_see_the_tile_of_the_picture(self, vae, layers):
        latents, pictures = torch.randn(2, 4, 10, 26), torch.rand(2, 3, 80, 208)
        tiles = PictureTileSettings(size=16, overlap=2, halo=1)
        found = decoded(vae, layers, latents, pictures, plan=DecodePlan(chunks=ChunkSettings(), tiles=tiles))
        # By hand: the first tile keeps columns 0 … 12 alone, before the crossfade begins.
        by_hand = decoded(vae, layers, latents[..., :15], pictures[..., :120])
        torch.testing.assert_close(found[..., :88], by_hand[..., :88], atol=1e-5, rtol=0)
        last = decoded(vae, layers, latents[..., 11:], pictures[..., 88:])
        torch.testing.assert_close(found[..., 120:], last[..., 32:], atol=1e-5, rtol=0)

    def test_memory_that_runs_out_makes_the_parts_smaller(self, vae, layers):
        latents, pictures, seen = torch.randn(2, 4, 8, 40), torch.rand(2, 3, 64, 320), []
        plain = decoder_of(vae)

        def short_of_memory(part):
            if part.shape[-1] > 20:
                raise torch.OutOfMemoryError("short of memory")
            seen.append(part.shape)
            return plain(part)

        plan = DecodePlan(chunks=ChunkSettings(frames=2))
        found = decoded(vae, layers, latents, pictures, plan=plan, decode=short_of_memory)
        assert found.shape == pictures.shape
        assert found.isfinite().all()
        assert {shape[0] for shape in seen} == {1}
        assert hooks_of(vae) == 0

    def test_the_output_may_be_given(self, vae, layers, clip):
        latents, pictures = clip
        image = torch.empty(3, 32, 48, 3)
        found = decoded(vae, layers, latents, pictures, output=image.movedim(-1, 1))
        assert found.data_ptr() == image.data_ptr()
        assert torch.equal(image.movedim(-1, 1), decoded(vae, layers, latents, pictures))


class TestRefusals:
    @pytest.mark.parametrize("fidelity", [-0.1, 1.5, float("nan")])
    def test_weights_out_of_range(self, vae, layers, fidelity):
        with pytest.raises(SettingsError, match="fidelity weight"):
            WrappedVAE(vae, layers, fidelity=fidelity)

    @pytest.mark.parametrize("shape", [(2, 3, 32, 48), (3, 3, 32, 40), (3, 3, 4, 6)])
    def test_frames_of_something_else(self, vae, layers, clip, shape):
        with pytest.raises(SettingsError, match="degraded frames of the latents"):
            decoded(vae, layers, clip[0], torch.zeros(shape))

    def test_a_vae_of_other_widths(self, layers):
        from diffusers import AutoencoderKL

        kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        vae = AutoencoderKL(block_out_channels=(32, 32, 32, 32), **kinds)
        with pytest.raises(SettingsError, match="32 channels wide at level 2"):
            WrappedVAE(vae, layers)

    def test_a_vae_with_another_number_of_levels(self, layers):
        from diffusers import AutoencoderKL

        kinds = {"down_block_types": ("DownEncoderBlock2D",) * 5, "up_block_types": ("UpDecoderBlock2D",) * 5}
        vae = AutoencoderKL(block_out_channels=(32, 64, 128, 128, 128), **kinds)
        with pytest.raises(SettingsError, match="not an encoder of Stable Diffusion's shape"):
            WrappedVAE(vae, layers)

    def test_a_decoder_that_mixes_frames(self, layers):
        from diffusers import AutoencoderKLTemporalDecoder

        vae = AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 64, 128, 128), down_block_types=("DownEncoderBlock2D",) * 4
        )
        with pytest.raises(SettingsError, match="mixes neighbouring frames"):
            WrappedVAE(vae, layers)

    def test_something_else(self, layers):
        with pytest.raises(SettingsError, match="has no encoder and decoder"):
            WrappedVAE(nn.Linear(2, 2), layers)

    def test_a_decoder_whose_modules_do_not_run(self, vae, layers, clip):
        latents, pictures = clip
        with pytest.raises(SettingsError, match="cannot be wrapped"):
            decoded(vae, layers, latents, pictures, decode=lambda part: part.new_zeros(len(part), 3, 32, 48))

    def test_an_encoder_whose_modules_do_not_run(self, vae, layers, clip):
        latents, pictures = clip
        with pytest.raises(SettingsError, match="cannot be seen"):
            decoded(vae, layers, latents, pictures, encode=lambda part: part)


def _interrupt(*_about):
    raise KeyboardInterrupt

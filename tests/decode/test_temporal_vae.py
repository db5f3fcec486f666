"""SVD's temporal decoder: chunks with a halo on the real class, and both layouts of its weights."""

import json

import pytest
import torch
from safetensors.torch import save_file

from vldm_core.decode.chunks import TEMPORAL_HALO, ChunkSettings
from vldm_core.decode.temporal_vae import (
    LATENT_SCALE,
    build_temporal_decoder,
    convert_decoder,
    is_temporal,
    load_temporal_decoder,
    temporal_decode,
)
from vldm_core.errors import SettingsError
from vldm_core.video.shots import Shot

from .test_chunks import decoded


def make_vae(widths=(64,), layers=1, seed=0):
    from diffusers import AutoencoderKLTemporalDecoder

    torch.manual_seed(seed)
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        layers_per_block=layers,
    ).eval()
    with torch.no_grad():
        for name, value in vae.named_parameters():
            if name.endswith("mix_factor"):
                value.fill_(0.5)
            elif value.ndim >= 2:
                value.normal_(std=0.02)
    return vae


def ldm_layout(decoder):
    """The decoder's weights under the names of SVD's release, written down independently of the converter."""
    levels = len(decoder.up_blocks)
    result = {}
    names = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"}
    attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
    for key, value in decoder.state_dict().items():
        parts = key.split(".")
        kind = parts[-1]
        if parts[0] == "mid_block" and parts[1] == "attentions":
            name = f"mid.attn_1.{attention[parts[3]]}.{kind}"
            value = value[:, :, None, None] if kind == "weight" and parts[3] != "group_norm" else value
        elif parts[0] in ("mid_block", "up_blocks") and "resnets" in parts:
            at = parts.index("resnets")
            block = int(parts[at + 1])
            where = f"mid.block_{block + 1}" if at == 1 else f"up.{levels - 1 - int(parts[1])}.block.{block}"
            inner = parts[at + 2 :]
            if inner[0] == "time_mixer":
                name = f"{where}.mix_factor"
            elif inner[0] == "temporal_res_block":
                name = f"{where}.time_stack.{names[inner[1]]}.{kind}"
            else:
                name = f"{where}.{inner[1].replace('conv_shortcut', 'nin_shortcut')}.{kind}"
        elif parts[0] == "up_blocks":
            name = f"up.{levels - 1 - int(parts[1])}.upsample.conv.{kind}"
        else:
            name = {"conv_norm_out": "norm_out", "time_conv_out": "conv_out.time_mix_conv"}.get(parts[0], parts[0])
            name = f"{name}.{kind}"
        result[f"decoder.{name}"] = value.contiguous()
    return result


@pytest.fixture(scope="module")
def decode():
    return temporal_decode(make_vae().decoder)


@pytest.fixture(scope="module")
def latents():
    return torch.randn(16, 4, 16, 16, generator=torch.Generator().manual_seed(1)) * LATENT_SCALE


@pytest.fixture(scope="module")
def vae():
    return make_vae(widths=(32, 32, 64), layers=2)


class TestChunks:
    def test_halo_hides_the_chunks(self, decode, latents):
        whole = decode(latents)
        hidden = decoded(latents, decode, ChunkSettings(frames=4, halo=TEMPORAL_HALO))
        assert (hidden - whole).abs().max() < 1e-3
        for frames, halo in ((4, 0), (4, 1), (1, 0)):
            shown = decoded(latents, decode, ChunkSettings(frames=frames, halo=halo))
            assert (shown - whole).abs().max() > 5e-3, f"chunks of {frames} with halo {halo} do not show"

    def test_a_cut_keeps_the_shots_apart(self, decode, latents):
        shots = (Shot(0, 7), Shot(7, 16))
        apart = decoded(latents, decode, ChunkSettings(frames=32, halo=TEMPORAL_HALO), shots=shots)
        assert torch.allclose(apart[7:], decode(latents[7:]), atol=1e-5)
        assert (apart[7:] - decode(latents)[7:]).abs().max() > 1e-2

    def test_scale_and_range(self, decode, latents):
        vae = make_vae()
        expected = vae.decode(latents[:3] / LATENT_SCALE, num_frames=3).sample
        assert torch.allclose(decode(latents[:3]), (expected / 2 + 0.5).clamp(0, 1), atol=1e-6)


class TestLayouts:
    @pytest.mark.parametrize("prefix", ["", "first_stage_model."])
    def test_release_file(self, vae, tmp_path, prefix):
        weights = {prefix + key: value for key, value in ldm_layout(vae.decoder).items()}
        assert is_temporal(weights)
        weights[f"{prefix}encoder.conv_in.weight"] = torch.zeros(2)
        save_file(weights, tmp_path / "svd.safetensors")
        self.check(load_temporal_decoder(tmp_path / "svd.safetensors"), vae)

    def test_folder(self, vae, tmp_path):
        vae.save_pretrained(tmp_path)
        assert json.loads((tmp_path / "config.json").read_text())["_class_name"] == "AutoencoderKLTemporalDecoder"
        self.check(load_temporal_decoder(tmp_path), vae)

    @staticmethod
    def check(decoder, vae):
        latents = torch.randn(3, 4, 4, 4)
        expected = vae.decode(latents, num_frames=3).sample
        found = temporal_decode(decoder, scale=1)(latents)
        assert torch.allclose(found, (expected / 2 + 0.5).clamp(0, 1), atol=1e-6)
        assert not decoder.training

    def test_half_precision(self, vae):
        decoder = build_temporal_decoder(convert_decoder(ldm_layout(vae.decoder)), dtype=torch.bfloat16)
        assert {value.dtype for value in decoder.parameters()} == {torch.bfloat16}
        found = temporal_decode(decoder)(torch.randn(2, 4, 4, 4))
        assert found.dtype == torch.float32 and found.shape == (2, 3, 16, 16)

    def test_refusals(self, tmp_path):
        with pytest.raises(SettingsError, match="not temporal"):
            convert_decoder({"decoder.conv_in.weight": torch.zeros(1)})
        with pytest.raises(SettingsError, match=r"unknown tensor 'strange.weight'"):
            convert_decoder(
                {
                    "decoder.mid.block_1.mix_factor": torch.zeros(1),
                    "decoder.up.0.upsample.conv.bias": torch.zeros(1),
                    "decoder.strange.weight": torch.zeros(1),
                }
            )
        with pytest.raises(SettingsError, match="no temporal VAE at"):
            load_temporal_decoder(tmp_path / "missing.safetensors")
        with pytest.raises(SettingsError, match=r"config.json"):
            load_temporal_decoder(tmp_path)
        (tmp_path / "svd.ckpt").write_bytes(b"")
        with pytest.raises(SettingsError, match="not a safetensors"):
            load_temporal_decoder(tmp_path / "svd.ckpt")

"""Training of a temporal decoder: it begins as the VAE's own, learns, and its file is read as SVD's is."""

from dataclasses import replace

import pytest
import torch

from vldm_core.decode.temporal_vae import load_temporal_decoder, temporal_decode
from vldm_core.training.temporal_decoder.decoder import new_temporal_decoder, save_temporal_decoder
from vldm_core.training.temporal_decoder.run import train_temporal_decoder
from vldm_core.training.temporal_decoder.task import DecoderTrainingSettings

from ..prerestorer.smooth import photographs
from ..prior_kit import TRAINER, material, wide_prior
from ..training_kit import check_resume_is_exact


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = photographs(tmp_path_factory.mktemp("photos"))
    (folder / "sea.png").rename(folder / "sean-afnan-244576.png")
    return material(folder, tmp_path_factory.mktemp("cache"))


SETTINGS = DecoderTrainingSettings(trainer=replace(TRAINER, steps=8, batch=1), frames=3, side=None)


def train(given, out, **options):
    return train_temporal_decoder(wide_prior(), given, out, settings=SETTINGS, **options)


def test_it_begins_as_the_decoder_of_the_vae(tmp_path) -> None:
    prior = wide_prior()
    vae = prior.vae
    torch.nn.init.zeros_(vae.post_quant_conv.bias)  # the one thing that cannot be taken over at the rim
    latents = torch.randn(3, 4, 4, 6)
    save_temporal_decoder(new_temporal_decoder(vae), vae, tmp_path / "vae.safetensors")
    decode = temporal_decode(load_temporal_decoder(tmp_path / "vae.safetensors"))
    assert torch.allclose(decode(latents), prior.pictures(latents), atol=2e-5)


def test_it_learns_and_its_file_is_what_was_trained(given, tmp_path) -> None:
    out = tmp_path / "vae.safetensors"
    decoder = train(given, out)
    read = load_temporal_decoder(out)
    own = decoder.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in read.state_dict().items())
    last = [value for key, value in own.items() if key.endswith("temporal_res_block.conv2.weight")]
    assert last and all(value.abs().max() > 0 for value in last)


def test_a_resumed_run_gives_the_same_file(given, tmp_path) -> None:
    check_resume_is_exact(lambda out, **options: train(given, out, **options), tmp_path, step=6)


def test_settings_out_of_range_are_refused() -> None:
    from vldm_core.errors import SettingsError

    with pytest.raises(SettingsError, match="noise from 0 to 1"):
        DecoderTrainingSettings(noise=2)

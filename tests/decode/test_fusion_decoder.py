"""The trained fusion: identity before training, the weight, its three sources, both layouts of a VAE."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from vldm_core.decode.fusion_decoder import (
    KIND,
    DecoderFeatures,
    FusionDecoder,
    FusionDecoderConfig,
    from_latent,
    from_picture,
)
from vldm_core.errors import SettingsError
from vldm_core.prerestore.network import PreRestorer, PreRestorerConfig

WIDTHS = (8, 8, 16)
CONFIG = FusionDecoderConfig(widths=WIDTHS, decoder_widths=(16, 16, 16), heads=2, window=4)
SOURCES = pytest.mark.parametrize("source", ["latent", "decoder", "picture"])


def tiny_vae() -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
    ).eval()


def material(count: int = 2, height: int = 32, width: int = 48) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tensor]:
    """Pictures, features and latents."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(count, 3, height, width, generator=generator)
    half, quarter, eighth = (
        torch.randn(count, channels, height >> level, width >> level, generator=generator)
        for level, channels in enumerate(WIDTHS, 1)
    )
    return picture, (half, quarter, eighth), torch.randn(count, 4, height // 8, width // 8, generator=generator)


def given(source: str, latent: Tensor) -> dict[int, Tensor]:
    """What each source gives for a latent, from the real classes."""
    with torch.no_grad():
        if source == "latent":
            return from_latent(latent)
        vae = tiny_vae()
        with DecoderFeatures(vae.decoder).caught() as found:
            decoded = vae.decode(latent).sample
        if source == "decoder":
            return found
        torch.manual_seed(2)
        encoder = PreRestorer(PreRestorerConfig(widths=WIDTHS, heads=2, window=4)).eval()
        halves, quarters = encoder.encode(decoded[:, None] / 2 + 0.5, torch.zeros(len(latent), 1, *decoded.shape[-2:]))
        return from_picture(halves[:, 0], quarters[:, 0])


def trained(source: Any) -> FusionDecoder:
    torch.manual_seed(3)
    network = FusionDecoder(replace(CONFIG, source=source)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network


@SOURCES
def test_untrained_it_is_the_pre_restored_picture(source) -> None:
    picture, features, latent = material()
    network = FusionDecoder(replace(CONFIG, source=source)).eval()
    with torch.no_grad():
        assert torch.equal(network(picture, features, given(source, latent)), picture)


@SOURCES
def test_the_weight_goes_from_one_to_the_other(source) -> None:
    picture, features, latent = material()
    network, prior = trained(source), given(source, latent)
    with torch.no_grad():
        assert torch.equal(network(picture, features, prior, weight=0), picture)
        whole, half = (network(picture, features, prior, weight=weight) for weight in (1.0, 0.5))
        mixed = network(picture, features, prior, weight=torch.tensor([0.0, 1.0]))
    assert 0 < (half - picture).abs().mean() < (whole - picture).abs().mean()
    assert torch.equal(mixed[0], picture[0]) and torch.allclose(mixed[1], whole[1], atol=1e-5)


@SOURCES
def test_what_the_prior_says_is_heard(source) -> None:
    picture, features, latent = material()
    network = trained(source)
    with torch.no_grad():
        one = network(picture, features, given(source, latent))
        other = network(picture, features, given(source, -latent))
    assert (one - other).abs().max() > 1e-4


@SOURCES
def test_it_can_be_trained_and_kept(source, tmp_path) -> None:
    picture, features, latent = material()
    torch.manual_seed(0)
    network, prior = FusionDecoder(replace(CONFIG, source=source)), given(source, latent)
    target = torch.rand(picture.shape, generator=torch.Generator().manual_seed(9)) * 0.2 + picture
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = (network(picture, features, prior) - target).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == [], "everything is reached, also behind the layers that start at zero"
    KIND.save(network, tmp_path / "fusion.safetensors")
    back = KIND.load(tmp_path / "fusion.safetensors")
    with torch.no_grad():
        assert torch.equal(back(picture, features, prior), network(picture, features, prior))


def test_decoder_features_have_their_sizes_and_leave_the_decoder_as_it_was() -> None:
    vae, latent = tiny_vae(), material()[2]
    with torch.no_grad():
        before = vae.decode(latent).sample
        with DecoderFeatures(vae.decoder).caught() as found:
            inside = vae.decode(latent[:1]).sample
            vae.decode(latent[1:])
        after = vae.decode(latent).sample
    assert {level: tuple(features.shape) for level, features in found.items()} == {
        2: (2, 16, 4, 6),
        1: (2, 16, 8, 12),
        0: (2, 16, 16, 24),
    }
    assert torch.equal(before, after) and torch.allclose(inside, before[:1], atol=1e-5)
    with pytest.raises(SettingsError, match="not a VAE decoder"):
        DecoderFeatures(torch.nn.Linear(1, 1))


def test_wrong_sizes_and_weights_are_named() -> None:
    picture, features, latent = material()
    network = FusionDecoder(CONFIG)
    with pytest.raises(SettingsError, match=r"weight is 1\.5"):
        network(picture, features, from_latent(latent), weight=1.5)
    with pytest.raises(SettingsError, match="one per frame"):
        network(picture, features, from_latent(latent), weight=torch.ones(3))
    with pytest.raises(SettingsError, match="level 2 is missing"):
        network(picture, features, {})
    with pytest.raises(SettingsError, match="level 2 is"):
        network(picture, features, from_latent(latent[..., :5]))
    with pytest.raises(SettingsError, match="features 0"):
        network(picture, (features[1], features[1], features[2]), from_latent(latent))
    with pytest.raises(SettingsError, match="divisible by 8"):
        network(picture[..., :44], features, from_latent(latent))
    for wrong in ({"source": "noise"}, {"widths": (8, 8, 18)}, {"window": 1}):
        with pytest.raises(SettingsError):
            replace(CONFIG, **wrong)

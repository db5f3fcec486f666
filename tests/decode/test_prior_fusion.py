"""The trained fusion over a shot: from the pre-restorer's stream and all three sources, in any chunk, interruptible."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vldm_core.decode import prior_fusion
from vldm_core.decode.fusion_decoder import FusionDecoder
from vldm_core.decode.prior_fusion import PriorAt, fuse_with_prior, prior_decoder, prior_latents, prior_pictures
from vldm_core.errors import SettingsError, VLDMError
from vldm_core.prerestore.run import PreRestoreSettings, pre_restore_stream

from ..prerestore.test_network import TINY
from ..prerestore.test_network import trained as trained_prerestorer
from ..prerestore.test_run import film
from .test_fusion_decoder import CONFIG, SOURCES, tiny_vae

FRAMES, HEIGHT, WIDTH = 7, 32, 44
SMALL = replace(CONFIG, widths=TINY.widths)


def fusion(source: Any) -> FusionDecoder:
    """A fusion that fits the tiny pre-restorer, whose zero-initialised layers do something."""
    network = FusionDecoder(replace(SMALL, source=source)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return network


def latents() -> Tensor:
    return torch.randn(FRAMES, 4, 4, 6, generator=torch.Generator().manual_seed(5))


def prior(source: str, network) -> PriorAt:
    if source == "latent":
        return prior_latents(latents())
    vae = tiny_vae()
    if source == "decoder":
        return prior_decoder(latents(), vae.decoder, vae.decode)
    with torch.no_grad():
        decoded = vae.decode(latents()).sample / 2 + 0.5
    return prior_pictures(decoded[..., :WIDTH], network)


def stream(network, *, features: bool = True):
    frames = ((frame, None) for frame in film(FRAMES, HEIGHT, WIDTH))
    return pre_restore_stream(frames, network, PreRestoreSettings(segment=3, lookahead=1), features=features)


@SOURCES
def test_a_shot_is_fused_the_same_in_any_chunk(source, monkeypatch) -> None:
    network, fuse = trained_prerestorer(), fusion(source)
    own = torch.stack([frame.image for frame in stream(network)])
    assert torch.equal(torch.stack(list(fuse_with_prior(stream(network), prior(source, network), fuse, weight=0))), own)
    whole = torch.stack(list(fuse_with_prior(stream(network), prior(source, network), fuse)))
    assert whole.shape == own.shape and not torch.equal(whole, own)
    monkeypatch.setattr(prior_fusion, "_FRAMES_AT_ONCE", 1)
    single = torch.stack(list(fuse_with_prior(stream(network), prior(source, network), fuse)))
    assert torch.allclose(single, whole, atol=1e-4)
    weights = [0.0] * 3 + [1.0] * 4
    mixed = torch.stack(list(fuse_with_prior(stream(network), prior(source, network), fuse, weight=weights)))
    assert torch.equal(mixed[:3], own[:3]) and torch.allclose(mixed[3:], whole[3:], atol=1e-4)


def test_only_a_few_frames_are_read_ahead() -> None:
    network = trained_prerestorer()
    asked = []

    def at(first: int, last: int):
        asked.append((first, last))
        return {2: latents()[first:last]}

    made = fuse_with_prior(stream(network), at, fusion("latent"))
    next(made)
    assert asked == [(0, 4)]
    assert len(list(made)) == FRAMES - 1 and asked == [(0, 4), (4, 7)]


class Hungry(FusionDecoder):
    """Runs out of memory over more than some frames at once."""

    most = 2

    def forward(self, picture: Tensor, *rest, **more) -> Tensor:
        if len(picture) > self.most:
            raise torch.OutOfMemoryError("no memory")
        return super().forward(picture, *rest, **more)


def test_out_of_memory_fuses_fewer_frames_at_once() -> None:
    network, fuse = trained_prerestorer(), fusion("latent")
    hungry = Hungry(fuse.config).eval()
    hungry.load_state_dict(fuse.state_dict())
    wanted = torch.stack(list(fuse_with_prior(stream(network), prior_latents(latents()), fuse)))
    got = torch.stack(list(fuse_with_prior(stream(network), prior_latents(latents()), hungry)))
    assert torch.allclose(got, wanted, atol=1e-5)
    hungry.most = 0
    with pytest.raises(VLDMError, match="single frame"):
        list(fuse_with_prior(stream(network), prior_latents(latents()), hungry))


def test_it_is_interrupted_between_chunks() -> None:
    class StopWork(Exception):  # noqa: N818 - stands for an interrupt
        pass

    def beat(phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:
        if done:
            raise StopWork

    network, made = trained_prerestorer(), []
    with pytest.raises(StopWork):  # noqa: PT012 - some frames come before it
        for frame in fuse_with_prior(stream(network), prior_latents(latents()), fusion("latent"), beat=beat):
            made.append(frame)
    assert len(made) == 4


def test_what_does_not_fit_is_named() -> None:
    network = trained_prerestorer()
    with pytest.raises(SettingsError, match="features=True"):
        next(fuse_with_prior(stream(network, features=False), prior_latents(latents()), fusion("latent")))
    with pytest.raises(SettingsError, match="level 2 is"):
        next(fuse_with_prior(stream(network), prior_latents(latents()[..., :5]), fusion("latent")))
    with pytest.raises(SettingsError, match=r"weight is 1\.5"):
        next(fuse_with_prior(stream(network), prior_latents(latents()), fusion("latent"), weight=1.5))
    with pytest.raises(SettingsError, match="not a VAE decoder"):
        prior_decoder(latents(), torch.nn.Linear(1, 1), tiny_vae().decode)

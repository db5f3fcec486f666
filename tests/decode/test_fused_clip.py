"""The trained fusion over a clip of several shots, from latents as a VAE takes them."""

import pytest
import torch

from vldm_core.decode.fused_clip import TrainedFusion, fuse_clip
from vldm_core.decode.temporal_vae import LATENT_SCALE
from vldm_core.errors import SettingsError
from vldm_core.prerestore.run import PreRestoreSettings, pre_restore
from vldm_core.video.shots import Shot

from ..prerestore.test_network import trained as trained_prerestorer
from ..prerestore.test_run import film
from .test_fusion_decoder import SOURCES, tiny_vae
from .test_prior_fusion import FRAMES, HEIGHT, WIDTH, fusion, latents

SHOTS = (Shot(0, 4), Shot(4, FRAMES))
HOW = PreRestoreSettings(keep_grain=0.0, segment=3, lookahead=1)


def trained(source: str, weight: float = 1.0) -> TrainedFusion:
    return TrainedFusion(fusion=fusion(source), network=trained_prerestorer(), settings=HOW, weight=weight)


def fused(how: TrainedFusion, frames, given, **more):
    vae = tiny_vae()

    def decode(some):
        with torch.no_grad():
            return (vae.decode(some).sample / 2 + 0.5)[..., : -(-WIDTH // 8) * 8]

    return fuse_clip(frames, given, how, decode=decode, decoder=vae.decoder, **more)


@SOURCES
def test_shots_are_fused_each_by_itself(source) -> None:
    how, frames = trained(source), film(FRAMES, HEIGHT, WIDTH)
    masks = torch.zeros(FRAMES, HEIGHT, WIDTH)
    masks[2, 4:9, 4:9] = 1
    together = fused(how, frames, latents(), masks=masks, shots=SHOTS)
    for shot in SHOTS:
        part = slice(shot.first, shot.last)
        assert torch.equal(fused(how, frames[part], latents()[part], masks=masks[part]), together[part])
    assert together.shape == frames.shape and not torch.equal(together, fused(how, frames, -latents(), shots=SHOTS))


@SOURCES
def test_at_weight_0_it_is_the_pre_restored_clip(source) -> None:
    how, frames = trained(source, weight=0.0), film(FRAMES, HEIGHT, WIDTH)
    wanted = pre_restore(frames, how.network, HOW)[0]
    assert torch.equal(fused(how, frames, latents()), wanted)


def test_latents_are_scaled_as_they_were_in_training() -> None:
    how, frames, seen = trained("latent"), film(FRAMES, HEIGHT, WIDTH), []
    how.fusion.inward["2"].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    fused(how, frames, latents())
    assert torch.allclose(torch.cat(seen), LATENT_SCALE * latents())


def test_what_does_not_belong_together_is_refused() -> None:
    how, frames = trained("latent"), film(FRAMES, HEIGHT, WIDTH)
    with pytest.raises(SettingsError, match="went into the prior"):
        fused(how, frames, latents()[..., :5])
    with pytest.raises(SettingsError, match="masks are"):
        fused(how, frames, latents(), masks=torch.zeros(1, HEIGHT, WIDTH))
    with pytest.raises(SettingsError, match=r"weight is 2"):
        trained("latent", weight=2.0)
    from vldm_core.prerestore.network import PreRestorer, PreRestorerConfig

    with pytest.raises(SettingsError, match="was trained with"):
        TrainedFusion(fusion=fusion("latent"), network=PreRestorer(PreRestorerConfig(widths=(16, 16, 16))))
